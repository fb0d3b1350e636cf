"""Files → the stored states of their excerpts: what is new, decoding, the encoder, writing.

Each file is decoded once, however many excerpts of it are wanted. Knows the store, the decoders
and the audio encoder; not what the states are used for.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from clap_musicgen.audio.clips import pad_clips
from clap_musicgen.audio.pool import Decoded, DecodePool, Failed
from clap_musicgen.errors import AudioError, TrainingError
from clap_musicgen.model.audio_encoder import frame_count, frame_mask
from clap_musicgen.training.feature_states import BATCH, pooled_states
from clap_musicgen.training.feature_store import Excerpt, FeatureStore, Piece

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from clap_musicgen.embedding import Waveform
    from clap_musicgen.model.audio_encoder import AudioEncoder
    from clap_musicgen.training.manifest import Example

SHARD_CLIPS = 512
"""Clips in a full shard: 77 MB for the 24 layers of MusicGen small."""
SHARD_SECONDS = 60.0
"""States wait no longer than this in memory: what a crash can cost."""
CHUNK_FILES = 64
"""Files hashed before any of them is decoded; a copy waits for its twin."""


@dataclass(frozen=True, slots=True)
class FeatureProgress:
    """How far an `extract` has come: files settled, of how many, how many of these failed."""

    done: int
    total: int
    failed: int
    seconds: float
    path: str


@dataclass(frozen=True, slots=True)
class FeatureReport:
    """What an `extract` did. An excerpt is a part of an audio content, however often it is named.

    Attributes:
        added: excerpts computed now.
        unchanged: excerpts that were there.
        failed: (path, why) of what could not be used.
        clips: clips computed now.
        seconds: their length.
        problems: (path, what was wrong) of files of which only a part could be decoded.
    """

    added: int
    unchanged: int
    failed: list[tuple[str, str]]
    clips: int
    seconds: float
    problems: list[tuple[str, str]]


def sample_bounds(example: Example, sample_rate: int) -> tuple[int, int]:
    """First and last sample of an example, as in `Excerpt`."""
    last = -1 if example.end is None else round(example.end * sample_rate)
    return round(example.start * sample_rate), last


class _Cut:
    """The clips of one excerpt, cut from the clips of its whole file."""

    def __init__(self, excerpt: Excerpt, *, length: int) -> None:
        self.excerpt, self.length = excerpt, length
        self.clips: list[Waveform] = []  # decoded, not computed
        self.computed = 0
        self._rest = np.zeros(0, dtype=np.float32)

    def feed(self, waveform: Waveform, *, at: int) -> None:
        """Take what belongs to the excerpt of samples (T,) that begin `at` samples into the file."""
        first, last = self.excerpt.first - at, self.excerpt.last - at
        part = waveform[max(first, 0) : None if self.excerpt.last < 0 else max(last, 0)]
        self._rest = np.concatenate([self._rest, part])
        while len(self._rest) >= self.length:
            self.clips.append(self._rest[: self.length])
            self._rest = self._rest[self.length :]

    def end(self) -> None:
        """The file has ended: what is left is the last, short clip."""
        if len(self._rest):
            self.clips.append(self._rest)


@dataclass(slots=True, eq=False)
class _Job:
    """A content that is being decoded, from the first of its paths."""

    content: str
    paths: list[Path]
    cuts: dict[Excerpt, _Cut] = field(default_factory=dict)
    failed: bool = False


class Extraction:
    """One run of `extract`."""

    def __init__(
        self,
        store: FeatureStore,
        encoder: AudioEncoder,
        on_progress: Callable[[FeatureProgress], None] | None,
    ) -> None:
        self._store, self._encoder, self._on_progress = store, encoder, on_progress
        self._waiting: list[Piece] = []
        self._written_at = time.monotonic()
        self._added: set[Excerpt] = set()
        self._unchanged: set[Excerpt] = set()
        self._bad: dict[str, str] = {}  # content → why
        self._failed: list[tuple[str, str]] = []
        self._problems: list[tuple[str, str]] = []
        self._clips = self._done = self._total = 0
        self._seconds = 0.0

    def run(self, examples: Sequence[Example], pool: DecodePool) -> FeatureReport:
        """Bring all examples into the store."""
        bounds: dict[Path, dict[tuple[int, int], None]] = {}
        for example in examples:
            part = sample_bounds(example, self._encoder.sample_rate)
            bounds.setdefault(example.audio, {})[part] = None
        paths = list(bounds)
        self._total = len(paths)
        try:
            for first in range(0, len(paths), CHUNK_FILES):
                jobs = self._sort_out(
                    {p: list(bounds[p]) for p in paths[first : first + CHUNK_FILES]}
                )
                self._store.remember()
                self._decode(jobs, pool)
        except BaseException:  # what is whole is kept
            whole = {piece.excerpt for piece in self._waiting if piece.complete}
            with suppress(TrainingError):  # the first error is the one to tell
                self._store.append([p for p in self._waiting if p.excerpt in whole])
            raise
        self._write()
        return FeatureReport(
            added=len(self._added),
            unchanged=len(self._unchanged),
            failed=self._failed,
            clips=self._clips,
            seconds=self._seconds,
            problems=self._problems,
        )

    def _sort_out(self, bounds: dict[Path, list[tuple[int, int]]]) -> dict[Path, _Job]:
        """What of these files is to be computed: first path of a content → its job."""
        jobs: dict[str, _Job] = {}
        for path, parts in bounds.items():
            try:
                content = self._store.content(path)
            except AudioError as error:
                self._fail([path], error.reason)
                continue
            excerpts = [Excerpt(content, *part) for part in parts]
            there = {e for e in excerpts if e in self._store or e in self._added}
            self._unchanged |= there - self._added
            if there.issuperset(excerpts):
                self._settle([path])
            elif content in self._bad:
                self._fail([path], self._bad[content])
            else:
                job = jobs.setdefault(content, _Job(content, []))
                job.paths.append(path)
                for excerpt in excerpts:
                    if excerpt not in there and excerpt not in job.cuts:
                        job.cuts[excerpt] = _Cut(excerpt, length=self._encoder.clip_samples)
        return {job.paths[0]: job for job in jobs.values()}

    def _decode(self, jobs: dict[Path, _Job], pool: DecodePool) -> None:
        for event in pool.decode(list(jobs)):
            job = jobs[event.path]
            if job.failed:
                continue
            if isinstance(event, Decoded):
                at = round(event.clip.start * self._encoder.sample_rate)
                for cut in job.cuts.values():
                    cut.feed(event.clip.waveform, at=at)
                    if len(cut.clips) > BATCH:  # one stays, so that the last piece is never empty
                        self._compute(job, cut)
            elif isinstance(event, Failed):
                self._drop(job, event.reason)
            else:
                self._finish(job, event.duration, event.problem)

    def _finish(self, job: _Job, duration: float, problem: str) -> None:
        if self._store.changed(job.paths[0]):
            self._drop(job, "it changed while it was being read: run again once it rests")
            del self._bad[job.content]  # which it no longer is
            return
        for cut in job.cuts.values():
            cut.end()
            if not cut.clips:
                start = cut.excerpt.first / self._encoder.sample_rate
                why = f"its part from {start:g} s is empty: the file has {duration:.1f} s"
                self._failed += [(str(path), why) for path in job.paths]
            while cut.clips and not job.failed:
                self._compute(job, cut)
        if job.failed:
            return
        if problem:
            self._problems += [(str(path), problem) for path in job.paths]
        self._added |= {cut.excerpt for cut in job.cuts.values() if cut.computed}
        self._settle(job.paths)

    @torch.inference_mode()
    def _compute(self, job: _Job, cut: _Cut) -> None:
        """Take the next `BATCH` clips of one excerpt: never of several, so that the last bits of
        its states depend neither on its neighbours nor on where an interrupted run went on.
        """
        encoder = self._encoder
        some, cut.clips = cut.clips[:BATCH], cut.clips[BATCH:]
        padded, lengths = pad_clips(some, length=encoder.clip_samples)
        device = next(encoder.parameters()).device
        samples = torch.from_numpy(lengths).to(device)
        frames = frame_count(samples, encoder.hop)
        codes = encoder.encode(torch.from_numpy(padded).to(device), samples)
        states = pooled_states(encoder, codes, frames).half()
        if not states.isfinite().all():
            self._drop(job, "the audio encoder gives states that are no finite 16-bit numbers")
            return
        real = frame_mask(frames, codes.shape[-1]).unsqueeze(1)
        # Unpadded clips that are short have fewer frames, but all that is stored has one width.
        width = -(-encoder.clip_samples // encoder.hop)
        stored = nn.functional.pad(codes.masked_fill(~real, 0), (0, width - codes.shape[-1]))
        rows = {
            "codes": stored.to("cpu", torch.int16),
            "frames": frames.cpu(),
            "seconds": torch.from_numpy(lengths / encoder.sample_rate).float(),
            "states": states,
        }
        self._waiting.append(Piece(cut.excerpt, cut.computed, rows, complete=not cut.clips))
        cut.computed += len(some)
        self._clips += len(some)
        self._seconds += float(lengths.sum()) / encoder.sample_rate
        self._tell(job.paths[0])
        self._write_if_due()

    # Settling

    def _drop(self, job: _Job, why: str) -> None:
        job.failed = True
        self._waiting = [piece for piece in self._waiting if piece.excerpt not in job.cuts]
        self._bad[job.content] = why
        self._fail(job.paths, why)

    def _fail(self, paths: list[Path], why: str) -> None:
        self._failed += [(str(path), why) for path in paths]
        self._settle(paths)

    def _settle(self, paths: list[Path]) -> None:
        self._done += len(paths)
        self._tell(paths[-1])

    def _tell(self, path: Path) -> None:
        if self._on_progress is not None:
            self._on_progress(
                FeatureProgress(
                    self._done, self._total, len(self._failed), self._seconds, str(path)
                )
            )

    def _write_if_due(self) -> None:
        clips = sum(len(piece.rows["frames"]) for piece in self._waiting)
        if clips >= SHARD_CLIPS or time.monotonic() - self._written_at >= SHARD_SECONDS:
            self._write()

    def _write(self) -> None:
        self._store.append(self._waiting)
        self._waiting, self._written_at = [], time.monotonic()
