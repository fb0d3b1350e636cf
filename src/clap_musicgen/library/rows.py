"""Rows of the tables and their Arrow schemas.

Two tables hold a library. `clips` has one row for each clip vector, keyed by the hash of the
file's content; `tracks` has one row for each file and is the record of truth: a clip that no track
refers to does not exist for a reader. A third, `texts`, holds captions with their vectors, which
scores are calibrated with. Vectors are stored in half precision: half the bytes, and it changes a
cosine by some 0.00005. Knows Arrow; neither where the tables lie nor what a question is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clap_musicgen.embedding import unit
from clap_musicgen.library.folding import folded_pattern
from clap_musicgen.library.known import array_of
from clap_musicgen.library.paths import path_key, readable
from clap_musicgen.library.records import Track

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

    from clap_musicgen.audio.files import Tags
    from clap_musicgen.embedding import Embeddings

MEAN = ("content", "vector")
_ROUNDS = 16
FILTER_COLUMNS = ("title", "artist", "album", "genre", "year", "duration", "path", "added")
"""What a `where` may ask about. `path` shows bytes that are not UTF-8 as `\\xNN`."""


@dataclass(frozen=True, slots=True)
class Clips:
    """The clips of one content.

    Attributes:
        starts: (C,) seconds.
        ends: (C,) seconds.
        vectors: (C, D) unit vectors.
    """

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    vectors: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Summary:
    """What holds for every file of one content.

    Attributes:
        duration: seconds.
        problem: "" or what was wrong with the file.
        added: when the content was embedded.
        vector: (D,) the mean direction of its clips.
    """

    duration: float
    problem: str
    added: datetime
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NewTrack:
    """A track to be written.

    Attributes:
        path: absolute.
        tags: for display and for filters.
        size: bytes.
        mtime_ns: the file's time of modification, nanoseconds.
        content: hash of its bytes.
        summary: shared by all files of that content.
        clips: None where the store has the clips of that content already.
        replaces: False promises that the store has no track of that path, which saves looking.
    """

    path: str
    tags: Tags
    size: int
    mtime_ns: int
    content: str
    summary: Summary
    clips: Clips | None
    replaces: bool = True


def track_schema(dim: int) -> pa.Schema:
    """Return the schema of `tracks`."""
    return pa.schema(
        [
            pa.field("key", pa.string(), nullable=False),
            pa.field("raw_path", pa.binary(), nullable=False),  # exact, whatever its bytes
            pa.field("path", pa.string(), nullable=False),  # readable, for filters
            pa.field("title", pa.string(), nullable=False),
            pa.field("artist", pa.string(), nullable=False),
            pa.field("album", pa.string(), nullable=False),
            pa.field("genre", pa.string(), nullable=False),
            pa.field("year", pa.int32()),
            pa.field("duration", pa.float64(), nullable=False),
            pa.field("problem", pa.string(), nullable=False),
            pa.field("added", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("size", pa.int64(), nullable=False),
            pa.field("mtime_ns", pa.int64(), nullable=False),
            pa.field("content", pa.string(), nullable=False),
            _vector_field(dim),
        ]
    )


def clip_schema(dim: int) -> pa.Schema:
    """Return the schema of `clips`; start and end are seconds."""
    return pa.schema(
        [
            pa.field("content", pa.string(), nullable=False),
            pa.field("start", pa.float64(), nullable=False),
            pa.field("end", pa.float64(), nullable=False),
            _vector_field(dim),
        ]
    )


def text_schema(dim: int) -> pa.Schema:
    """Return the schema of `texts`."""
    return pa.schema([pa.field("text", pa.string(), nullable=False), _vector_field(dim)])


def track_table(tracks: Sequence[NewTrack], dim: int) -> pa.Table:
    """Return the rows of `tracks`."""
    columns = {
        "key": [path_key(track.path) for track in tracks],
        "raw_path": [os.fsencode(track.path) for track in tracks],
        "path": [readable(track.path) for track in tracks],
        "title": [track.tags.title for track in tracks],
        "artist": [track.tags.artist for track in tracks],
        "album": [track.tags.album for track in tracks],
        "genre": [track.tags.genre for track in tracks],
        "year": [track.tags.year for track in tracks],
        "duration": [track.summary.duration for track in tracks],
        "problem": [track.summary.problem for track in tracks],
        "added": [track.summary.added for track in tracks],
        "size": [track.size for track in tracks],
        "mtime_ns": [track.mtime_ns for track in tracks],
        "content": [track.content for track in tracks],
        "vector": vector_array([track.summary.vector for track in tracks], dim),
    }
    return pa.table(columns, schema=track_schema(dim))


def clip_table(tracks: Sequence[NewTrack], dim: int) -> pa.Table:
    """Return the rows of `clips` for those tracks that bring clips."""
    parts = [(track.content, track.clips) for track in tracks if track.clips is not None]
    columns = {
        "content": [content for content, clips in parts for _ in clips.starts],
        "start": np.concatenate([np.empty(0), *(clips.starts for _, clips in parts)]),
        "end": np.concatenate([np.empty(0), *(clips.ends for _, clips in parts)]),
        "vector": vector_array([row for _, clips in parts for row in clips.vectors], dim),
    }
    return pa.table(columns, schema=clip_schema(dim))


def text_table(texts: Sequence[str], vectors: Embeddings) -> pa.Table:
    """Return the rows of `texts` for (M, D) vectors."""
    dim = vectors.shape[1]
    columns = {"text": list(texts), "vector": vector_array(vectors, dim)}
    return pa.table(columns, schema=text_schema(dim))


def stored(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows as they are stored: the schema's columns; half precision stays bit for bit."""
    vector = schema.field("vector")
    if table.schema.field("vector").type != vector.type:
        dim = vector.type.list_size
        array = vector_array(vectors(table["vector"], dim), dim)
        place = table.schema.get_field_index("vector")
        table = table.set_column(place, vector, array)
    return table.select(schema.names).cast(schema)


