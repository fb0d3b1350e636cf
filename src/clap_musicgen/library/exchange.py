"""A library as one Parquet file, and back: to move it, keep it, or read it with other tools.

One row is one track with its clips nested in it, vectors as they are stored, bit for bit. The
schema's metadata tell whose vectors these are. Knows rows and files; neither models nor questions.
What it cannot know is whether a vector is what the model would give for that file: import from
those you trust.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from clap_musicgen.errors import InputError, LibraryBusyError, LibraryError
from clap_musicgen.library.folder import Description, reason
from clap_musicgen.library.migrating import up_to_date
from clap_musicgen.library.paths import absolute
from clap_musicgen.library.place import AnyPlace, locate
from clap_musicgen.library.rows import clip_schema, track_schema
from clap_musicgen.library.runs import Run, runs
from clap_musicgen.library.store import CLIPS, TRACKS, Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

FORMAT = 1
"""Of the file; raised whenever an older program could misread it."""
HEADER = b"clap-musicgen"
"""Key of the schema's metadata under which the header lies, as JSON."""
GROUP_TRACKS = 256
"""Tracks of one row group, and of one transaction of an import."""
GROUP_BYTES = 64 << 20
MAX_DIM = 1 << 16


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export has written; `bytes` is the size of the file."""

    path: str
    tracks: int
    clips: int
    bytes: int


def file_schema(dim: int) -> pa.Schema:
    """Return the schema of the file: a track's columns but its key, and its clips."""
    fields = [field for field in track_schema(dim) if field.name != "key"]
    clip = pa.struct([field for field in clip_schema(dim) if field.name != "content"])
    return pa.schema([*fields, pa.field("clips", pa.list_(clip), nullable=False)])


# Out


def export_library(where: AnyPlace, file: str | os.PathLike[str]) -> Exported:
    """Write a whole library into one Parquet file; no model is needed.

    Raises:
        InputError: there is another file of that name.
        LibraryBusyError: somebody wrote to the library meanwhile.
        LibraryError: there is none, it is damaged, or the file cannot be written.
    """
    place = locate(where)
    description = up_to_date(place)
    store = Store(place.target, dim=description.dim)
    return export_tracks(store, description, Path(absolute(file)))


def export_tracks(store: Store, description: Description, file: Path) -> Exported:
    """Write all tracks into one Parquet file, in one step: it is whole, or not there.

    Row groups are in the order of the store. A file that is no export is not overwritten.

    Raises:
        InputError: there is another file of that name.
        LibraryBusyError: somebody wrote to the library meanwhile.
        LibraryError: the library is damaged, or the file cannot be written.
    """
    _check_target(file)
    draft = file.with_name(f"{file.name}.new")
    header = {"format": FORMAT, "kind": "library", "model": asdict(description)}
    schema = file_schema(store.dim).with_metadata({HEADER: json.dumps(header)})
    counts = [0, 0]
    try:
        with draft.open("wb") as stream:
            with parquet.ParquetWriter(stream, schema, **_WRITING) as writer:
                for group in _groups(store, schema):
                    writer.write_table(group, row_group_size=group.num_rows)
                    counts[0] += group.num_rows
                    counts[1] += len(group["clips"].combine_chunks().flatten())
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)
        return Exported(str(file), tracks=counts[0], clips=counts[1], bytes=file.stat().st_size)
    except OSError as error:
        raise LibraryError(f"cannot write {str(file)!r}: {reason(error)}") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


# Vectors do not repeat, names do. Checksums let an import tell a flipped bit.
_WRITING: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": ["artist", "album", "genre", "problem"],
    "write_statistics": False,
    "write_page_checksum": True,
}


def _check_target(file: Path) -> None:
    if not os.path.lexists(file):
        return
    try:
        read_header(file)
    except LibraryError as error:
        raise InputError(
            f"{str(file)!r} exists and is not the export of a library: name another file, or "
            "remove it first"
        ) from error


def _groups(store: Store, schema: pa.Schema) -> Iterator[pa.Table]:
    """Cut tracks with their clips into row groups, in the order in which the clips lie."""
    version = store.version()
    tracks = pa.Table.from_batches(store.batches(TRACKS), schema=track_schema(store.dim))
    owners = _Owners(tracks["content"])
    held: list[tuple[int, Run]] = []
    done: set[str] = set()
    size = 0
    for run in runs(store.batches(CLIPS)):
        if run.content in done:
            raise _unsound(store, f"the clips of {run.content} lie in several places")
        for row in owners.rows(run.content).tolist():
            done.add(run.content)
            held.append((row, run))
            size += run.table.nbytes
            if len(held) >= GROUP_TRACKS or size >= GROUP_BYTES:
                yield _group(tracks, held, schema)
                held, size = [], 0
    if held:
        yield _group(tracks, held, schema)
    lost = owners.count - len(done)
    if lost and store.version() != version:
        raise LibraryBusyError(
            f"the library {str(store.folder)!r} was written to while it was exported: export it "
            "again when nobody indexes"
        )
    if lost:
        raise _unsound(store, f"{lost} of its contents have no clips")


