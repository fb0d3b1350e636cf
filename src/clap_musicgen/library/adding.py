"""Adding on this machine: what is new is hashed, decoded and embedded, and committed in groups.

Knows the decoders and the model as an Embedder; what becomes of a file is for `settling`, how a
library is opened or searched for others. `scale` does the same on many machines.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Protocol, Self

from clap_musicgen.audio.files import content_hash
from clap_musicgen.audio.pool import DecodePool, Failed
from clap_musicgen.errors import AudioError
from clap_musicgen.library.listening import Heard, listen
from clap_musicgen.library.settling import Draft, Settling, why

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from clap_musicgen.embedding import Embedder
    from clap_musicgen.library.records import Progress, Report
    from clap_musicgen.library.store import Store

CHUNK_FILES = 64
"""Files looked at (and hashed if new) before any of them is decoded; a copy waits for its twin."""
GROUP_TRACKS = 16
"""Tracks in one transaction: what a crash can cost."""
GROUP_SECONDS = 20.0
"""A finished track waits no longer than this for its transaction, counted from the last one."""


class Run(Protocol):
    """One run of `Library.add`."""

    def add(self, paths: Sequence[Path]) -> None:
        """Bring files, absolute and each named once, into the store."""
        ...

    def report(self, removed: Sequence[str] = ()) -> Report:
        """Tell what has been committed."""
        ...


class Engine(Protocol):
    """Where the work is done, if not in this process: `scale.RayEngine` is one."""

    def adding(
        self,
        store: Store,
        model: Embedder,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        guard: Callable[[], None] | None = None,
    ) -> AbstractContextManager[Run]:
        """Begin a run, whose workers end with the block; the caller holds the lock for writing."""
        ...


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
        guard: Callable[[], None] | None = None,
    ) -> None:
        """Look up what the store knows; the caller holds the lock for writing.

        Args:
            store: where tracks go.
            model: embeds their clips.
            workers: processes that decode.
            on_progress: called after each file and each batch.
            guard: called before each transaction; raises if we may no longer write.
        """
        self._model, self._workers = model, workers
        self._settling = Settling(
            store,
            group_tracks=GROUP_TRACKS,
            group_seconds=GROUP_SECONDS,
            on_progress=on_progress,
            guard=guard,
        )
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
        self._settling.expect(len(paths))
        for first in range(0, len(paths), CHUNK_FILES):
            todo = list(paths[first : first + CHUNK_FILES])
            while todo:
                try:
                    fresh, todo = self._sort_out(todo)
                    self._embed(fresh)
                finally:
                    self._settling.commit()

    def report(self, removed: Sequence[str] = ()) -> Report:
        """Tell what has been committed."""
        return self._settling.report(tuple(removed))

    def _sort_out(self, paths: Sequence[Path]) -> tuple[dict[Path, Draft], list[Path]]:
        """Return the files to decode, and copies of these, which wait until those are committed."""
        fresh: dict[Path, Draft] = {}
        copies: list[Path] = []
        decoding: set[str] = set()
        for path in paths:
            try:
                draft = self._look_at(path)
            except (AudioError, OSError) as error:
                self._settling.fail(path, why(error))
                continue
            if draft is None or self._settling.settled(draft):
                continue
            if draft.content in decoding:
                copies.append(path)
            else:
                decoding.add(draft.content)
                fresh[path] = draft
        return fresh, copies

    def _look_at(self, path: Path) -> Draft | None:
        """Return None if the library knows the file as it is."""
        status = path.stat()
        size, mtime_ns = status.st_size, status.st_mtime_ns
        if self._settling.unchanged(path, size=size, mtime_ns=mtime_ns):
            return None
        content = content_hash(path)
        return self._settling.draft(path, size=size, mtime_ns=mtime_ns, content=content)

    def _embed(self, drafts: dict[Path, Draft]) -> None:
        if not drafts:
            return
        for news in listen(self._model, self._decoders_of_this_run().decode(list(drafts))):
            if isinstance(news, Heard):
                self._settling.heard(drafts[news.path], news)
            elif isinstance(news, Failed):
                self._settling.drop(drafts[news.path], news.reason)
            else:
                self._settling.embedded(news.path, news.seconds)

    def _decoders_of_this_run(self) -> DecodePool:
        if self._pool is None:
            pool = DecodePool(
                sample_rate=self._model.sample_rate,
                clip_seconds=self._model.clip_seconds,
                workers=self._workers,
            )
            self._pool = self._decoders.enter_context(pool)
        return self._pool
