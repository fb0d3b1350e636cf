"""One run on many workers: what each file needs next, and what becomes of its answer.

Workers hash, decode and embed; what they find is settled here, in one place. Knows them as a crew
that takes tasks and gives answers; not what they are or where.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from clap_musicgen.audio.pool import Failed
from clap_musicgen.library.listening import Heard
from clap_musicgen.library.settling import Draft, Settling, why
from clap_musicgen.library.working import Seen

if TYPE_CHECKING:
    from clap_musicgen.library.records import Report

LOOK_FILES = 16
"""Files that a worker hashes in one go."""
EMBED_FILES = 4
"""Files that a worker embeds in one go, so that the clips of short ones share batches."""
LOOK_AHEAD = 16
"""Files hashed beyond those being embedded, for each worker: enough to have work, and bounded."""

Job: TypeAlias = Literal["look", "embed"]
Answer: TypeAlias = Seen | Heard | Failed


class Crew(Protocol):
    """Workers. Each file handed out is answered exactly once, whatever happens to a worker."""

    @property
    def busy(self) -> bool:
        """Some answers are still to come."""
        ...

    def has_room(self) -> bool:
        """Somebody could take another task; False bounds what waits in memory."""
        ...

    def hand_out(self, job: Job, files: Sequence[Path]) -> None:
        """Have files looked at, or embedded."""
        ...

    def answers(self, *, timeout: float) -> Iterable[Answer]:
        """Return what has come, after at most `timeout` seconds."""
        ...


class Spreading:
    """One run: decides what each file needs, and hands it to whoever is free."""

    def __init__(self, settling: Settling, crew: Crew, *, workers: int) -> None:
        """Take the books and the workers."""
        self._settling, self._crew, self._workers = settling, crew, workers
        self._todo: Iterator[Path] = iter(())
        self._fresh: deque[Draft] = deque()  # hashed, to be embedded
        self._embedding: dict[Path, Draft] = {}
        self._twins: dict[str, list[Draft]] = {}  # content that is fresh → copies that wait for it
        self._looking = 0

    def add(self, paths: Sequence[Path]) -> None:
        """Bring files, absolute and each named once, into the store."""
        self._settling.expect(len(paths))
        self._todo = iter(paths)
        try:
            while self._hand_out():
                for answer in self._crew.answers(timeout=1.0):
                    self._take(answer)
                self._settling.commit_if_due()
        finally:
            self._settling.commit()

    def report(self, removed: Sequence[str] = ()) -> Report:
        """Tell what has been committed."""
        return self._settling.report(tuple(removed))

    def _hand_out(self) -> bool:
        """Give the workers what they can take; False once there is nothing left to wait for."""
        while self._crew.has_room():
            if len(self._fresh) < EMBED_FILES and self._look_further():
                continue
            if not self._fresh:
                break
            drafts = [self._fresh.popleft() for _ in range(min(EMBED_FILES, len(self._fresh)))]
            self._embedding |= {draft.path: draft for draft in drafts}
            self._crew.hand_out("embed", [draft.path for draft in drafts])
        return self._crew.busy or bool(self._fresh)

    def _look_further(self) -> bool:
        if self._looking + len(self._fresh) >= LOOK_AHEAD * self._workers:
            return False
        unknown = list(islice((path for path in self._todo if self._is_new(path)), LOOK_FILES))
        if unknown:
            self._looking += len(unknown)
            self._crew.hand_out("look", unknown)
        return bool(unknown)

    def _is_new(self, path: Path) -> bool:
        """Settle a file that is known by size and time, or that cannot be looked at."""
        try:
            status = path.stat()
        except OSError as error:
            self._settling.fail(path, why(error))
            return False
        size, mtime_ns = status.st_size, status.st_mtime_ns
        return not self._settling.unchanged(path, size=size, mtime_ns=mtime_ns)

    def _take(self, answer: Seen | Heard | Failed) -> None:
        if isinstance(answer, Heard):
            draft = self._embedding.pop(answer.path)
            self._settling.embedded(answer.path, float(answer.ends[-1]))
            self._settling.heard(draft, answer)
            self._release(draft)
        elif isinstance(answer, Seen):
            self._looking -= 1
            self._sort_in(answer)
        elif answer.path in self._embedding:
            draft = self._embedding.pop(answer.path)
            self._settling.drop(draft, answer.reason)
            self._release(draft)
        else:
            self._looking -= 1
            self._settling.fail(answer.path, answer.reason)

    def _sort_in(self, seen: Seen) -> None:
        draft = self._settling.draft(
            seen.path, size=seen.size, mtime_ns=seen.mtime_ns, content=seen.content
        )
        draft.tags = seen.tags
        self._sort_out(draft)

    def _sort_out(self, draft: Draft) -> None:
        if self._settling.settled(draft):
            return
        if draft.content in self._twins:
            self._twins[draft.content].append(draft)
        else:
            self._twins[draft.content] = []
            self._fresh.append(draft)

    def _release(self, draft: Draft) -> None:
        """Let the copies of a file go on, whatever became of it."""
        for twin in self._twins.pop(draft.content):
            self._sort_out(twin)  # the first of them is embedded if this one changed meanwhile
