"""The store of record: the only door to LanceDB.

Knows rows, transactions and versions; neither models, nor audio, nor what a question means. Who
writes must hold the lock of `folder.writing`; reading needs nothing, not even write permission.
"""

from __future__ import annotations

import re
import signal
import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clap_musicgen.errors import LibraryError, LibraryQueryError
from clap_musicgen.library import rows
from clap_musicgen.library.resident import ClipVectors, Resident

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

TRACKS, CLIPS = "tracks", "clips"
MAX_FRAGMENTS = 64
"""Each transaction adds a fragment (a file); beyond so many they are merged."""
KEEP_VERSIONS = timedelta(seconds=20)
"""How long files of older states stay, for readers that are reading them just now."""
_MAX_KEYS = 500  # in one filter
_ATTEMPTS = 3


class Known(NamedTuple):
    """What tells whether a file has changed."""

    size: int
    mtime_ns: int
    content: str


class Store:
    """The tables of one library; see `rows` for what they hold.

    Clips are written before the tracks that refer to them, each table in one atomic step. A process
    that dies in between leaves clips that nothing refers to: nobody sees them, and the next writer
    removes them (`sweep`).
    """

    def __init__(self, folder: Path, *, dim: int) -> None:
        """Open the tables; LibraryError if they are missing or damaged."""
        self.folder, self.dim = folder, dim
        with _explained(folder, "open"):
            connection = _connect(folder)
            self._tracks = connection.open_table(TRACKS)
            self._clips = connection.open_table(CLIPS)

    @classmethod
    def create(cls, folder: Path, *, dim: int) -> Store:
        """Make empty tables; what an interrupted creation has left is replaced.

        Raises:
            LibraryError: there are tables with content, or the folder cannot be written.
        """
        with _explained(folder, "create"):
            connection = _connect(folder)
            schemas = {TRACKS: rows.track_schema(dim), CLIPS: rows.clip_schema(dim)}
            left = [name for name in schemas if (folder / f"{name}.lance").exists()]
            if any(connection.open_table(name).count_rows() for name in left):
                raise LibraryError(
                    f"the library {str(folder)!r} has lost its library.json: restore that file "
                    "from a backup, or delete the folder and index again"
                )
            for name in left:
                connection.drop_table(name)
            for name, schema in schemas.items():
                connection.create_table(name, schema=schema)
        return cls(folder, dim=dim)

    # Reading

    def version(self) -> int:
        """Number of the present state; it rises with every change."""
        with _explained(self.folder, "read"):
            return int(self._tracks.version)

    def count_tracks(self) -> int:
        """How many tracks there are."""
        with _explained(self.folder, "read"):
            return int(self._tracks.count_rows())

    def count_clips(self) -> int:
        """How many clips there are, those of an interrupted writer included."""
        with _explained(self.folder, "read"):
            return int(self._clips.count_rows())

    def seconds(self) -> float:
        """Length of all tracks."""
        return float(pc.sum(self._read(TRACKS, ["duration"])["duration"]).as_py() or 0.0)

    def known(self) -> dict[str, Known]:
        """Track key → size, time and content of its file as it was when it was indexed."""
        table = self._read(TRACKS, ["key", "size", "mtime_ns", "content"])
        keys, *columns = (column.to_pylist() for column in table.columns)
        return {key: Known(*values) for key, *values in zip(keys, *columns, strict=True)}

    def tracks(self) -> rows.TrackRows:
        """Return all tracks, by path."""
        return rows.TrackRows(self._by_path(list(rows.TrackRows.COLUMNS)))

    def summaries(self, contents: Iterable[str]) -> dict[str, rows.Summary]:
        """Content → what holds for all its files, for those contents the tracks refer to."""
        columns = ["content", "duration", "problem", "added", "vector"]
        found: dict[str, rows.Summary] = {}
        for condition in _conditions("content", contents):
            table = self._read(TRACKS, columns, condition)
            vectors = rows.vectors(table["vector"], self.dim)
            for row, vector in zip(table.drop(["vector"]).to_pylist(), vectors, strict=True):
                content = row.pop("content")
                found[content] = rows.Summary(vector=vector, **row)
        return found

    def keys_where(self, where: str) -> list[str]:
        """Keys of the tracks for which an SQL condition on `rows.FILTER_COLUMNS` is true.

        Raises:
            LibraryQueryError: the condition cannot be understood or evaluated.
        """
        try:
            # In parentheses, since the parser would silently ignore what follows a condition.
            query = self._tracks.search().where(f"({where})").select(["key"])
            return list(query.to_arrow()["key"].to_pylist())
        except (ValueError, RuntimeError) as error:
            self.version()  # raises if it is the library that cannot be read
            raise LibraryQueryError(
                f"the filter {where!r} cannot be used: {_cause(error)}. Columns: "
                f"{', '.join(rows.FILTER_COLUMNS)}; text stands in single quotes, as in "
                "\"artist = 'Nina Simone' AND year >= 1960\""
            ) from error

    def resident(self) -> Resident:
        """Read everything a search needs, as of one moment, while a writer may go on writing."""
        for attempt in range(_ATTEMPTS):
            version = self.version()
            try:
                clips = self._read(CLIPS, ["content", "start", "end", "vector"])
                table = self._by_path(["key", "vector", *rows.TrackRows.COLUMNS])
            except LibraryError:  # perhaps a writer has just cleared that state's files away
                if attempt == _ATTEMPTS - 1 or self.version() == version:
                    raise
                continue
            if self.version() == version:
                break
        # A writer was faster each time: leave out what is not whole; the next search sees it.
        table = table.filter(pc.is_in(table["content"], value_set=pc.unique(clips["content"])))
        return _resident(version, table, clips, self.dim)

    # Writing

    def commit(self, tracks: Sequence[rows.NewTrack]) -> None:
        """Write tracks and the clips they bring as one transaction; rows of their paths go."""
        clips, new = rows.clip_table(tracks, self.dim), rows.track_table(tracks, self.dim)
        with _undisturbed(), _explained(self.folder, "write to"):
            if clips.num_rows:
                self._clips.add(clips)
            upsert = self._tracks.merge_insert("key").when_matched_update_all()
            upsert.when_not_matched_insert_all().execute(new)
            self._tidy()

    def delete(self, keys: Iterable[str]) -> None:
        """Remove tracks by key; their clips stay until `sweep`."""
        self._delete(TRACKS, "key", keys)

    def sweep(self) -> None:
        """Remove the clips that no track refers to."""
        kept = self._read(TRACKS, ["content"])["content"]
        held = pc.unique(self._read(CLIPS, ["content"])["content"])
        orphans = held.filter(pc.invert(pc.is_in(held, value_set=pc.unique(kept))))
        self._delete(CLIPS, "content", orphans.to_pylist())

    def _delete(self, name: str, column: str, values: Iterable[str]) -> None:
        for condition in _conditions(column, values):
            with _undisturbed(), _explained(self.folder, "write to"):
                self._table(name).delete(condition)

    def _tidy(self) -> None:
        for table in (self._tracks, self._clips):
            if table.stats()["fragment_stats"]["num_fragments"] > MAX_FRAGMENTS:
                table.optimize(cleanup_older_than=KEEP_VERSIONS)

    def _table(self, name: str) -> Any:
        return self._tracks if name == TRACKS else self._clips

    def _read(self, name: str, columns: list[str], where: str | None = None) -> pa.Table:
        with _explained(self.folder, "read"):
            query = self._table(name).search().select(columns)
            return (query if where is None else query.where(where)).to_arrow()

    def _by_path(self, columns: list[str]) -> pa.Table:
        table = self._read(TRACKS, columns)
        return table.take(pc.sort_indices(table["raw_path"]))


