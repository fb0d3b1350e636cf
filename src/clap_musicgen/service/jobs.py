"""POST /api/add: bring the library up to date, with progress as server-sent events.

Translates between HTTP and the jobs of `adding`.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from clap_musicgen.service.adding import AddIn, Job, JobId, JobOut, Jobs, ProgressOut, allowed
from clap_musicgen.service.context import Here
from clap_musicgen.service.schemas import problems

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

POLL_SECONDS = 0.2
ALIVE_SECONDS = 15.0
"""A comment is sent so often, so that nobody takes a quiet line for a dead one."""


async def events(job: Job, jobs: Jobs) -> AsyncIterator[bytes]:
    """Tell what happens to a job, until it ends: `progress`, then one `report` or `error`."""
    shown: ProgressOut | None = None
    quiet = time.monotonic()
    while True:
        ended = job.finished.is_set()  # before the progress, so that the last one is not lost
        if job.progress is not None and job.progress is not shown:
            shown, quiet = job.progress, time.monotonic()
            yield _event("progress", shown.model_dump_json())
        if ended:
            break
        if jobs.closing:
            return
        if time.monotonic() - quiet >= ALIVE_SECONDS:
            quiet = time.monotonic()
            yield b": still at it\n\n"
        await asyncio.sleep(POLL_SECONDS)
    if job.report is not None:
        yield _event("report", job.report.model_dump_json())
    else:
        yield _event("error", json.dumps(job.error))


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()


# Routes


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    jobs: Jobs = app.state.jobs
    await asyncio.to_thread(jobs.close)


def the_jobs(request: Request) -> Jobs:
    """Return the jobs of this application."""
    jobs: Jobs = request.app.state.jobs
    return jobs


TheJobs = Annotated[Jobs, Depends(the_jobs)]
router = APIRouter(prefix="/api", tags=["add"], lifespan=_lifespan)


@router.post("/add", status_code=202, summary="Add music", responses=problems(403, 409, 422))
def add(wanted: AddIn, here: Here, jobs: TheJobs) -> JobOut:
    """Begin to index files and folders; what is known and unchanged costs nothing."""
    paths = allowed(wanted.paths, here.settings)
    return jobs.start(here.library, paths, prune=wanted.prune).out()


@router.get("/add", summary="The present or last job", responses=problems(404))
def last_job(jobs: TheJobs) -> JobOut:
    """Tell how far adding has come."""
    return jobs.last().out()


@router.get("/add/{job}", summary="A job", responses=problems(404, 422))
def get_job(job: JobId, jobs: TheJobs) -> JobOut:
    """Tell how far a job has come, or what it did."""
    return jobs.get(job).out()


@router.delete("/add/{job}", status_code=204, summary="Stop a job", responses=problems(404, 422))
def stop_job(job: JobId, jobs: TheJobs) -> Response:
    """Ask a job to stop, which it does after the file it is at; what is committed stays."""
    jobs.get(job).stop.set()
    return Response(status_code=204)


@router.get(
    "/add/{job}/events",
    summary="Follow a job",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "`progress` (as in a job), then one `report` or `error` (a problem).",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **problems(404, 422, 503),
    },
)
async def follow_job(job: JobId, jobs: TheJobs) -> StreamingResponse:
    """Server-sent events: what happens to a job until it ends."""
    return StreamingResponse(
        events(jobs.get(job), jobs),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
