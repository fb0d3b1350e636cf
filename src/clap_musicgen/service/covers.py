"""GET /api/tracks/{id}/cover: the picture in a music file, else the one beside it.

Knows tracks by their ids only; pictures are found in `audio.pictures`.
"""

from __future__ import annotations

import os
from typing import Any

from fastapi import APIRouter, Request, Response

from clap_musicgen.audio.pictures import embedded_picture, picture_beside, read_picture
from clap_musicgen.service.byteranges import etag_of, is_known
from clap_musicgen.service.context import Here
from clap_musicgen.service.media import opened
from clap_musicgen.service.problems import ProblemError
from clap_musicgen.service.schemas import TrackId, problems

router = APIRouter(prefix="/api/tracks", tags=["media"])

_KINDS = ("image/jpeg", "image/png", "image/gif", "image/webp")
_PICTURE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


@router.get(
    "/{id}/cover",
    summary="The cover of a track",
    response_class=Response,
    responses={
        200: {"description": "A picture.", "content": dict.fromkeys(_KINDS, _PICTURE)},
        304: {"description": "You have it already."},
        **problems(404, 422),
    },
)
def cover(id: TrackId, here: Here, request: Request) -> Response:  # noqa: A002 - the contract's
    """Send the picture embedded in the file, else cover, folder or front.jpg|png beside it."""
    track = here.track(id)
    with opened(track) as file:
        status = os.fstat(file.fileno())
    beside = picture_beside(track.path)
    try:
        theirs = 0 if beside is None else beside.stat(follow_symlinks=False).st_mtime_ns
    except OSError:
        beside, theirs = None, 0
    headers = {"ETag": etag_of(status, theirs), "Cache-Control": "private, max-age=3600"}
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    picture = embedded_picture(track.path)
    if picture is None and beside is not None:
        picture = read_picture(beside)
    if picture is None:
        raise ProblemError(
            404,
            f"{track.title!r} has no cover: there is none in its file, and no cover.jpg beside it",
            headers={"Cache-Control": "private, max-age=600"},
        )
    return Response(picture.content, headers=headers, media_type=picture.media_type)
