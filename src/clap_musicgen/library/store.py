"""The store of record: rows of tracks, clips and texts, in transactions, local or on S3.

Knows rows, transactions and versions; neither models, nor audio, nor what a question means. With
`tables` behind it the only door to LanceDB. Who writes must hold the library's lock; reading needs
nothing, not even write permission.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clap_musicgen.errors import LibraryError, LibraryQueryError
from clap_musicgen.library import nearest, rows
from clap_musicgen.library.known import Known, KnownFiles
from clap_musicgen.library.resident import State
from clap_musicgen.library.tables import Database, cause

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from clap_musicgen.embedding import Embeddings
    from clap_musicgen.library.tables import Table

__all__ = ["CLIPS", "TEXTS", "TRACKS", "Known", "KnownFiles", "Store"]

TRACKS, CLIPS, TEXTS = "tracks", "clips", "texts"
MAX_FRAGMENTS = 64
"""Each transaction adds a fragment (a file); beyond so many, or more where there are many rows,
they are merged: see `tables.allowed_files`."""
EXACT_UP_TO = nearest.EXACT_UP_TO
_MAX_KEYS = 500  # in one filter


class Store:
    """The tables of one library; see `rows` for what they hold.

    Clips are written before the tracks that refer to them, each table in one atomic step. A process
    that dies in between leaves clips that nothing refers to: nobody sees them, and the next writer
    removes them (`sweep`).
    """

    def __init__(self, folder: Path | str, *, dim: int, exact_up_to: int | None = None) -> None:
        """Open the tables; LibraryError if they are missing or damaged.

        Args:
            folder: a local folder, or a URI such as ``s3://bucket/library``.
            dim: length of a vector.
            exact_up_to: so many vectors are searched one by one in memory; None means the measured
                default. Beyond it there is an index.
        """
        self.folder, self.dim = folder, dim
        self._exact_up_to = EXACT_UP_TO if exact_up_to is None else exact_up_to
        self._database = Database(folder)
        self._tables = {name: self._database.open(name) for name in (TRACKS, CLIPS)}

    @classmethod
    def create(cls, folder: Path | str, *, dim: int, exact_up_to: int | None = None) -> Store:
        """Make empty tables; what an interrupted creation has left is replaced.

        Raises:
            LibraryError: there are tables with content, or the folder cannot be written.
        """
        database = Database(folder)
        schemas = {
            TRACKS: rows.track_schema(dim),
            CLIPS: rows.clip_schema(dim),
            TEXTS: rows.text_schema(dim),
        }
        left = [name for name in schemas if name in database.names()]
        if any(database.open(name).count() for name in left if name != TEXTS):
            raise LibraryError(
                f"the library {str(folder)!r} has lost its library.json: restore that file "
                "from a backup, or delete the folder and index again"
            )
        for name in left:
            database.drop(name)
        for name, schema in schemas.items():
            database.create(name, schema)
        return cls(folder, dim=dim, exact_up_to=exact_up_to)

    # Reading

    def version(self) -> int:
        """Number of the present state; it rises with every change."""
        return self._tables[TRACKS].version()

    def count_tracks(self) -> int:
        """How many tracks there are."""
        return self._tables[TRACKS].count()

    def count_clips(self) -> int:
        """How many clips there are, those of an interrupted writer included."""
        return self._tables[CLIPS].count()

    def seconds(self) -> float:
        """Length of all tracks."""
        return float(pc.sum(self._tables[TRACKS].read(["duration"])["duration"]).as_py() or 0.0)

    def known(self) -> KnownFiles:
        """What is known of each file as it was when it was indexed, by track key and by content."""
        return KnownFiles(self._tables[TRACKS].read(KnownFiles.COLUMNS))

    def tracks(self) -> rows.TrackRows:
        """Return all tracks, by path."""
        return rows.TrackRows(self._by_path(rows.TrackRows.COLUMNS))

    def summaries(self, contents: Iterable[str]) -> dict[str, rows.Summary]:
        """Content → what holds for all its files, for those contents the tracks refer to."""
        columns = ["content", "duration", "problem", "added", "vector"]
        table = self.of_contents(TRACKS, list(contents), columns)
        vectors = rows.vectors(table["vector"], self.dim)
        found: dict[str, rows.Summary] = {}
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
            found = self._tables[TRACKS].select(["key"], f"({where})")
        except (ValueError, RuntimeError) as error:
            self.version()  # raises if it is the library that cannot be read
            raise LibraryQueryError(
                f"the filter {where!r} cannot be used: {cause(error)}. Columns: "
                f"{', '.join(rows.FILTER_COLUMNS)}; text stands in single quotes, as in "
                "\"artist = 'Nina Simone' AND year >= 1960\""
            ) from error
        return list(found["key"].to_pylist())

    def resident(self) -> State:
        """Read what a search needs, as of one moment, while a writer may go on writing."""
        columns = ["key", *rows.TrackRows.COLUMNS]
        if self.count_tracks() <= self._exact_up_to:
            columns.append("vector")
        version = self.version()  # read before the rows: a state may be newer than it says
        table = self._by_path(columns)
        return State(version, table=table, disk=self, dim=self.dim, exact_up_to=self._exact_up_to)

    def batches(self, name: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Go through the rows of "tracks" or "clips" as they are stored, with little memory."""
        return self._tables[name].batches(columns)

    def of_contents(self, name: str, contents: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """Return the rows of "tracks" or "clips" that have one of these contents, in any order."""
        table = self._tables[name]
        conditions = list(_conditions("content", contents)) or ["false"]
        return pa.concat_tables([table.read(columns, where) for where in conditions])

    def pinned_clips(self) -> Table:
        """Return the clips as they are now and stay for this reader; see `layout`."""
        return self._database.open(CLIPS).pinned()

    def nearest(
        self, name: str, vector: NDArray[np.float32], *, limit: int, columns: Sequence[str]
    ) -> pa.Table:
        """Return about the `limit` rows closest to a vector (D,), nearest first; see `tables`."""
        return self._tables[name].nearest(vector, limit=limit, columns=columns)

    def sample(self, name: str, count: int) -> Embeddings:
        """Return about `count` vectors of "tracks" or "clips", evenly chosen → (n, D)."""
        total = self._tables[name].count()
        offsets = np.unique(np.linspace(0, total - 1, min(count, total)).astype(int)).tolist()
        return rows.vectors(self._tables[name].take(offsets, ["vector"])["vector"], self.dim)

    def texts(self) -> tuple[list[str], Embeddings] | None:
        """Return the captions that scores are calibrated with, and their vectors (M, D)."""
        if TEXTS not in self._database.names():
            return None
        table = self._database.open(TEXTS).read(["text", "vector"])
        if not table.num_rows:
            return None
        return list(table["text"].to_pylist()), rows.vectors(table["vector"], self.dim)

    # Writing

    def commit(self, tracks: Sequence[rows.NewTrack]) -> None:
        """Write tracks and the clips they bring as one transaction; rows of their paths go.

        Where no track `replaces` one, rows are appended without looking at those there are.
        """
        self.write_rows(
            rows.track_table(tracks, self.dim),
            rows.clip_table(tracks, self.dim),
            replaces=any(track.replaces for track in tracks),
        )

    def write_rows(self, tracks: pa.Table, clips: pa.Table, *, replaces: bool = True) -> None:
        """Write rows as `rows.track_schema` and `rows.clip_schema` have them, clips first.

        Vectors may have any precision. Rows of `tracks` replace those with the same key; with
        `replaces` false the caller promises that there are none. Clips are appended: the caller
        brings only those of contents that have none.
        """
        new = rows.stored(tracks, rows.track_schema(self.dim))
        brought = rows.stored(clips, rows.clip_schema(self.dim))
        with undisturbed():
            if brought.num_rows:
                self._tables[CLIPS].add(brought)
            if replaces and new.num_rows:
                self._tables[TRACKS].upsert(new, "key")
            elif new.num_rows:
                self._tables[TRACKS].add(new)
            self._tidy()

    def write_texts(self, texts: Sequence[str], vectors: Embeddings) -> None:
        """Put captions and their vectors (M, D) in the place of those there are."""
        if TEXTS not in self._database.names():
            self._database.create(TEXTS, rows.text_schema(self.dim))
        with undisturbed():
            self._database.open(TEXTS).overwrite(rows.text_table(texts, vectors))

    def delete(self, keys: Iterable[str]) -> None:
        """Remove tracks by key; their clips stay until `sweep`."""
        self._delete(TRACKS, "key", keys)

    def sweep(self) -> None:
        """Remove the clips that no track refers to."""
        kept = pc.unique(self._tables[TRACKS].read(["content"])["content"])
        held = pc.unique(self._tables[CLIPS].read(["content"])["content"])
        orphans = held.filter(pc.invert(pc.is_in(held, value_set=kept)))
        self._delete(CLIPS, "content", orphans.to_pylist())

    def compact(self) -> None:
        """Give back what removed rows take on disk, and put the indices in order, now."""
        for name in (CLIPS, TRACKS):
            with undisturbed():
                self._tables[name].compact()

    def _delete(self, name: str, column: str, values: Iterable[str]) -> None:
        for condition in _conditions(column, values):
            with undisturbed():
                self._tables[name].delete(condition)

    def _tidy(self) -> None:
        for name, lookup in ((CLIPS, None), (TRACKS, "content")):
            self._tables[name].tidy(
                max_files=MAX_FRAGMENTS, exact_up_to=self._exact_up_to, lookup=lookup
            )

    def _by_path(self, columns: Sequence[str]) -> pa.Table:
        table = self._tables[TRACKS].read(columns)
        return table.take(pc.sort_indices(table["raw_path"]))


def _conditions(column: str, values: Iterable[str]) -> Iterator[str]:
    """SQL conditions that together select rows whose column has one of the values, all hashes."""
    wanted = sorted(set(values))
    for first in range(0, len(wanted), _MAX_KEYS):
        part = wanted[first : first + _MAX_KEYS]
        if not all(value.isalnum() for value in part):
            raise ValueError(f"not hashes: {part!r}")
        yield f"{column} IN ({', '.join(map(repr, part))})"


@contextmanager
def undisturbed() -> Iterator[None]:
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
