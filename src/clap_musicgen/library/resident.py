"""One consistent state of a library: what a search needs in memory, the rest on disk until asked.

Exact where the vectors fit in memory; beyond, an index finds candidates and their scores are exact.
Knows where clips and vectors come from only as a `Disk`; not what a question means.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from clap_musicgen.embedding import unit
from clap_musicgen.library import clips
from clap_musicgen.library import rows as tables
from clap_musicgen.library.calibration import Correction
from clap_musicgen.library.indexed import Indexed
from clap_musicgen.library.known import RowOf, array_of
from clap_musicgen.library.nearest import top_k

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from clap_musicgen.embedding import Embeddings
    from clap_musicgen.library.clips import ClipRows
    from clap_musicgen.library.indexed import Disk, Score

MOST_FITTED = 50_000
"""The correction is learned from no more contents than this, evenly chosen."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The best tracks for a question, best first.

    Attributes:
        rows: (k,) rows of `State.tracks`.
        scores: (k,) exact scores.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class ClipRanking:
    """The best clips for a question, best first.

    Attributes:
        rows: (k,) rows of `State.tracks`; of copies the first by path that may answer.
        scores: (k,) exact scores.
        starts: (k,) seconds.
        ends: (k,) seconds.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """The clips of one content, by time.

    Attributes:
        starts: (C,) seconds.
        ends: (C,) seconds.
        vectors: (C, D) unit vectors, raw.
    """

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    vectors: Embeddings


class State:
    """One state of a library.

    Files with the same bytes share one content row, so their scores are equal to the last bit and
    their order among each other is by path. What a content holds never changes, so that reading its
    clips later than the tracks is safe; those of a content that has been removed since are missing.

    Attributes:
        version: which state of the store this is.
        tracks: the N tracks, by path.
        content_rows: (N,) the content row of each track.
        row_of_key: track key → its row.
        row_of_content: content → its content row.
    """

    def __init__(
        self, version: int, *, table: pa.Table, disk: Disk, dim: int, exact_up_to: int
    ) -> None:
        """Take the tracks, by path: `key`, the columns of a Track, and `vector` if it is held.

        Clips are searched one by one up to `exact_up_to`.
        """
        self.version, self.tracks = version, tables.TrackRows(table)
        self._disk, self._dim, self._exact_up_to = disk, dim, exact_up_to
        encoded = array_of(table["content"]).dictionary_encode()
        self.content_rows = encoded.indices.to_numpy().astype(np.int64)
        self.row_of_content = RowOf(encoded.dictionary)
        self.row_of_key = RowOf(array_of(table["key"]))
        self._first_rows = np.unique(self.content_rows, return_index=True)[1].astype(np.int64)
        self._durations = table["duration"].to_numpy()[self._first_rows]
        self._halves: NDArray[np.floating] | None = None  # raw, as they are stored
        if "vector" in table.column_names:
            self._halves = tables.halves(table["vector"], dim)[self._first_rows]
        self._indexed = Indexed(disk, row_of_content=self.row_of_content, dim=dim)

    # Ranking

    def ranked(
        self, direction: NDArray[np.float32], *, k: int, rows: NDArray[np.int64] | None = None
    ) -> Ranking:
        """Return the `k` tracks that score highest for a corrected direction (D,).

        The score is the cosine of the corrected mean direction of the whole track, not of its best
        clip: the best of many clips grows with their number, so that a two-hour mix would beat
        every song.

        Args:
            direction: (D,), from `correction.question`.
            k: how many at most.
            rows: the tracks that may answer, in ascending order; None means all.

        Returns:
            Rows and scores, highest first; equal scores by path.
        """
        if self._halves is not None:
            vectors, bias = self._corrected
            return self._best_tracks(_cosines(vectors @ direction) - bias, rows, k)
        score, allowed = self._score_for(direction), self._allowed(rows)
        found = self._indexed.content_scores(direction, score, k=k, allowed=allowed)
        return self._best_tracks(found, rows, k)

    def scores(self, direction: NDArray[np.float32]) -> NDArray[np.float32]:
        """What every track scores for a corrected direction (D,), exact → (N,); see `ranked`."""
        if self._halves is not None:
            vectors, bias = self._corrected
            found = _cosines(vectors @ direction) - bias
        else:
            found = self._score_for(direction)(self.means())
        return np.asarray(found[self.content_rows], dtype=np.float32)

    def ranked_clips(
        self, direction: NDArray[np.float32], *, k: int, rows: NDArray[np.int64] | None = None
    ) -> ClipRanking:
        """Return the `k` clips of the whole library that score highest; see `ranked`.

        A clip that several tracks share, since they have the same bytes, answers once.
        """
        allowed = self._allowed(rows)
        if self._disk.count_clips() <= self._exact_up_to:
            found, bias = self._corrected_clips
            scores = _cosines(found.vectors @ direction) - bias
        else:
            score = self._score_for(direction)
            found = self._indexed.clip_candidates(direction, score, k=k, allowed=allowed)
            scores = score(found.vectors)
        tracks = allowed[found.owners]
        scores = np.where(tracks >= 0, scores, -np.inf)
        first = top_k(scores, min(k, int((tracks >= 0).sum())))
        # All that tie with the last are looked at, so that equal scores come by path and time.
        tied = np.flatnonzero(scores >= scores[first[-1]]) if len(first) else first
        best = tied[np.lexsort((found.starts[tied], tracks[tied], -scores[tied]))][: len(first)]
        return ClipRanking(
            tracks[best],
            scores[best].astype(np.float32),
            found.starts[best],
            found.ends[best],
        )

    # Vectors

    @cached_property
    def correction(self) -> Correction:
        """What is taken out of words and music before they are compared; learned when first used."""
        return Correction.fit(self.sample())

    def sample(self) -> Embeddings:
        """Mean directions of all contents, or of MOST_FITTED evenly chosen ones, raw → (n, D)."""
        if self._halves is None:
            return self._disk.sample("tracks", MOST_FITTED)
        step = max(1, -(-len(self._halves) // MOST_FITTED))
        return _units(self._halves[::step])

    def vectors(self, track_rows: NDArray[np.int64]) -> Embeddings:
        """Mean directions of some tracks, raw → (n, D)."""
        content_rows = self.content_rows[track_rows]
        if self._halves is not None:
            return _units(self._halves[content_rows])
        wanted, places = np.unique(content_rows, return_inverse=True)
        found = np.zeros((len(wanted), self._dim), dtype=np.float32)
        for owners, vectors in self._indexed.means_of(wanted):
            found[np.searchsorted(wanted, owners)] = vectors
        return found[places]

    def means(self) -> Embeddings:
        """Mean directions of all contents, raw → (U, D)."""
        if self._halves is not None:
            return _units(self._halves)
        found = np.zeros((len(self.row_of_content), self._dim), dtype=np.float32)
        for owners, vectors in self._indexed.all_means():
            found[owners] = vectors
        return found

    def segments(self, content_row: int) -> Segments:
        """Return the clips of one content, by time; none if it has been removed since."""
        found = self._indexed.clips_of(np.asarray([content_row]))
        found = found.take(np.argsort(found.starts, kind="stable"))
        return Segments(found.starts, found.ends, found.vectors)

    def best_segments(
        self, content_rows: NDArray[np.int64], direction: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where contents (n,) fit a corrected direction (D,) best → starts (n,), ends (n,), seconds.

        The first of equal clips. A content that has been removed since is one segment.
        """
        found = self._indexed.clips_of(np.unique(content_rows))
        scores = self.correction.music(found.vectors) @ direction
        return clips.spans(found, scores, content_rows, self._durations[content_rows])

    # In memory

    @cached_property
    def _corrected(self) -> tuple[Embeddings, NDArray[np.float32]]:
        vectors = self.correction.music(self.means())
        return vectors, self.correction.bias(vectors)

    @cached_property
    def _corrected_clips(self) -> tuple[ClipRows, NDArray[np.float32]]:
        """All clips that belong to a track, and what is subtracted from their scores."""
        parts = [
            replace(part, vectors=self.correction.music(part.vectors))
            for part in self._indexed.all_clips()
        ]
        found = clips.joined(parts, self._dim)
        return found, self.correction.bias(found.vectors)

    def _score_for(self, direction: NDArray[np.float32]) -> Score:
        def score(vectors: Embeddings) -> NDArray[np.float32]:
            corrected = self.correction.music(vectors)
            return _cosines(corrected @ direction) - self.correction.bias(corrected)

        return score

    def _best_tracks(
        self, scores: NDArray[np.float32], rows: NDArray[np.int64] | None, k: int
    ) -> Ranking:
        """The best of the tracks `rows`; `scores` (U,) are of contents, -inf for none."""
        of_tracks = scores[self.content_rows] if rows is None else scores[self.content_rows[rows]]
        best = top_k(of_tracks, k)
        best = best[of_tracks[best] > -np.inf]
        tracks = best if rows is None else np.asarray(rows, dtype=np.int64)[best]
        return Ranking(tracks, of_tracks[best].astype(np.float32))

    def _allowed(self, rows: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """(U,) the first track of each content that may answer, or -1."""
        if rows is None:
            return self._first_rows
        found = np.full(len(self.row_of_content), -1, dtype=np.int64)
        backwards = np.asarray(rows, dtype=np.int64)[::-1]
        found[self.content_rows[backwards]] = backwards
        return found


def _units(halves: NDArray[np.floating]) -> Embeddings:
    return unit(halves.astype(np.float32))


def _cosines(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.clip(scores, -1.0, 1.0)  # rounding may go beyond