def packed(vectors: NDArray[np.floating]) -> NDArray[np.float16]:
    """Unit vectors (N, D) in half precision, such that reading and packing again changes nothing.

    Rounding makes a vector a little too long or short; what is read is scaled to length 1 again,
    and that may round differently. A few rounds settle it.
    """
    halves = np.asarray(vectors, dtype=np.float16)
    restless = np.arange(len(halves))
    for _ in range(_ROUNDS):
        again = unit(halves[restless].astype(np.float32)).astype(np.float16)
        moved = (again != halves[restless]).any(axis=-1)
        restless = restless[moved]
        if not len(restless):
            break
        halves[restless] = again[moved]
    return halves


def halves(column: Any, dim: int) -> NDArray[np.floating]:
    """Return an Arrow column of vectors as one matrix (N, D), in the precision it is stored in."""
    flat = array_of(column).flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat).reshape(-1, dim)


def vectors(column: Any, dim: int) -> Embeddings:
    """Return an Arrow column of vectors as unit vectors (N, D)."""
    return unit(halves(column, dim).astype(np.float32))


def vector_array(vectors: Sequence[NDArray[np.float32]] | Embeddings, dim: int) -> pa.Array:
    """Return unit vectors (N, D) as an Arrow array as it is stored."""
    matrix = np.asarray(vectors, dtype=np.float32).reshape(-1, dim)
    return pa.FixedSizeListArray.from_arrays(pa.array(packed(matrix).reshape(-1)), dim)


class TrackRows(Sequence[Track]):
    """Rows of `tracks` read as Track; each is built when it is asked for."""

    COLUMNS = (
        "raw_path",
        "title",
        "artist",
        "album",
        "genre",
        "year",
        "duration",
        "content",
        "problem",
    )
    _FOUND = ("title", "artist", "album", "genre")

    def __init__(self, table: pa.Table) -> None:
        """Keep the columns of a track."""
        self._table = table.select(list(self.COLUMNS))

    def __len__(self) -> int:
        """How many tracks."""
        return int(self._table.num_rows)

    @overload
    def __getitem__(self, index: int) -> Track: ...
    @overload
    def __getitem__(self, index: slice) -> list[Track]: ...
    def __getitem__(self, index: int | slice) -> Track | list[Track]:
        """Return one track, or several as a list."""
        rows = range(len(self))[index]
        if isinstance(rows, range):
            return list(_tracks(self._table.take(list(rows))))
        return next(_tracks(self._table.slice(rows, 1)))

    def __iter__(self) -> Iterator[Track]:
        """Go through all tracks."""
        return _tracks(self._table)

    def pick(self, rows: NDArray[np.int64]) -> list[Track]:
        """Return some tracks by their rows."""
        return list(_tracks(self._table.take(pa.array(rows, pa.int64()))))

    def find(self, text: str) -> NDArray[np.int64]:
        """Rows, ascending, of the tracks whose tags hold every word of a text; "" finds all."""
        held = np.ones(len(self), dtype=bool)
        for word in set(text.split()):
            pattern = folded_pattern(word)
            held &= np.any([self._holds(name, pattern) for name in self._FOUND], axis=0)
        return np.flatnonzero(held)

    def _holds(self, column: str, pattern: str) -> NDArray[np.bool_]:
        found = pc.match_substring_regex(self._table[column], pattern)
        return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)


def _tracks(table: pa.Table) -> Iterator[Track]:
    for batch in table.to_batches(max_chunksize=1024):
        for values in batch.to_pylist():
            yield Track(path=os.fsdecode(values.pop("raw_path")), **values)


def _vector_field(dim: int) -> pa.Field:
    return pa.field("vector", pa.list_(pa.float16(), dim), nullable=False)
