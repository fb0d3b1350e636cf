"""Decoded clips → the vectors of whole files, embedded in batches across files.

Knows the model as an Embedder and the decoders' events; neither the store nor who asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from clap_musicgen.audio.pool import Decoded, Event, Failed, Finished

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from clap_musicgen.audio.clips import Clip
    from clap_musicgen.embedding import Embedder


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """A whole file.

    Attributes:
        path: the file.
        starts: (C,) seconds.
        ends: (C,) seconds.
        vectors: (C, D) unit vectors.
        problem: "" or what was wrong with the file.
    """

    path: Path
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    vectors: NDArray[np.float32]
    problem: str


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch has been embedded: so many seconds, the last of them from `path`."""

    path: Path
    seconds: float


News: TypeAlias = Heard | Failed | Batch


@dataclass(slots=True, eq=False)
class _Part:
    """A file of which some clips are decoded, and perhaps embedded."""

    path: Path
    clips: list[tuple[float, float]] = field(default_factory=list)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)
    problem: str = ""
    decoded: bool = False

    @property
    def whole(self) -> bool:
        return self.decoded and len(self.vectors) == len(self.clips)


def listen(model: Embedder, events: Iterable[Event]) -> Iterator[News]:
    """Embed what the decoders give; each file ends in exactly one `Heard` or `Failed`.

    A file fails if its decoder says so, if it has no samples, or if the model gives no finite
    vector for it. Whatever the model raises is raised.
    """
    listener = _Listener(model)
    for event in events:
        yield from listener.take(event)
    yield from listener.embed()


class _Listener:
    """Files under way, and the clips that wait for a batch to be full."""

    def __init__(self, model: Embedder) -> None:
        self._model = model
        self._parts: dict[Path, _Part] = {}
        self._given_up: set[Path] = set()
        self._queue: list[tuple[_Part, Clip]] = []

    def take(self, event: Event) -> Iterator[News]:
        path = event.path
        if path in self._given_up:
            return
        if isinstance(event, Failed):
            self._give_up(path)
            yield event
            return
        part = self._parts.setdefault(path, _Part(path))
        if isinstance(event, Decoded):
            part.clips.append((event.clip.start, event.clip.end))
            self._queue.append((part, event.clip))
            if len(self._queue) >= self._model.clips_at_once:
                yield from self.embed()
        elif isinstance(event, Finished):
            part.decoded, part.problem = True, event.problem
            yield from self._ended(part)

    def embed(self) -> Iterator[News]:
        """Embed the clips that wait."""
        if not self._queue:
            return
        batch, self._queue = self._queue, []
        vectors = self._model.embed_clips([clip.waveform for _, clip in batch])
        yield Batch(batch[-1][0].path, sum(clip.end - clip.start for _, clip in batch))
        for (part, _), vector in zip(batch, vectors, strict=True):
            part.vectors.append(vector)
            if not np.isfinite(vector).all() and part.path not in self._given_up:
                self._give_up(part.path)
                yield Failed(part.path, "the model gives no finite vector for it")
        for part in {part: None for part, _ in batch}:  # each once, in order
            if part.path not in self._given_up:
                yield from self._ended(part)

    def _ended(self, part: _Part) -> Iterator[News]:
        if not part.whole:
            return
        del self._parts[part.path]
        if not part.clips:
            yield Failed(part.path, "it has no samples")
            return
        starts, ends = np.asarray(part.clips, dtype=np.float64).T
        vectors = np.asarray(part.vectors, dtype=np.float32)
        yield Heard(part.path, starts, ends, vectors, part.problem)

    def _give_up(self, path: Path) -> None:
        self._given_up.add(path)
        self._parts.pop(path, None)
        self._queue = [(part, clip) for part, clip in self._queue if part.path != path]
