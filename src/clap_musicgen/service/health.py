"""GET /api/health and /api/info: whether the service lives, and what it serves."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

import clap_musicgen
from clap_musicgen.audio.files import AUDIO_SUFFIXES
from clap_musicgen.service.context import Here

router = APIRouter(prefix="/api", tags=["service"])


class Health(BaseModel):
    """A sign of life."""

    status: str = Field("ok", description="Always ok; a service that is not does not answer.")


class InfoOut(BaseModel):
    """The service and its library at a glance."""

    version: str
    library: str = Field(description="Where it lies.")
    tracks: int
    clips: int = Field(description="Vectors of excerpts; copies of a file share theirs.")
    hours: float = Field(description="Length of all tracks.")
    dim: int = Field(description="Length of a vector.")
    model: str = Field(description="How its maker asked for the model, such as --model mini.")
    fingerprint: str = Field(description="Of the model.")
    can_add: bool = Field(description="Whether POST /api/add has folders to take music from.")
    has_runs: bool = Field(description="Whether GET /api/runs has training runs to show.")
    formats: list[str] = Field(description="Suffixes of the files that are taken for music.")


@router.get("/health", summary="Whether the service lives", response_model=Health)
async def health() -> Health:
    """Answer, without a token and without asking the library."""
    return Health(status="ok")


@router.get("/info", summary="What is served", response_model=InfoOut)
def info(here: Here) -> InfoOut:
    """Describe the library, its model, and what this service may do."""
    told = here.library.info()
    return InfoOut(
        version=clap_musicgen.__version__,
        library=told.path,
        tracks=told.tracks,
        clips=told.clips,
        hours=told.hours,
        dim=told.dim,
        model=told.made_with,
        fingerprint=told.fingerprint,
        can_add=bool(here.settings.music),
        has_runs=here.settings.runs is not None,
        formats=sorted(suffix.lstrip(".") for suffix in AUDIO_SUFFIXES),
    )
