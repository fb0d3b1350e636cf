"""Tracks out of an exported file, each checked before it is believed.

Knows the rows of the file and of the store; neither models nor audio. The file may come from
anywhere: nothing in it is taken for granted, neither its sizes nor its order.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from clap_musicgen.errors import LibraryError, LibraryModelError
from clap_musicgen.library.exchange import gist, header_of, open_export, read_header
from clap_musicgen.library.folder import (
    FORMAT,
    Description,
    check_vacant,
    exists,
    reason,
    write_description,
)
from clap_musicgen.library.migrating import up_to_date
from clap_musicgen.library.paths import absolute, path_key, readable
from clap_musicgen.library.place import AnyPlace, Place, locate
from clap_musicgen.library.records import Progress, Report
from clap_musicgen.library.rows import clip_schema, halves, track_schema, vector_array
from clap_musicgen.library.runs import is_hash, mean_flaw, times_flaw, vectors_flaw
from clap_musicgen.library.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from pyarrow import parquet


MAX_GROUP_TRACKS, MAX_GROUP_BYTES = 1 << 16, 1 << 30
"""What a row group may claim; more is refused before it is read."""
MAX_TEXT, MAX_PATH = 10_000, 1 << 16
"""Characters of a title or name, bytes of a path."""


CREATION_SECONDS = 30.0
"""How long to wait for another process that is making the same library."""


def import_library(
    where: AnyPlace,
    file: str | os.PathLike[str],
    *,
    on_progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Bring the tracks of an exported file into a library, made if it is absent.

    No model is needed: the file tells whose vectors it holds.

    Raises:
        LibraryBusyError: another process is writing.
        LibraryError: as of `import_tracks`; or the library cannot be made or opened.
    """
    place, source = locate(where), Path(absolute(file))
    header = read_header(source)
    if not exists(place):
        _create(place, header)
    description = up_to_date(place)
    with place.writing():
        store = Store(place.target, dim=description.dim)
        return import_tracks(store, description, source, on_progress=on_progress)


def _create(place: Place, header: Description) -> None:
    try:
        place.make()
        check_vacant(place)
        with place.writing(timeout=CREATION_SECONDS):
            if not exists(place):
                Store.create(place.target, dim=header.dim)
                write_description(place, replace(header, format=FORMAT))
    except OSError as error:
        raise LibraryError(f"cannot make a library in {str(place)!r}: {reason(error)}") from error


