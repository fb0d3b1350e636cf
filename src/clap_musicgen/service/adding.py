"""One job of adding at a time, in a thread beside the requests, and what is told of it.

Music is taken from the folders the server was started with, and from nowhere else; what a job has
committed stays, however it ends. Knows `Library.add`; not how it is asked for over HTTP.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import uuid4

from pydantic import BaseModel, Field, StringConstraints

from clap_musicgen.errors import InputError
from clap_musicgen.library.paths import absolute, is_under, readable
from clap_musicgen.service.problems import ProblemError, of_error
from clap_musicgen.service.schemas import MAX_LIST, Problem, Strict, Text

if TYPE_CHECKING:
    from clap_musicgen.library.library import Library
    from clap_musicgen.library.records import Progress, Report
    from clap_musicgen.service.settings import Settings

KEPT = 8
"""So many jobs are remembered."""
MOST_WORKERS = 4
CLOSE_SECONDS = 10.0

State = Literal["running", "done", "stopped", "failed"]
JobId = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{32}$"),
    Field(examples=["0123456789abcdef0123456789abcdef"]),
]


class AddIn(Strict):
    """What to bring up to date."""

    paths: Annotated[list[Text], Field(min_length=1, max_length=MAX_LIST)] | None = Field(
        default=None,
        description="Files and folders inside the music folders; null is all music folders.",
    )
    prune: bool = Field(
        default=False, description="Take out the tracks among them whose files are gone."
    )


class Failure(BaseModel):
    """A file that cannot be used."""

    path: str
    reason: str


class Flaw(BaseModel):
    """A file that was added although something is wrong with it."""

    path: str
    problem: str


class ProgressOut(BaseModel):
    """How far it has come."""

    done: int = Field(description="Files settled, whatever became of them.")
    total: int = Field(description="Files found.")
    failed: int = Field(description="Of the settled ones, those that cannot be used.")
    seconds: float = Field(description="Audio embedded so far.")
    path: str = Field(description="The file last worked on.")


class ReportOut(BaseModel):
    """What was done; all lists are sorted by path."""

    added: list[str]
    updated: list[str]
    unchanged: list[str]
    removed: list[str]
    failed: list[Failure]
    problems: list[Flaw]
    seconds: float = Field(description="Audio embedded.")


class JobOut(BaseModel):
    """One job."""

    job: JobId
    state: State
    progress: ProgressOut | None = Field(description="Null until the files are found.")
    report: ReportOut | None = Field(description="Once it is done.")
    error: Problem | None = Field(description="Once it has failed, or was stopped.")


class _Stopped(Exception):  # noqa: N818 - nothing is wrong
    """Somebody has asked to stop."""


class Job:
    """One call of `Library.add`. Its attributes are read by other threads."""

    def __init__(self) -> None:
        """Begin with nothing done."""
        self.id = uuid4().hex
        self.state: State = "running"
        self.progress: ProgressOut | None = None
        self.report: ReportOut | None = None
        self.error: dict[str, Any] | None = None
        self.stop = threading.Event()
        self.finished = threading.Event()

    def run(self, library: Library, paths: list[str], *, prune: bool) -> None:
        """Do it; errors become the job's."""
        state: State = "done"
        try:
            report = library.add(
                paths, prune=prune, workers=_workers(), on_progress=self._on_progress
            )
            self.report = report_out(report)
        except _Stopped:
            state, self.error = "stopped", self._stopped()
        except Exception as error:  # noqa: BLE001 - a thread has nobody to raise it to
            state, self.error = "failed", json.loads(bytes(of_error(error).body))
        self.state = state  # after what belongs to it
        self.finished.set()

    def out(self) -> JobOut:
        """Describe it."""
        state = self.state
        return JobOut(
            job=self.id,
            state=state,
            progress=self.progress,
            report=self.report if state == "done" else None,
            error=None if self.error is None or state == "running" else Problem(**self.error),
        )

    def _on_progress(self, progress: Progress) -> None:
        self.progress = ProgressOut(**asdict(progress) | {"path": readable(progress.path)})
        if self.stop.is_set():
            raise _Stopped

    def _stopped(self) -> dict[str, Any]:
        far = self.progress
        done = f"{far.done} of {far.total} files were done" if far else "no file was done"
        error = ProblemError(409, f"adding was stopped: {done}; add again to go on")
        problem: dict[str, Any] = json.loads(bytes(of_error(error).body))
        return problem | {"title": "Stopped"}