def _unsound(store: Store, what: str) -> LibraryError:
    return LibraryError(
        f"the library {str(store.folder)!r} is damaged ({what}): repair it first, with "
        "`clap-musicgen check --repair`"
    )


class _Owners:
    """Rows of the tracks of each content, found without a table of a million lists."""

    def __init__(self, contents: pa.ChunkedArray) -> None:
        names = np.asarray(contents.to_pylist(), dtype=np.bytes_)
        self._order = np.argsort(names, kind="stable")
        self._sorted = names[self._order]
        self.count = len(np.unique(names))

    def rows(self, content: str) -> NDArray[np.int64]:
        """Rows of the tracks with that content, ascending; empty if there are none."""
        name = np.bytes_(content.encode())
        first, last = (np.searchsorted(self._sorted, name, side) for side in ("left", "right"))
        return np.asarray(self._order[first:last], dtype=np.int64)


def _group(tracks: pa.Table, held: list[tuple[int, Run]], schema: pa.Schema) -> pa.Table:
    chosen = tracks.take([row for row, _ in held]).drop_columns(["key"])
    kind = schema.field("clips").type
    clips = pa.concat_tables([run.table for _, run in held]).combine_chunks()
    columns = [_only_chunk(clips[field.name]) for field in kind.value_type]
    offsets = np.cumsum([0, *(run.table.num_rows for _, run in held)])
    nested = pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()),
        pa.StructArray.from_arrays(columns, fields=list(kind.value_type)),
        type=kind,
    )
    return chosen.append_column(schema.field("clips"), nested).cast(schema)


def _only_chunk(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined


# Reading the header


def read_header(file: Path) -> Description:
    """Tell whose vectors an exported file holds.

    Raises:
        LibraryError: it cannot be read, is no export, or is of a newer program.
    """
    with open_export(file) as source:
        return header_of(file, source)


def open_export(file: Path) -> parquet.ParquetFile:
    """Open a Parquet file, whatever it holds; LibraryError if it is none."""
    try:
        return parquet.ParquetFile(
            file,
            page_checksum_verification=True,
            thrift_string_size_limit=1 << 27,
            thrift_container_size_limit=1 << 24,
        )
    except (OSError, pa.ArrowException) as error:
        raise LibraryError(f"cannot read {str(file)!r} as Parquet: {gist(error)}") from error


def header_of(file: Path, source: parquet.ParquetFile) -> Description:
    """Tell whose vectors an open file holds; its schema must be to the letter that of an export.

    Raises:
        LibraryError: it is no export, or of a newer program.
    """
    try:
        schema = source.schema_arrow
        header = json.loads((schema.metadata or {})[HEADER])
        if int(header["format"]) > FORMAT:
            raise LibraryError(
                f"{str(file)!r} was exported by a newer clap-musicgen (format {header['format']}; "
                f"this one reads up to {FORMAT}): upgrade with "
                "`pip install --upgrade clap-musicgen`"
            )
        found = _description(header["model"])
        # A length that no model has must not become the size of an array.
        whole = 0 < found.dim <= MAX_DIM and schema.equals(file_schema(found.dim))
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise _foreign(file) from error
    if not whole:
        raise _foreign(file)
    return found


def _description(stated: Mapping[str, Any]) -> Description:
    return Description(
        int(stated["format"]),
        str(stated["fingerprint"]),
        dim=int(stated["dim"]),
        sample_rate=int(stated["sample_rate"]),
        clip_seconds=float(stated["clip_seconds"]),
        made_with=str(stated.get("made_with", "")),
    )


def _foreign(file: Path) -> LibraryError:
    return LibraryError(
        f"{str(file)!r} is not the export of a library: make one with "
        "`clap-musicgen export FILE.parquet`"
    )


def gist(error: BaseException) -> str:
    """Say on one short line what an error of Arrow or of the system says."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (" ".join(text.split()) or type(error).__name__)[:200].rstrip(".")