def import_tracks(
    store: Store,
    description: Description,
    file: Path,
    *,
    on_progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Bring the tracks of an exported file into a library; the caller holds its lock.

    What the library has under a path stays as it is. Each row is checked; a bad one is reported
    and costs only itself. Each row group is one transaction, so that an interrupted import, run
    again, goes on where it was.

    Raises:
        LibraryModelError: the file holds another model's vectors.
        LibraryError: the file cannot be read, is no export, or the library cannot be written.
    """
    with open_export(file) as source:
        header = header_of(file, source)
        if (header.fingerprint, header.dim) != (description.fingerprint, description.dim):
            raise LibraryModelError(
                f"{str(file)!r} holds vectors of the model {header.fingerprint} (length "
                f"{header.dim}), the library {str(store.folder)!r} those of "
                f"{description.fingerprint} (length {description.dim}): import it into a library "
                "of its own"
            )
        store.sweep()
        importing = _Importing(store)
        for number in range(source.num_row_groups):
            importing.add(_read_group(source, number), number=number)
            importing.seen += source.metadata.row_group(number).num_rows
            if on_progress is not None:
                total, failed = source.metadata.num_rows, len(importing.failed)
                on_progress(Progress(importing.seen, total, failed, 0.0, str(file)))
    return importing.report()


def _read_group(source: parquet.ParquetFile, number: int) -> pa.Table | str:
    """Return a row group, or why it cannot be used."""
    group = source.metadata.row_group(number)
    if not 0 <= group.num_rows <= MAX_GROUP_TRACKS or group.total_byte_size > MAX_GROUP_BYTES:
        return f"it claims {group.num_rows:,} tracks in {group.total_byte_size:,} bytes"
    try:
        table = source.read_row_group(number).combine_chunks()
        table.validate(full=True)
        nulls = sum(table[field.name].null_count for field in table.schema if not field.nullable)
        nulls += table["clips"].combine_chunks().flatten().null_count
    except (OSError, MemoryError, pa.ArrowException) as error:
        return f"it is damaged ({gist(error)})"
    return "it is damaged (values are missing)" if nulls else table


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """A row group taken apart.

    Attributes:
        table: its N rows.
        plain: the same without vectors and clips, as dictionaries.
        means: (N, D) the tracks' vectors.
        offsets: (N + 1,) where the clips of each track begin.
        clips: columns start, end and vector of all C clips.
        vectors: (C, D).
    """

    table: pa.Table
    plain: list[dict[str, Any]]
    means: NDArray[np.floating]
    offsets: NDArray[np.int64]
    clips: pa.Table
    vectors: NDArray[np.floating]

    @classmethod
    def of(cls, table: pa.Table, dim: int) -> _Group:
        nested = table["clips"].combine_chunks()
        nested = nested.chunk(0) if isinstance(nested, pa.ChunkedArray) else nested
        inner = nested.flatten()
        names = [field.name for field in inner.type]
        clips = pa.table([inner.field(name) for name in names], names=names)
        return cls(
            table,
            table.drop_columns(["vector", "clips"]).to_pylist(),
            halves(table["vector"], dim),
            np.concatenate([[0], np.cumsum(nested.value_lengths().to_numpy())]).astype(np.int64),
            clips,
            halves(clips["vector"], dim),
        )

    def span(self, row: int) -> slice:
        """Which clips are those of a track."""
        return slice(int(self.offsets[row]), int(self.offsets[row + 1]))

    def flaw(self, row: int) -> str:
        """Say why a track cannot be imported; "" if it can."""
        values, span = self.plain[row], self.span(row)
        starts, ends = (self.clips[name].to_numpy()[span] for name in ("start", "end"))
        return (
            _plain_flaw(values)
            or times_flaw(starts, ends, duration=values["duration"])
            or vectors_flaw(self.vectors[span])
            or vectors_flaw(self.means[row : row + 1])
            or mean_flaw(self.means[row], self.vectors[span], seconds=ends - starts)
        )

    def tracks(self, chosen: Sequence[int]) -> pa.Table:
        """Return rows as `tracks` holds them."""
        schema = track_schema(self.means.shape[1])
        part = self.table.take(pa.array(chosen, pa.int64())).drop_columns(["clips"])
        keys = [path_key(os.fsdecode(self.plain[row]["raw_path"])) for row in chosen]
        part = part.append_column("key", pa.array(keys, pa.string()))
        return part.select(schema.names).cast(schema)

    def clips_of(self, chosen: Sequence[int]) -> pa.Table:
        """Return the clips of tracks as `clips` holds them."""
        schema = clip_schema(self.means.shape[1])
        spans = [self.span(row) for row in chosen]
        parts = [self.clips.slice(span.start, span.stop - span.start) for span in spans]
        contents = [
            self.plain[row]["content"]
            for row, span in zip(chosen, spans, strict=True)
            for _ in range(span.start, span.stop)
        ]
        if not parts:
            return schema.empty_table()
        table = pa.concat_tables(parts).append_column("content", pa.array(contents, pa.string()))
        return table.select(schema.names).cast(schema)


def _plain_flaw(values: dict[str, Any]) -> str:
    raw = values["raw_path"]
    path = os.fsdecode(raw)
    if not raw or len(raw) > MAX_PATH or b"\0" in raw or absolute(path) != path:
        return "its path is not one that a library could have"
    if values["path"] != readable(path):
        return "its two paths are not the same"
    if not is_hash(values["content"]):
        return "its content is not a hash"
    if any(len(values[name]) > MAX_TEXT for name in ("title", "artist", "album", "genre")):
        return f"a text of it has more than {MAX_TEXT:,} characters"
    if len(values["problem"]) > MAX_TEXT or values["size"] < 0:
        return "its size or its problem is not one that a library could have"
    return ""


class _Importing:
    """One import: what is there already, what has come, what was refused."""

    def __init__(self, store: Store) -> None:
        self._store, self._known = store, store.known()
        self._keys: set[str] = set()
        self._contents: set[str] = set()
        self._added: list[str] = []
        self._unchanged: list[str] = []
        self.failed: list[tuple[str, str]] = []
        self.seen = 0

    def report(self) -> Report:
        return Report(
            added=tuple(sorted(self._added)),
            updated=(),
            unchanged=tuple(sorted(self._unchanged)),
            removed=(),
            failed=tuple(sorted(self.failed)),
            problems=(),
            seconds=0.0,
        )

    def add(self, table: pa.Table | str, *, number: int) -> None:
        """Write the good and new tracks of a row group as one transaction."""
        if isinstance(table, str):
            self.failed.append((f"row group {number}, from track {self.seen}", table))
            return
        group = _Group.of(table, self._store.dim)
        new = list(self._new(group))
        bringing = list(self._bringing(group, new))
        copies = sorted(set(new) - set(bringing))
        if bringing:
            self._store.write_rows(group.tracks(bringing), group.clips_of(bringing), replaces=False)
        if copies:
            agreeing = self._agreeing(group.tracks(copies))
            self._store.write_rows(agreeing, group.clips_of([]), replaces=False)
        self._added += [os.fsdecode(group.plain[row]["raw_path"]) for row in new]

    def _new(self, group: _Group) -> Iterator[int]:
        """Rows that are sound and whose path the library does not know."""
        for row, values in enumerate(group.plain):
            path, flaw = os.fsdecode(values["raw_path"]), group.flaw(row)
            key = path_key(path)
            if flaw:
                self.failed.append((path or f"track {self.seen + row}", flaw))
            elif self._known.get(key) is not None or key in self._keys:
                self._unchanged.append(path)
            else:
                self._keys.add(key)
                yield row

    def _bringing(self, group: _Group, new: Sequence[int]) -> Iterator[int]:
        """Of these rows those whose clips the library has not."""
        for row in new:
            content = group.plain[row]["content"]
            if not self._known.has_content(content) and content not in self._contents:
                self._contents.add(content)
                yield row

    def _agreeing(self, copies: pa.Table) -> pa.Table:
        """Let tracks whose content the library has say of it what the library says."""
        contents = copies["content"].to_pylist()
        held = self._store.summaries(contents)
        found = [held[content] for content in contents]
        columns = {
            "duration": [summary.duration for summary in found],
            "problem": [summary.problem for summary in found],
            "added": [summary.added for summary in found],
            "vector": vector_array([summary.vector for summary in found], self._store.dim),
        }
        for name, values in columns.items():
            place, kind = copies.schema.get_field_index(name), copies.schema.field(name)
            column = values if isinstance(values, pa.Array) else pa.array(values, kind.type)
            copies = copies.set_column(place, kind, column)
        return copies
