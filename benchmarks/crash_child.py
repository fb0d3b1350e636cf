"""The child of `crash.py`: indexes as `clap-musicgen index` does, and announces each step.

    python benchmarks/crash_child.py LIBRARY MUSIC STAGE MODEL

STAGE is a file of shared memory: what the child is doing when it is killed stays readable there.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clap_musicgen.embedding import Embedder, Embeddings, Waveform

PHASES = ("starting", "creating", "decoding", "committing", "compacting", "sweeping", "done")
GROUP, FILES = 2, 6
"""Tracks of a transaction, and files of a table before they are merged."""


class Quick:
    """An Embedder of a millisecond: energies of bands of the spectrum, mixed."""

    dim, sample_rate, clip_seconds, clips_at_once = 32, 8_000, 1.0, 8
    fingerprint = "quick-1"

    def embed_clips(self, waveforms: Sequence[Waveform]) -> Embeddings:
        """(N, 32); each clip by itself, so that its bits depend on nothing else."""
        return np.stack([self._embed(waveform) for waveform in waveforms])

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        """(N, 32) directions that follow from the texts."""
        seeds = [int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) for text in texts]
        drawn = [np.random.default_rng(seed).normal(size=self.dim) for seed in seeds]
        return np.stack([self._unit(vector) for vector in drawn])

    def _embed(self, waveform: Waveform) -> NDArray[np.float32]:
        power = np.abs(np.fft.rfft(waveform, n=self.sample_rate)) ** 2
        bands = [float(part.sum()) for part in np.array_split(power, self.dim)]
        return self._unit(np.sqrt(np.asarray(bands) + 1e-6))

    @staticmethod
    def _unit(vector: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


class Alone:
    """A model that is given one clip at a time: in another batch its last bits may differ."""

    clips_at_once = 1

    def __init__(self, model: Embedder) -> None:
        self._model = model
        self.dim, self.sample_rate = model.dim, model.sample_rate
        self.clip_seconds, self.fingerprint = model.clip_seconds, model.fingerprint

    def embed_clips(self, waveforms: Sequence[Waveform]) -> Embeddings:
        """(N, D)."""
        return np.concatenate([self._model.embed_clips([waveform]) for waveform in waveforms])

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        """(N, D)."""
        return self._model.embed_text(texts)


def load(name: str) -> Embedder:
    """The quick embedder, or a checkpoint by its name."""
    if name == "quick":
        return Quick()
    from clap_musicgen import ClapMusicGen

    return Alone(ClapMusicGen.from_pretrained(name))


class Stage:
    """What the child does just now, and how many times it began each thing, in shared memory.

    It outlives the child, so that the parent sees where the kill fell.
    """

    _LAYOUT = struct.Struct(f"<{1 + len(PHASES)}I")

    def __init__(self, path: Path) -> None:
        """Map the file, made if it is absent."""
        if not path.exists():
            path.write_bytes(bytes(self._LAYOUT.size))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), self._LAYOUT.size)

    def reset(self) -> None:
        """Begin with a new child."""
        self._memory[:] = bytes(self._LAYOUT.size)

    @property
    def phase(self) -> str:
        """Its present phase."""
        return PHASES[self._LAYOUT.unpack(self._memory[:])[0]]

    def begun(self, phase: str) -> int:
        """How many times it has begun a phase."""
        return int(self._LAYOUT.unpack(self._memory[:])[1 + PHASES.index(phase)])

    @contextlib.contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Be in a phase, then in the one before again."""
        before, *counts = self._LAYOUT.unpack(self._memory[:])
        counts[PHASES.index(phase)] += 1
        self._memory[:] = self._LAYOUT.pack(PHASES.index(phase), *counts)
        started = time.perf_counter()
        try:
            yield
        finally:
            _, *counts = self._LAYOUT.unpack(self._memory[:])
            self._memory[:] = self._LAYOUT.pack(before, *counts)
            sys.stdout.write(f"{phase} {time.perf_counter() - started:.6f}\n")

    def announcing(self, phase: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, with its phase announced."""

        def announced(*arguments: Any, **options: Any) -> Any:
            with self.during(phase):
                return work(*arguments, **options)

        return announced


def work(library_folder: Path, music: Path, *, stage: Stage, model: Embedder) -> None:
    """Index, as `clap-musicgen index` does, and announce each step."""
    from lancedb.table import LanceTable

    from clap_musicgen.library import Library, adding, store

    adding.GROUP_TRACKS, store.MAX_FRAGMENTS = GROUP, FILES
    changed: list[tuple[Any, str, str]] = [
        (store.Store, "commit", "committing"),
        (store.Store, "sweep", "sweeping"),
        (store.Store, "delete", "sweeping"),
        (LanceTable, "optimize", "compacting"),
    ]
    for owner, name, phase in changed:
        setattr(owner, name, stage.announcing(phase, getattr(owner, name)))
    new = not (library_folder / "library.json").exists()
    with stage.during("creating") if new else contextlib.nullcontext():
        library = Library.open(library_folder, model)
    with library, stage.during("decoding"):
        report = library.add(music)
    with stage.during("done"):
        sys.stdout.write(f"failed {len(report.failed)}\n")


def main() -> None:
    library, music, stage, model = sys.argv[1:]
    work(Path(library), Path(music), stage=Stage(Path(stage)), model=load(model))


if __name__ == "__main__":
    main()
