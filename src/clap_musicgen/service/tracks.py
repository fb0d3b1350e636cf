"""The tracks of the library: a page of them, or one. What lies behind them is others' matter."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from clap_musicgen.service.context import Here, track_out
from clap_musicgen.service.schemas import TrackId, TrackOut, problems

MAX_PAGE = 500
"""Tracks in one answer."""
MAX_FIND = 200
"""Characters to look for."""

router = APIRouter(prefix="/api/tracks", tags=["tracks"])


class Page(BaseModel):
    """Some of the tracks, by path."""

    total: int = Field(description="How many tracks there are that `find` finds.")
    tracks: list[TrackOut]


@router.get("", summary="The tracks", response_model=Page, responses=problems(422))
def tracks(
    here: Here,
    offset: Annotated[int, Query(ge=0, le=10**9, description="How many to pass over.")] = 0,
    limit: Annotated[int, Query(ge=0, le=MAX_PAGE, description="How many at most.")] = 100,
    find: Annotated[
        str,
        Query(
            max_length=MAX_FIND,
            pattern=r"^[^\x00]*$",
            description="Words that title, artist, album or genre hold, whatever the case.",
        ),
    ] = "",
) -> Page:
    """List the tracks by path, all or those whose tags hold every word of `find`."""
    found = here.library.find(find, offset=offset, limit=limit)
    return Page(total=found.total, tracks=[track_out(track) for track in found.tracks])


@router.get("/{id}", summary="One track", response_model=TrackOut, responses=problems(404, 422))
def track(here: Here, id: TrackId) -> TrackOut:  # noqa: A002
    """Describe one track."""
    return track_out(here.track(id))
