"""Files → rows of the store: what is new, decoding, embedding in batches, committing in groups.

Knows the store, the decoders and the model as an Embedder; not how a library is opened or searched.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from clap_musicgen.audio.files import Tags, content_hash, read_tags
from clap_musicgen.audio.pool import Decoded, DecodePool, Failed, Finished
from clap_musicgen.embedding import Embedder, mean_direction
from clap_musicgen.errors import AudioError
from clap_musicgen.library.folder import reason
from clap_musicgen.library.paths import path_key
from clap_musicgen.library.records import Progress, Report
from clap_musicgen.library.rows import Clips, NewTrack, Summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from clap_musicgen.audio.clips import Clip
    from clap_musicgen.library.store import Store

CHUNK_FILES = 64
"""Files looked at (and hashed if new) before any of them is decoded; a copy waits for its twin."""
GROUP_TRACKS = 16
"""Tracks in one transaction: what a crash can cost."""
GROUP_SECONDS = 20.0
"""A finished track waits no longer than this for its transaction, counted from the last one."""
_CHANGED = "it changed while it was being read: add it again once it rests"


@dataclass(slots=True, eq=False)
class Draft:
    """A file on its way into the store."""

    path: Path
    size: int
    mtime_ns: int
    content: str
    outcome: Literal["added", "updated", "unchanged"]  # unchanged: only its time differs
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)
    tags: Tags = Tags(title="")  # noqa: RUF009 - frozen
    problem: str = ""
    decoded: bool = False
    failed: bool = False

    @property
    def whole(self) -> bool:
        """All clips are decoded and embedded."""
        return self.decoded and not self.failed and len(self.vectors) == len(self.starts)

    def changed(self) -> bool:
        """The file is no longer what was hashed. Raises OSError if it cannot be looked at."""
        status = self.path.stat()
        return (status.st_size, status.st_mtime_ns) != (self.size, self.mtime_ns)


class Adding:
    """One run of `Library.add`: a context manager, so that no decoder outlives it.

    Whatever ends the run, Ctrl-C and a failing model included, tracks that are finished by then
    are committed.
    """

    def __init__(
        self,
        store: Store,
        model: Embedder,
        *,
        workers: int = 1,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Look up what the store knows; the caller holds the lock for writing."""
        self._store, self._model, self._workers = store, model, workers
        self._on_progress = on_progress
        self._known = store.known()
        self._contents = {known.content for known in self._known.values()}
        self._bad_contents: dict[str, str] = {}
        self._summaries: dict[str, Summary] = {}
        self._queue: list[tuple[Draft, Clip]] = []  # decoded, not embedded
        self._ready: list[Draft] = []  # whole, not committed
        self._committed_at = time.monotonic()
        self._total = self._done = 0
        self._seconds = self._committed_seconds = 0.0
        self._outcomes: dict[str, list[str]] = {"added": [], "updated": [], "unchanged": []}
        self._failed: dict[str, str] = {}
        self._problems: dict[str, str] = {}
        self._decoders = ExitStack()
        self._pool: DecodePool | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the decoders."""
        self._decoders.close()

    def add(self, paths: Sequence[Path]) -> None:
        """Bring files, absolute and each named once, into the store."""
        self._total += len(paths)
        for first in range(0, len(paths), CHUNK_FILES):
            todo = list(paths[first : first + CHUNK_FILES])
            while todo:
                try:
                    fresh, todo = self._sort_out(todo)
                    self._embed(fresh)
                finally:
                    self._commit()

    def report(self, removed: Sequence[str] = ()) -> Report:
        """Tell what has been committed."""
        return Report(
            added=tuple(sorted(self._outcomes["added"])),
            updated=tuple(sorted(self._outcomes["updated"])),
            unchanged=tuple(sorted(self._outcomes["unchanged"])),
            removed=tuple(sorted(removed)),
            failed=tuple(sorted(self._failed.items())),
            problems=tuple(sorted(self._problems.items())),
            seconds=self._committed_seconds,
        )

    # What is new

    def _sort_out(self, paths: Sequence[Path]) -> tuple[dict[Path, Draft], list[Path]]:
        """Return the files to decode, and copies of these, which wait until those are committed."""
        fresh: dict[Path, Draft] = {}
        copies: list[Path] = []
        decoding: set[str] = set()
        for path in paths:
            try:
                draft = self._look_at(path)
            except (AudioError, OSError) as error:
                self._fail(path, _reason(error))
                continue
            if draft is None:
                self._outcomes["unchanged"].append(str(path))
                self._settle(path)
            elif draft.content in self._contents:
                self._finish(draft)
            elif draft.content in self._bad_contents:
                self._fail(path, self._bad_contents[draft.content])
            elif draft.content in decoding:
                copies.append(path)
            else:
                decoding.add(draft.content)
                fresh[path] = draft
        return fresh, copies

    def _look_at(self, path: Path) -> Draft | None:
        """Return None if size and time tell that the library knows the file as it is."""
        status = path.stat()
        known = self._known.get(path_key(str(path)))
        if known and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns):
            return None
        content = content_hash(path)
        outcome: Literal["added", "updated", "unchanged"] = "added"
        if known:
            outcome = "unchanged" if known.content == content else "updated"
        return Draft(path, status.st_size, status.st_mtime_ns, content, outcome)

    # Decoding and embedding

    def _embed(self, drafts: dict[Path, Draft]) -> None:
        if not drafts:
            return
        for event in self._decode(list(drafts)):
            draft = drafts[event.path]
            if draft.failed:
                continue
            if isinstance(event, Decoded):
                draft.starts.append(event.clip.start)
                draft.ends.append(event.clip.end)
                self._queue.append((draft, event.clip))
                if len(self._queue) >= self._model.clips_at_once:
                    self._embed_queue()
            elif isinstance(event, Finished):
                draft.decoded, draft.problem = True, event.problem
                self._finish_if_whole(draft)
            else:
                self._drop(draft, event.reason)
        self._embed_queue()

    def _decode(self, paths: list[Path]) -> Iterator[Decoded | Finished | Failed]:
        if self._pool is None:
            pool = DecodePool(
                sample_rate=self._model.sample_rate,
                clip_seconds=self._model.clip_seconds,
                workers=self._workers,
            )
            self._pool = self._decoders.enter_context(pool)
        return self._pool.decode(paths)

    def _embed_queue(self) -> None:
        if not self._queue:
            return
        batch, self._queue = self._queue, []
        vectors = self._model.embed_clips([clip.waveform for _, clip in batch])
        for (draft, clip), vector in zip(batch, vectors, strict=True):
            draft.vectors.append(vector)
            self._seconds += clip.end - clip.start
            if not np.isfinite(vector).all() and not draft.failed:
                self._drop(draft, "the model gives no finite vector for it")
        for draft in {draft: None for draft, _ in batch}:  # each once, in order
            self._finish_if_whole(draft)
        self._tell(batch[-1][0].path)
        self._commit_if_due()

    # Settling a file

    def _finish_if_whole(self, draft: Draft) -> None:
        if not draft.whole:
            return
        if draft.starts:
            self._finish(draft)
        else:
            self._drop(draft, "it has no samples")

    def _finish(self, draft: Draft) -> None:
        """Line a track up for the next transaction, unless its file is no longer what was read."""
        try:
            draft.tags = read_tags(draft.path)
            changed = draft.changed()
        except (AudioError, OSError) as error:
            self._fail(draft.path, _reason(error))
            return
        if changed:
            self._fail(draft.path, _CHANGED)
            return
        self._ready.append(draft)
        self._settle(draft.path)
        self._commit_if_due()

    def _drop(self, draft: Draft, why: str) -> None:
        """Give a file up because of its content."""
        draft.failed = True
        self._queue = [(other, clip) for other, clip in self._queue if other is not draft]
        with suppress(OSError):
            if draft.changed():
                self._fail(draft.path, _CHANGED)
                return
        self._bad_contents[draft.content] = why
        self._fail(draft.path, why)

    def _fail(self, path: Path, why: str) -> None:
        self._failed[str(path)] = why
        self._settle(path)

    def _settle(self, path: Path) -> None:
        self._done += 1
        self._tell(path)

    def _tell(self, path: Path) -> None:
        if self._on_progress is not None:
            self._on_progress(
                Progress(self._done, self._total, len(self._failed), self._seconds, str(path))
            )

    # Committing

    def _commit_if_due(self) -> None:
        waited = time.monotonic() - self._committed_at
        if len(self._ready) >= GROUP_TRACKS or (self._ready and waited >= GROUP_SECONDS):
            self._commit()

    def _commit(self) -> None:
        group, self._ready = self._ready, []
        self._committed_at = time.monotonic()
        if not group:
            return
        # What copies need, and, before it vanishes from the tracks, what a file moved here and
        # replaced there may still need later in this run.
        needed = {draft.content for draft in group if not draft.starts}
        replacing = (path_key(str(draft.path)) for draft in group if draft.outcome != "added")
        needed |= {self._known[key].content for key in replacing}
        self._summaries.update(self._store.summaries(needed - self._summaries.keys()))
        self._store.commit([self._new_track(draft) for draft in group])
        for draft in group:
            self._contents.add(draft.content)
            self._outcomes[draft.outcome].append(str(draft.path))
            self._committed_seconds += draft.ends[-1] if draft.starts else 0.0
            if draft.problem and draft.outcome != "unchanged":
                self._problems[str(draft.path)] = draft.problem

    def _new_track(self, draft: Draft) -> NewTrack:
        """Return the row of a draft; one without clips is a copy, whose content is in the store."""
        clips = None
        if draft.starts:
            starts, ends = np.asarray(draft.starts), np.asarray(draft.ends)
            clips = Clips(starts, ends, np.asarray(draft.vectors, dtype=np.float32))
            mean = mean_direction(clips.vectors, ends - starts)
            summary = Summary(draft.ends[-1], draft.problem, datetime.now(UTC), mean)
        else:
            summary = self._summaries[draft.content]
            draft.problem = summary.problem
        return NewTrack(
            str(draft.path),
            tags=draft.tags,
            size=draft.size,
            mtime_ns=draft.mtime_ns,
            content=draft.content,
            summary=summary,
            clips=clips,
        )


def _reason(error: AudioError | OSError) -> str:
    return error.reason if isinstance(error, AudioError) else reason(error)
