"""What becomes of each file: known, failed, or lined up and committed in a group; and the report.

Every way of adding ends here, whoever decodes and embeds. Knows the store; neither decoders nor
models.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from clap_musicgen.audio.files import Tags, read_tags
from clap_musicgen.embedding import mean_direction
from clap_musicgen.errors import AudioError
from clap_musicgen.library.folder import reason
from clap_musicgen.library.paths import path_key
from clap_musicgen.library.records import Progress, Report
from clap_musicgen.library.rows import Clips, NewTrack, Summary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from clap_musicgen.library.listening import Heard
    from clap_musicgen.library.store import Store

_CHANGED = "it changed while it was being read: add it again once it rests"


@dataclass(slots=True, eq=False)
class Draft:
    """A file on its way into the store.

    Attributes:
        path: absolute.
        size: bytes, before it was read.
        mtime_ns: its time of modification then.
        content: hash of its bytes.
        outcome: what it will be in the report; unchanged: only its time differs.
        tags: None until they are read.
        heard: its vectors; None for a copy of what the store has.
        problem: "" or what was wrong with it.
    """

    path: Path
    size: int
    mtime_ns: int
    content: str
    outcome: Literal["added", "updated", "unchanged"]
    tags: Tags | None = None
    heard: Heard | None = None
    problem: str = ""

    def changed(self) -> bool:
        """The file is no longer what was hashed. Raises OSError if it cannot be looked at."""
        status = self.path.stat()
        return (status.st_size, status.st_mtime_ns) != (self.size, self.mtime_ns)


class Settling:
    """The books of one run of adding; who keeps them holds the lock for writing."""

    def __init__(
        self,
        store: Store,
        *,
        group_tracks: int,
        group_seconds: float,
        on_progress: Callable[[Progress], None] | None = None,
        guard: Callable[[], None] | None = None,
    ) -> None:
        """Look up what the store knows.

        Args:
            store: where tracks go.
            group_tracks: how many make one transaction: what a crash can cost.
            group_seconds: a finished track waits no longer than this after the last transaction.
            on_progress: called after each file and each batch.
            guard: called before each transaction; raises if we may no longer write.
        """
        self._store, self._on_progress, self._guard = store, on_progress, guard
        self._group_tracks, self._group_seconds = group_tracks, group_seconds
        self._known = store.known()
        self._new_contents: set[str] = set()
        self._bad_contents: dict[str, str] = {}
        self._summaries: dict[str, Summary] = {}
        self._ready: list[Draft] = []  # whole, not committed
        self._lined_up: set[str] = set()  # their contents
        self._committed_at = time.monotonic()
        self._total = self._done = 0
        self._seconds = self._committed_seconds = 0.0
        self._outcomes: dict[str, list[str]] = {"added": [], "updated": [], "unchanged": []}
        self._failed: dict[str, str] = {}
        self._problems: dict[str, str] = {}

    def expect(self, count: int) -> None:
        """So many more files are to be settled."""
        self._total += count

    def report(self, removed: tuple[str, ...] = ()) -> Report:
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

    def unchanged(self, path: Path, *, size: int, mtime_ns: int) -> bool:
        """Settle a file if size and time tell that the library knows it as it is."""
        known = self._known.get(path_key(str(path)))
        if known is None or (known.size, known.mtime_ns) != (size, mtime_ns):
            return False
        self._outcomes["unchanged"].append(str(path))
        self._settle(path)
        return True

    def draft(self, path: Path, *, size: int, mtime_ns: int, content: str) -> Draft:
        """Begin a file that must be settled otherwise."""
        known = self._known.get(path_key(str(path)))
        outcome: Literal["added", "updated", "unchanged"] = "added"
        if known is not None:
            outcome = "unchanged" if known.content == content else "updated"
        return Draft(path, size, mtime_ns, content, outcome)

    def settled(self, draft: Draft) -> bool:
        """Settle a file whose content need not be embedded: the store has it, or it is no good."""
        if draft.content in self._lined_up:
            self.commit()  # a copy needs its content in the store
        if draft.content in self._new_contents or self._known.has_content(draft.content):
            self.finish(draft)
        elif draft.content in self._bad_contents:
            self.fail(draft.path, self._bad_contents[draft.content])
        else:
            return False
        return True

    # Settling

    def heard(self, draft: Draft, heard: Heard) -> None:
        """Line up a file that has been embedded."""
        draft.heard, draft.problem = heard, heard.problem
        self.finish(draft)

    def finish(self, draft: Draft) -> None:
        """Line a track up for the next transaction, unless its file is no longer what was read."""
        try:
            if draft.tags is None:
                draft.tags = read_tags(draft.path)
            changed = draft.changed()
        except (AudioError, OSError) as error:
            self.fail(draft.path, why(error))
            return
        if changed:
            self.fail(draft.path, _CHANGED)
            return
        self._ready.append(draft)
        self._lined_up.add(draft.content)
        self._settle(draft.path)
        self.commit_if_due()

    def drop(self, draft: Draft, why: str) -> None:
        """Give a file up because of its content."""
        with suppress(OSError):
            if draft.changed():
                self.fail(draft.path, _CHANGED)
                return
        self._bad_contents[draft.content] = why
        self.fail(draft.path, why)

    def fail(self, path: Path, why: str) -> None:
        """Give a file up."""
        self._failed[str(path)] = why
        self._settle(path)

    def embedded(self, path: Path, seconds: float) -> None:
        """So much audio has been embedded, the last of it from `path`."""
        self._seconds += seconds
        self._tell(path)
        self.commit_if_due()

    def _settle(self, path: Path) -> None:
        self._done += 1
        self._tell(path)

    def _tell(self, path: Path) -> None:
        if self._on_progress is not None:
            self._on_progress(
                Progress(self._done, self._total, len(self._failed), self._seconds, str(path))
            )

    # Committing

    def commit_if_due(self) -> None:
        """Commit if a group is full, or has waited long enough."""
        waited = time.monotonic() - self._committed_at
        full = len(self._ready) >= self._group_tracks
        if full or (self._ready and waited >= self._group_seconds):
            self.commit()

    def commit(self) -> None:
        """Commit what is lined up."""
        group, self._ready = self._ready, []
        self._lined_up.clear()
        self._committed_at = time.monotonic()
        if not group:
            return
        if self._guard is not None:
            self._guard()
        # What copies need, and, before it vanishes from the tracks, what a file moved here and
        # replaced there may still need later in this run.
        needed = {draft.content for draft in group if draft.heard is None}
        replaced = (self._known.get(path_key(str(draft.path))) for draft in group)
        needed |= {known.content for known in replaced if known is not None}
        self._summaries.update(self._store.summaries(needed - self._summaries.keys()))
        self._store.commit([self._new_track(draft) for draft in group])
        for draft in group:
            self._new_contents.add(draft.content)
            self._outcomes[draft.outcome].append(str(draft.path))
            if draft.heard is not None:
                self._committed_seconds += float(draft.heard.ends[-1])
            if draft.problem and draft.outcome != "unchanged":
                self._problems[str(draft.path)] = draft.problem

    def _new_track(self, draft: Draft) -> NewTrack:
        """Return the row of a draft; one without clips is a copy, whose content is in the store."""
        clips, heard = None, draft.heard
        if heard is not None:
            clips = Clips(heard.starts, heard.ends, heard.vectors)
            mean = mean_direction(heard.vectors, heard.ends - heard.starts)
            summary = Summary(float(heard.ends[-1]), draft.problem, datetime.now(UTC), mean)
        else:
            summary = self._summaries[draft.content]
            draft.problem = summary.problem
        assert draft.tags is not None, draft.path
        return NewTrack(
            str(draft.path),
            tags=draft.tags,
            size=draft.size,
            mtime_ns=draft.mtime_ns,
            content=draft.content,
            summary=summary,
            clips=clips,
            replaces=draft.outcome != "added",
        )


def why(error: AudioError | OSError) -> str:
    """What is wrong with a file, without its path."""
    return error.reason if isinstance(error, AudioError) else reason(error)
