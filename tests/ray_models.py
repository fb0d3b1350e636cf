"""Models that workers of a cluster load, and that a test can find, slow down or make fail."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fake_embedder import FakeEmbedder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clap_musicgen.embedding import Embeddings, Waveform


class Findable(FakeEmbedder):
    """Takes 20 ms for a clip; leaves a file named by its process where it works."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def embed_clips(self, waveforms: Sequence[Waveform]) -> Embeddings:
        (self._folder / str(os.getpid())).touch()
        time.sleep(0.02 * len(waveforms))
        return super().embed_clips(waveforms)


class Fragile(FakeEmbedder):
    """A loud clip kills its process, a very quiet one makes it raise."""

    def embed_clips(self, waveforms: Sequence[Waveform]) -> Embeddings:
        for waveform in waveforms:
            peak = float(np.abs(waveform).max())
            if peak > 0.9:
                os.kill(os.getpid(), signal.SIGKILL)
            if peak < 0.01:
                raise FloatingPointError("too quiet for this model")
        return super().embed_clips(waveforms)


class Unsendable(FakeEmbedder):
    """Holds what cannot be pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
