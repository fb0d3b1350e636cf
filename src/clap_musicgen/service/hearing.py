"""Files of strangers → vectors: decoded in another process, embedded here.

A decoder is given a file that somebody made to break it: it may crash, hang or ask for all memory,
and only its own process ends. Knows files, the pool and an Embedder; not who sent the file.
"""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from queue import Empty, LifoQueue
from typing import TYPE_CHECKING

from clap_musicgen import errors
from clap_musicgen.audio.pool import Decoded, DecodePool, Failed
from clap_musicgen.library.query import Heard
from clap_musicgen.model.tracks import embed_track
from clap_musicgen.service.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from clap_musicgen.audio.pool import Event
    from clap_musicgen.embedding import Embedder, Waveform

DECODERS = 2
"""So many files are decoded at a time."""
LONGEST = 600.0
"""Seconds of a file that are heard; what comes after them hardly changes the mean."""
SECONDS = 45.0
"""How long hearing may take."""
PATIENCE = 10.0
"""Seconds without a clip before a decoder counts as hung."""
MEMORY = 2 << 30
"""Bytes that a decoder may take."""
_KINDS = {
    kind.__name__: kind
    for kind in (errors.NotAudioError, errors.EmptyAudioError, errors.UnreadableAudioError)
}


@dataclass(frozen=True, slots=True)
class Hearing:
    """A file that has been heard.

    Attributes:
        heard: its vector.
        duration: seconds heard.
        problem: "" or what was wrong, for example that only the beginning was heard.
    """

    heard: Heard
    duration: float
    problem: str


@dataclass
class _Course:
    """What is known of a file so far, as of `Hearing`."""

    duration: float = 0.0
    problem: str = ""


@dataclass
class Ears:
    """Decoders that wait for files, for one model; may be used from several threads.

    Attributes:
        model: embeds.
        wait_seconds: how long a file waits for a decoder.
    """

    model: Embedder
    wait_seconds: float = 10.0
    _idle: LifoQueue[DecodePool] = field(default_factory=LifoQueue, init=False, repr=False)

    def __post_init__(self) -> None:
        """Prepare the decoders, which start with the first file."""
        for _ in range(DECODERS):
            self._idle.put(
                DecodePool(
                    sample_rate=self.model.sample_rate,
                    clip_seconds=self.model.clip_seconds,
                    patience=PATIENCE,
                    memory=MEMORY,
                )
            )

    def hear(self, file: Path, *, name: str) -> Hearing:
        """Decode and embed a file.

        Args:
            file: where it lies for now.
            name: what an error calls it.

        Raises:
            NotAudioError, EmptyAudioError, UnreadableAudioError: it cannot be used.
            ProblemError: all decoders are busy, or it took too long.
        """
        course = _Course()
        with self._decoder() as decoder, closing(decoder.decode([file])) as events:
            vector = embed_track(self.model, _waveforms(events, course, name=name))
        return Hearing(Heard(vector, label=repr(name)), course.duration, course.problem)

    def close(self) -> None:
        """End the decoders that wait; those at work end with their file."""
        while not self._idle.empty():
            self._idle.get_nowait().close()

    @contextmanager
    def _decoder(self) -> Iterator[DecodePool]:
        try:
            decoder = self._idle.get(timeout=self.wait_seconds)
        except Empty:
            raise ProblemError(
                503, f"{DECODERS} sounds are being heard already: try again soon", retry_after=5
            ) from None
        try:
            yield decoder
        finally:
            self._idle.put(decoder)


def _waveforms(events: Iterable[Event], course: _Course, *, name: str) -> Iterator[Waveform]:
    """Hand out the clips, and keep in `course` what is known of the file."""
    until = time.monotonic() + SECONDS
    for event in events:
        if isinstance(event, Failed):
            raise _KINDS.get(event.kind, errors.UnreadableAudioError)(name, event.reason)
        if not isinstance(event, Decoded):
            course.duration, course.problem = event.duration, event.problem
            return
        if course.duration >= LONGEST:
            course.problem = f"only the first {LONGEST / 60:g} minutes were heard"
            return
        if time.monotonic() > until:
            raise ProblemError(422, f"{name!r} took more than {SECONDS:g} s: send an excerpt")
        course.duration = event.clip.end
        yield event.clip.waveform
