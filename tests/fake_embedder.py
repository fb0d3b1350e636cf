"""An Embedder without a deep-learning framework: band energies of the spectrum.

A sound's vector tells in which octaves its energy lies. A text that is a number, such as "440", is
embedded as a tone of so many hertz; any other text gets a direction of its own.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from clap_musicgen.embedding import unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from clap_musicgen.embedding import Embeddings, Waveform


class FakeEmbedder:
    """Counts what it embeds, so that tests can tell what was embedded anew."""

    def __init__(self, fingerprint: str = "fake-1", *, dim: int = 12) -> None:
        self.dim, self.fingerprint = dim, fingerprint
        self.sample_rate, self.clip_seconds, self.clips_at_once = 8_000, 1.0, 16
        self.batches: list[int] = []

    @property
    def clips(self) -> int:
        """How many clips have been embedded so far."""
        return sum(self.batches)

    def embed_clips(self, waveforms: Sequence[Waveform]) -> Embeddings:
        self.batches.append(len(waveforms))
        return np.stack([self._embed(waveform) for waveform in waveforms])

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        return np.stack([self._embed(self._sound_of(text)) for text in texts])

    def _embed(self, waveform: Waveform) -> NDArray[np.float32]:
        assert 0 < len(waveform) <= self.sample_rate * self.clip_seconds
        power = np.abs(np.fft.rfft(waveform.astype(np.float64))) ** 2 / len(waveform)
        hertz = np.fft.rfftfreq(len(waveform), 1 / self.sample_rate)
        edges = np.geomspace(60, self.sample_rate / 2, self.dim - 1)
        bands = np.bincount(np.digitize(hertz, edges), weights=power, minlength=self.dim)
        return unit(np.sqrt(bands[: self.dim] + 1e-9))

    def _sound_of(self, text: str) -> Waveform:
        time = np.arange(round(self.sample_rate * self.clip_seconds)) / self.sample_rate
        if text.isdigit():
            return np.sin(2 * np.pi * int(text) * time).astype(np.float32)
        seed = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
        return np.random.default_rng(seed).normal(size=len(time)).cumsum().astype(np.float32)