def _connect(folder: Path) -> Any:
    import lancedb  # takes over a second, and only an open library needs it

    # Zero: a handle sees what other processes have written; by default it stays at its version.
    return lancedb.connect(str(folder), read_consistency_interval=timedelta(0))


def _resident(version: int, tracks: pa.Table, clips: pa.Table, dim: int) -> Resident:
    encoded = tracks["content"].combine_chunks().dictionary_encode()
    content_rows = encoded.indices.to_numpy().astype(np.int64)
    firsts = np.unique(content_rows, return_index=True)[1]
    owners = pc.fill_null(pc.index_in(clips["content"], value_set=encoded.dictionary), -1)
    contents = encoded.dictionary.to_pylist()
    return Resident(
        version,
        tracks=rows.TrackRows(tracks),
        row_of_key={key: row for row, key in enumerate(tracks["key"].to_pylist())},
        row_of_content={content: row for row, content in enumerate(contents)},
        content_rows=content_rows,
        means=rows.vectors(tracks["vector"], dim)[firsts],
        clips=ClipVectors(
            owners.to_numpy().astype(np.int64),
            starts=clips["start"].to_numpy(),
            ends=clips["end"].to_numpy(),
            vectors=rows.vectors(clips["vector"], dim),
            contents=len(contents),
        ),
    )


def _conditions(column: str, values: Iterable[str]) -> Iterator[str]:
    """SQL conditions that together select rows whose column has one of the values, all hashes."""
    wanted = sorted(set(values))
    for first in range(0, len(wanted), _MAX_KEYS):
        part = wanted[first : first + _MAX_KEYS]
        if not all(value.isalnum() for value in part):
            raise ValueError(f"not hashes: {part!r}")
        yield f"{column} IN ({', '.join(map(repr, part))})"


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold Ctrl-C back while the block writes; it takes effect afterwards."""
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or previous is None:
        yield  # Ctrl-C does not reach this thread, or is somebody else's
        return
    held: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if held:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def _explained(folder: Path, action: str) -> Iterator[None]:
    """Turn LanceDB's and the operating system's errors into a LibraryError with path and cause."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise LibraryError(
            f"cannot {action} the library {str(folder)!r}: {_cause(error)}. What had been "
            "committed before is safe; try again once the cause is gone"
        ) from error


def _cause(error: Exception) -> str:
    """The gist of an error of LanceDB, without places in its source and its inner columns."""
    text = re.split(r",? ?\S+\.rs:\d+|\. Valid fields are| ?Valid fields are", str(error))[0]
    text = re.sub(r".*sql parser error: (.*)\).*", r"\1", text, flags=re.DOTALL)
    for prefix in ("lance error: ", "LanceError(IO): ", "Invalid input, "):
        text = text.removeprefix(prefix)
    return " ".join(text.split()).rstrip(" .,")
