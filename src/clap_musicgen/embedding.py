"""What a model must offer to be used by a library, and the arithmetic of unit vectors.

Knows numpy only: neither files nor a deep-learning framework.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Waveform: TypeAlias = NDArray[np.float32]
"""(T,) mono samples."""
Embeddings: TypeAlias = NDArray[np.float32]
"""(N, D), each row of unit length."""

EPSILON = 1e-12


class Embedder(Protocol):
    """Turns clips and queries into unit vectors of one space.

    The same clip gives the same vector (to 1e-5) alone or in any batch.
    """

    @property
    def dim(self) -> int:
        """Length D of an embedding."""
        ...

    @property
    def sample_rate(self) -> int:
        """The rate, in Hz, at which `embed_clips` wants its waveforms."""
        ...

    @property
    def clip_seconds(self) -> float:
        """The longest clip, in seconds, that `embed_clips` takes."""
        ...

    @property
    def clips_at_once(self) -> int:
        """How many clips `embed_clips` is best given at once; any number works."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of configuration, weights and preprocessing: equal means comparable vectors."""
        ...

    def embed_clips(self, waveforms: Sequence[Waveform]) -> Embeddings:
        """Embed clips of at most `clip_seconds`, each (T_i,) mono float32 → (N, D)."""
        ...

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        """Embed captions, queries or labels → (N, D)."""
        ...


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scale the last axis to length 1; a zero vector stays zero. Any shape (..., D)."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, EPSILON), dtype=np.float32)


def mean_direction(
    vectors: NDArray[np.floating], weights: NDArray[np.floating] | None = None
) -> NDArray[np.float32]:
    """Unit vector of the weighted mean of (N, D) vectors → (D,).

    A track's vector is the mean of its clips weighted by their seconds, so that a short tail
    counts for no more than it lasts.
    """
    return unit(np.average(np.asarray(vectors, dtype=np.float64), axis=0, weights=weights))
