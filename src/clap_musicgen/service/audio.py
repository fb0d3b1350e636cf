"""GET /api/tracks/{id}/audio and audio.wav: the music itself, whole or in part.

The bytes of a file go out as they are, with the media type that they tell; what begins like no
music stays here, whatever the library once found at that path. Knows tracks by their ids only.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request, Response

from clap_musicgen.audio.kinds import audio_type
from clap_musicgen.service.byteranges import file_response
from clap_musicgen.service.context import Here
from clap_musicgen.service.media import Shared, opened
from clap_musicgen.service.problems import ProblemError
from clap_musicgen.service.schemas import TrackId, problems

router = APIRouter(prefix="/api/tracks", tags=["media"])

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_WHOLE: dict[int | str, dict[str, Any]] = {
    304: {"description": "You have it already."},
}


def _responses(*kinds: str) -> dict[int | str, dict[str, Any]]:
    content = dict.fromkeys(kinds, _BINARY)
    return {
        200: {"description": "The whole file.", "content": content},
        206: {"description": "The part that Range asked for.", "content": content},
        **_WHOLE,
    }


@router.head(
    "/{id}/audio",
    summary="What the file of a track is, without it",
    response_class=Response,
    responses=_responses("audio/*") | problems(404, 422),
)
@router.get(
    "/{id}/audio",
    summary="The file of a track, as it is",
    response_class=Response,
    responses=_responses("audio/*") | problems(404, 416, 422),
)
def audio(id: TrackId, here: Here, request: Request) -> Response:  # noqa: A002 - the contract's
    """Send the original bytes; `Range`, `If-Range` and `If-None-Match` are understood."""
    file = opened(here.track(id))
    try:
        kind = audio_type(file)
    except OSError:
        kind = None
    if kind is None:
        file.close()
        raise ProblemError(
            404,
            "the file of this track does not begin like any music file we know: ask for audio.wav",
        )
    return file_response(request, file, media_type=kind)


@router.head(
    "/{id}/audio.wav",
    summary="What the WAV of a track is, without it",
    response_class=Response,
    responses=_responses("audio/wav") | problems(404, 413, 422),
)
@router.get(
    "/{id}/audio.wav",
    summary="A track as 16-bit WAV",
    response_class=Response,
    responses=_responses("audio/wav") | problems(404, 413, 416, 422),
)
async def wav(id: TrackId, here: Here, shared: Shared, request: Request) -> Response:  # noqa: A002
    """Send the track decoded, for formats that a browser does not play (AIFF, ALAC, WMA, …).

    It is converted when it is first asked for, which takes a second or so, and kept for a while.
    """
    track = await anyio.to_thread.run_sync(here.track, id)
    file = await anyio.to_thread.run_sync(shared.kept, track)
    if file is None:
        work = partial(shared.converted, track)
        file = await anyio.to_thread.run_sync(work, limiter=shared.converting)
    return file_response(request, file, media_type="audio/wav")
