"""Exact search over vectors held in memory.

Pure arithmetic on arrays. Knows neither the store nor where a question comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clap_musicgen.library.records import Match, Track

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Resident:
    """One consistent state of a library, in memory.

    Files with the same bytes share one row of `means` and one run of clips, so their scores are
    equal to the last bit and their order among each other is by path.

    Attributes:
        version: which state of the store this is.
        tracks: the N tracks, by path.
        row_of_key: track key → its row.
        row_of_content: content → its row of `means`.
        content_rows: (N,) the row of `means` of each track.
        means: (U, D) a unit vector for each content.
        clips: the vectors of all clips.
    """

    version: int
    tracks: Sequence[Track]
    row_of_key: Mapping[str, int]
    row_of_content: Mapping[str, int]
    content_rows: NDArray[np.int64]
    means: NDArray[np.float32]
    clips: ClipVectors

    def search(
        self, direction: NDArray[np.float32], *, k: int, rows: NDArray[np.int64] | None = None
    ) -> list[Match]:
        """Return the `k` tracks whose mean direction is closest to a unit vector (D,).

        The score is the cosine with the mean direction of the whole track, not with its best clip:
        the best of many clips grows with their number, so that a two-hour mix would beat every
        song. The best clip tells where to listen.

        Args:
            direction: (D,) unit vector.
            k: how many at most.
            rows: the tracks that may answer, in ascending order; None means all.

        Returns:
            Matches by score, highest first; equal scores by path.
        """
        scores = np.clip(self.means @ direction, -1.0, 1.0)[self.content_rows]
        if rows is None:
            rows = np.arange(len(scores))
        best = rows[top_k(scores[rows], k)]
        return [self._match(row, float(scores[row]), direction) for row in best.tolist()]

    def _match(self, row: int, score: float, direction: NDArray[np.float32]) -> Match:
        start, end = self.clips.best(int(self.content_rows[row]), direction)
        return Match(self.tracks[row], score, start, end)


class ClipVectors:
    """The clip vectors of all contents, (M, D), found by content row."""

    def __init__(
        self,
        owners: NDArray[np.int64],
        *,
        starts: NDArray[np.float64],
        ends: NDArray[np.float64],
        vectors: NDArray[np.float32],
        contents: int,
    ) -> None:
        """Order the clips by content and time.

        Args:
            owners: (M,) the content row of each clip; -1 for a clip that belongs to none.
            starts: (M,) seconds.
            ends: (M,) seconds.
            vectors: (M, D) unit vectors.
            contents: how many content rows there are.
        """
        self.starts, self.ends, self.vectors = starts, ends, vectors
        # The big matrix stays as it was read; only its row numbers are put in order.
        self._order = np.lexsort((starts, owners))
        self._offsets = np.searchsorted(owners[self._order], np.arange(contents + 1))

    def rows(self, content_row: int) -> NDArray[np.int64]:
        """Rows of the clips of one content, by time."""
        first, last = self._offsets[content_row], self._offsets[content_row + 1]
        return np.asarray(self._order[first:last], dtype=np.int64)

    def best(self, content_row: int, direction: NDArray[np.float32]) -> tuple[float, float]:
        """Start and end, in seconds, of the clip closest to a unit vector; the first of equals."""
        rows = self.rows(content_row)
        row = rows[int(np.argmax(self.vectors[rows] @ direction))]
        return float(self.starts[row]), float(self.ends[row])


def top_k(scores: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """Positions of the `k` highest of (N,) scores, highest first; of equal ones the lower position.

    Linear in N, and exact: everything that ties with the k-th is looked at.
    """
    count = len(scores)
    if k >= count:
        candidates = np.arange(count)
    else:
        candidates = np.flatnonzero(scores >= np.partition(scores, count - k)[count - k])
    order = np.argsort(-scores[candidates], kind="stable")
    return np.asarray(candidates[order[:k]], dtype=np.int64)
