"""Playlists: those saved with the library, and new ones made of a theme or between two tracks.

Translates between HTTP and `Library`; names and files are `library.saved`'s matter.
"""

from datetime import datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from clap_musicgen.library.m3u import m3u8
from clap_musicgen.library.paths import readable
from clap_musicgen.library.saved import LONGEST_NAME, Playlist
from clap_musicgen.service.context import Here, track_out
from clap_musicgen.service.problems import ProblemError
from clap_musicgen.service.schemas import (
    MAX_K,
    SoundIds,
    Strict,
    Text,
    TrackId,
    TrackOut,
    problems,
)

MOST_TRACKS = 5_000
"""How long a saved playlist may be."""

router = APIRouter(prefix="/api/playlists", tags=["playlists"])

Name = Annotated[str, Path(min_length=1, max_length=LONGEST_NAME, examples=["Sunday"])]


class PlaylistLine(BaseModel):
    """A saved playlist at a glance."""

    name: str
    tracks: int = Field(description="How many.")
    minutes: float = Field(description="How long, as far as it is known.")
    saved: datetime | None = Field(description="When; null if another program wrote it.")


class PlaylistsOut(BaseModel):
    """The saved playlists, by name."""

    playlists: list[PlaylistLine]


class PlaylistOut(BaseModel):
    """A saved playlist."""

    name: str
    tracks: list[TrackOut] = Field(description="In the order of playing.")
    missing: list[str] = Field(description="Paths in it that the library does not have (any more).")
    minutes: float = Field(description="Length of its tracks.")
    saved: datetime | None = Field(description="When; null if another program wrote it.")


class PlaylistIn(Strict):
    """What to save."""

    tracks: Annotated[list[TrackId], Field(min_length=1, max_length=MOST_TRACKS)] = Field(
        description="Ids, in the order of playing."
    )


class Wish(Strict):
    """What a new playlist shall be: a theme (`query`, `like`), or a path (`from` and `to`)."""

    query: Text | None = Field(default=None, description="Words for a theme, as in a search.")
    like: SoundIds = Field(default=[], description="Sounds for a theme.")
    first: TrackId | None = Field(default=None, alias="from", description="Where a path begins.")
    last: TrackId | None = Field(default=None, alias="to", description="Where it ends.")
    k: Annotated[int, Field(ge=1, le=MAX_K)] | None = Field(
        default=None, description="How many tracks; 25 if neither this nor `minutes` is given."
    )
    minutes: Annotated[float, Field(gt=0, le=1_440, allow_inf_nan=False)] | None = Field(
        default=None, description="How long, instead of how many."
    )
    per_artist: Annotated[int, Field(ge=1, le=MAX_K)] | None = Field(
        default=None, description="Tracks of one artist at most, in a theme."
    )


class Made(BaseModel):
    """A new playlist, which is not saved."""

    tracks: list[TrackOut]


@router.get("", summary="The saved playlists", response_model=PlaylistsOut)
def playlists(here: Here) -> PlaylistsOut:
    """List what is saved with the library."""
    lines = [
        PlaylistLine(name=one.name, tracks=one.tracks, minutes=one.minutes, saved=one.saved)
        for one in here.library.playlists()
    ]
    return PlaylistsOut(playlists=lines)


@router.post(
    "/make",
    summary="Make a new playlist",
    response_model=Made,
    responses=problems(404, 422),
)
def make(here: Here, wish: Wish) -> Made:
    """Choose tracks and their order; nothing is saved."""
    if (wish.first is None) != (wish.last is None):
        raise ProblemError(422, "a path has two ends: give both `from` and `to`")
    between = None
    if wish.first is not None and wish.last is not None:
        between = (here.track(wish.first).path, here.track(wish.last).path)
    chosen = here.library.playlist(
        wish.query,
        like=[here.sound(key) for key in wish.like] or None,
        between=between,
        k=wish.k,
        minutes=wish.minutes,
        per_artist=wish.per_artist,
    )
    return Made(tracks=[track_out(track) for track in chosen])


@router.get(
    "/{name}",
    summary="A saved playlist",
    response_model=PlaylistOut,
    responses=problems(404, 422),
)
def playlist(here: Here, name: Name) -> PlaylistOut:
    """Return its tracks."""
    return _out(here.library.saved_playlist(name))


@router.put(
    "/{name}",
    summary="Save a playlist",
    response_model=PlaylistOut,
    responses=problems(404, 422),
)
def save(here: Here, name: Name, wanted: PlaylistIn) -> PlaylistOut:
    """Save tracks under a name; a playlist of that name is replaced."""
    paths = [track.path for track in here.library.tracks_with(wanted.tracks)]
    return _out(here.library.save_playlist(name, paths, replace=True))


@router.delete(
    "/{name}",
    summary="Delete a saved playlist",
    status_code=204,
    response_model=None,
    responses=problems(404, 422),
)
def delete(here: Here, name: Name) -> None:
    """Delete it; nothing happens to its tracks."""
    here.library.delete_playlist(name)


@router.get(
    "/{name}/m3u8",
    summary="A saved playlist as a file for players",
    response_class=Response,
    responses={
        200: {
            "description": "An extended M3U playlist in UTF-8, with the paths of the service.",
            "content": {"audio/x-mpegurl": {"schema": {"type": "string"}}},
        },
        **problems(404, 422),
    },
)
def as_m3u8(here: Here, name: Name) -> Response:
    """Write it for a player on the machine where the music lies."""
    found = here.library.saved_playlist(name)
    return Response(
        m3u8(found.tracks),
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}.m3u8"},
        media_type="audio/x-mpegurl",
    )


def _out(found: Playlist) -> PlaylistOut:
    return PlaylistOut(
        name=found.name,
        tracks=[track_out(track) for track in found.tracks],
        missing=[readable(path) for path in found.missing],
        minutes=found.minutes,
        saved=found.saved,
    )