class Jobs:
    """The jobs of one service, newest last."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._thread: threading.Thread | None = None
        self.closing = False

    def start(self, library: Library, paths: list[str], *, prune: bool) -> Job:
        """Start a job.

        Raises:
            ProblemError: one is running already.
        """
        with self._lock:
            last = self._last()
            if self.closing or (last is not None and not last.finished.is_set()):
                raise ProblemError(
                    409, "music is being added already: wait, or stop it with DELETE /api/add/{job}"
                )
            job = Job()
            self._jobs[job.id] = job
            for old in list(self._jobs)[:-KEPT]:
                del self._jobs[old]
            self._thread = threading.Thread(
                target=job.run, args=(library, paths), kwargs={"prune": prune}, daemon=True
            )
            self._thread.start()
            return job

    def get(self, key: str) -> Job:
        """Return a job; ProblemError if there is none, or it has been forgotten."""
        with self._lock:
            job = self._jobs.get(key)
        if job is None:
            raise ProblemError(404, f"there is no job {key!r}: GET /api/add has the last one")
        return job

    def last(self) -> Job:
        """Return the job that runs or ran last; ProblemError if there was none."""
        with self._lock:
            job = self._last()
        if job is None:
            raise ProblemError(404, "nothing has been added yet: POST /api/add begins")
        return job

    def close(self) -> None:
        """Stop what is running."""
        with self._lock:
            self.closing = True
            last, thread = self._last(), self._thread
        if last is not None:
            last.stop.set()
        if thread is not None:
            thread.join(CLOSE_SECONDS)

    def _last(self) -> Job | None:
        return next(reversed(self._jobs.values()), None)


def allowed(paths: list[str] | None, settings: Settings) -> list[str]:
    """Return absolute paths from which music may be taken.

    A path is followed to where it really lies, and must be inside a music folder there too.

    Raises:
        ProblemError: there are no music folders, or a path lies elsewhere.
        InputError: there is nothing at a path.
    """
    folders = [absolute(folder) for folder in settings.music]
    if not folders:
        raise ProblemError(
            403, "this service adds no music: start it with --music FOLDER, or use the shell"
        )
    if paths is None:
        return folders
    chosen = [absolute(path) for path in paths]
    roots = [os.path.realpath(folder) for folder in folders]
    for given, path in zip(paths, chosen, strict=True):
        real = os.path.realpath(path)
        inside = any(is_under(path, folder) for folder in folders)
        if not (inside and any(is_under(real, root) for root in roots)):
            raise ProblemError(403, f"{given!r} is in none of the music folders of this service")
        if not Path(path).exists():
            raise InputError(f"there is no file or folder {given!r}")
    return chosen


def report_out(report: Report) -> ReportOut:
    """Describe a report."""
    return ReportOut(
        added=[readable(path) for path in report.added],
        updated=[readable(path) for path in report.updated],
        unchanged=[readable(path) for path in report.unchanged],
        removed=[readable(path) for path in report.removed],
        failed=[Failure(path=readable(path), reason=reason) for path, reason in report.failed],
        problems=[Flaw(path=readable(path), problem=flaw) for path, flaw in report.problems],
        seconds=report.seconds,
    )


def _workers() -> int:
    return max(1, min(MOST_WORKERS, (os.cpu_count() or 1) - 1))
