"""Uploads: a sound to ask with, heard once and forgotten but for its vector."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path, PurePath
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from clap_musicgen.service.context import Here, Service
from clap_musicgen.service.problems import ProblemError
from clap_musicgen.service.schemas import SoundId, problems
from clap_musicgen.service.uploaded import Uploaded

LONGEST_NAME = 200
"""Characters of a file's name that are kept."""


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    service: Service = app.state.service
    service.ears.close()


router = APIRouter(prefix="/api", tags=["search"], lifespan=_lifespan)


class SoundOut(BaseModel):
    """An uploaded sound, which questions may name for an hour."""

    id: SoundId
    title: str = Field(description="The file's name, without its suffix.")
    duration: float = Field(description="Seconds that were heard.")
    problem: str = Field(description="Empty, or what was wrong with the file.")


_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


@router.post(
    "/sounds",
    summary="Upload a sound to ask with",
    status_code=201,
    response_model=SoundOut,
    responses=problems(400, 413, 415, 422, 503),
    openapi_extra=_FORM,
)
async def upload(here: Here, request: Request) -> SoundOut:
    """Take an audio file of any format, and give it an id for `like` and `unlike`.

    It is decoded in a process of its own and embedded; the file itself is not kept.
    """
    # Not a parameter of the route: FastAPI would take a thousand parts.
    async with request.form(max_files=1, max_fields=1, max_part_size=1024) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise ProblemError(422, "there is no file in the form: send one as the field 'file'")
        sound = await run_in_threadpool(_hear, here, file)
    return SoundOut(id=sound.id, title=sound.title, duration=sound.duration, problem=sound.problem)


def _hear(here: Service, file: UploadFile) -> Uploaded:
    name = _name(file.filename)
    if not file.size:
        raise ProblemError(422, f"{name!r} is empty: choose a file with music in it")
    with tempfile.TemporaryDirectory(prefix="clap-musicgen-") as folder:
        # The suffix helps a decoder to tell formats apart; the name is ours, whatever theirs is.
        copy = Path(folder) / f"sound{_suffix(name)}"
        with copy.open("wb") as target:
            shutil.copyfileobj(file.file, target)
        hearing = here.ears.hear(copy, name=name)
    return here.sounds.add(
        hearing.heard,
        title=PurePath(name).stem or name,
        duration=hearing.duration,
        problem=hearing.problem,
    )


def _name(given: str | None) -> str:
    """The last part of a file's name, without what cannot be shown."""
    last = (given or "").replace("\\", "/").rpartition("/")[2]
    shown = "".join(letter for letter in last if letter.isprintable()).strip()
    return shown[-LONGEST_NAME:] or "sound"


def _suffix(name: str) -> str:
    suffix = PurePath(name).suffix
    return suffix if suffix[1:].isalnum() and suffix.isascii() and len(suffix) <= 6 else ""
