"""A large library's vectors, made up: genres round one direction, tracks round genres, clips round
tracks.

All music of an embedding model points more or less one way (the gap between words and sounds), a
genre lies round that direction, a track round its genre, its clips close round the track. A step
`around` a direction adds Gaussian noise whose expected length is the spread; with the spreads below
two clips of a track have a cosine of about 0.8, two tracks of a genre 0.6, two genres 0.5.
Everything follows from the seed. Knows numpy only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clap_musicgen.embedding import Embeddings, unit

CLIPS_PER_TRACK = 20
CLIP_SECONDS = 10.0
GENRES = 60
GENRE_SPREAD, TRACK_SPREAD, CLIP_SPREAD, TEXT_SPREAD = 1.0, 0.8, 0.5, 0.6
CAPTIONS = 300
_BLOCK = 2_500


@dataclass(frozen=True, slots=True)
class Music:
    """A made-up collection.

    Attributes:
        tracks: how many.
        dim: length of a vector.
        seed: of everything.
    """

    tracks: int
    dim: int
    seed: int = 0

    def blocks(self) -> Iterator[Embeddings]:
        """Clip vectors of the tracks, in order, some tracks at a time → (n x 20, D)."""
        directions = self.directions()
        for first in range(0, self.tracks, _BLOCK):
            rng = np.random.default_rng((self.seed, 1, first))
            part = np.repeat(directions[first : first + _BLOCK], CLIPS_PER_TRACK, axis=0)
            yield around(part, CLIP_SPREAD, rng)

    def directions(self) -> Embeddings:
        """The direction of each track → (tracks, D)."""
        rng = np.random.default_rng((self.seed, 0))
        genres = around(np.repeat(self._pole(0), GENRES, axis=0), GENRE_SPREAD, rng)
        shares = rng.dirichlet(np.full(GENRES, 0.5))  # a few genres are large
        return around(genres[rng.choice(GENRES, size=self.tracks, p=shares)], TRACK_SPREAD, rng)

    def captions(self) -> Embeddings:
        """Vectors of captions of no track in particular → (300, D)."""
        rng = np.random.default_rng((self.seed, 2))
        return around(np.repeat(self._pole(1), CAPTIONS, axis=0), TEXT_SPREAD, rng)

    def sounds(self, count: int) -> Embeddings:
        """Questions by sound: near tracks of the collection → (count, D)."""
        rng = np.random.default_rng((self.seed, 3))
        directions = self.directions()
        return around(directions[rng.choice(len(directions), count)], CLIP_SPREAD, rng)

    def words(self, count: int) -> Embeddings:
        """Questions by words: where texts lie, half of what sets them apart that of a track."""
        rng = np.random.default_rng((self.seed, 4))
        directions = self.directions()
        meant = directions[rng.choice(len(directions), count)] - self._pole(0)
        return around(unit(self._pole(1) + 0.35 * unit(meant)), 0.35, rng)

    def _pole(self, number: int) -> Embeddings:
        """Where all music (0), or all text (1), lies → (1, D)."""
        return unit(np.random.default_rng((self.seed, 5, number)).normal(size=(1, self.dim)))


def around(
    centres: NDArray[np.float32], spread: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Unit vectors (N, D) round centres (N, D)."""
    noise = rng.standard_normal(centres.shape, dtype=np.float32)
    return unit(centres + np.float32(spread / np.sqrt(centres.shape[1])) * noise)
