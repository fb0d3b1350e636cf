"""What OpenSubsonic calls an answer: one wrapper, as JSON or as XML, with numbered errors.

Pure. Shapes follow the OpenSubsonic documentation: `subsonic-response`, `error`, `Child` and
`sonicMatch`. Knows tracks; neither requests nor the library.
"""

from __future__ import annotations

import json
import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from starlette.responses import Response

from clap_musicgen.audio.kinds import usual_type
from clap_musicgen.library.paths import path_key, readable

if TYPE_CHECKING:
    from clap_musicgen.library.records import Track

VERSION = "1.16.1"
"""Of the Subsonic API."""
GENERIC, MISSING, WRONG_PASSWORD, CONFLICT, WRONG_KEY, NOT_FOUND = 0, 10, 40, 43, 44, 70
"""Numbers of errors."""
_NAMESPACE = "http://subsonic.org/restapi"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class SubsonicError(Exception):
    """What a client is told, with HTTP status 200, as Subsonic has it.

    Attributes:
        code: one of the numbers above.
        message: for people.
    """

    def __init__(self, code: int, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(message)


def succeeded(content: dict[str, Any], *, as_json: bool, version: str) -> Response:
    """Write what was asked for; `version` is that of this service."""
    return _written({"status": "ok", **_about(version), **content}, as_json=as_json)


def failed(error: SubsonicError, *, as_json: bool, version: str) -> Response:
    """Write an error; `version` is that of this service."""
    told = {"code": error.code, "message": error.message}
    return _written({"status": "failed", **_about(version), "error": told}, as_json=as_json)


def child(track: Track) -> dict[str, Any]:
    """Describe a track as a `Child`; what is unknown is left out."""
    suffix = PurePath(track.path).suffix.lower()
    known = {
        "id": path_key(track.path),
        "isDir": False,
        "title": track.title,
        "album": track.album,
        "artist": track.artist,
        "year": track.year,
        "genre": track.genre,
        "contentType": usual_type(suffix),
        "suffix": suffix.lstrip("."),
        "duration": round(track.duration),
        "path": readable(track.path),
        "isVideo": False,
        "type": "music",
        "mediaType": "song",
    }
    return {name: value for name, value in known.items() if value not in (None, "")}


def match(track: Track, similarity: float) -> dict[str, Any]:
    """Describe a `sonicMatch`; `similarity` is brought into 0 to 1."""
    return {"entry": child(track), "similarity": round(min(1.0, max(0.0, similarity)), 6)}


def _about(version: str) -> dict[str, Any]:
    return {
        "version": VERSION,
        "type": "clap-musicgen",
        "serverVersion": version,
        "openSubsonic": True,
    }


def _written(content: dict[str, Any], *, as_json: bool) -> Response:
    if as_json:
        return Response(json.dumps({"subsonic-response": content}), media_type="application/json")
    root = _element("subsonic-response", {"xmlns": _NAMESPACE, **content})
    body = b'<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, "utf-8")
    return Response(body, media_type="application/xml")


def _element(name: str, content: dict[str, Any]) -> ElementTree.Element:
    """Scalars are attributes, objects are elements, and lists are elements of the same name."""
    element = ElementTree.Element(name)
    for key, value in content.items():
        if isinstance(value, dict):
            element.append(_element(key, value))
        elif isinstance(value, list):
            element.extend(_item(key, item) for item in value)
        else:
            element.set(key, _text(value))
    return element


def _item(name: str, value: Any) -> ElementTree.Element:
    if isinstance(value, dict):
        return _element(name, value)
    element = ElementTree.Element(name)
    element.text = _text(value)
    return element


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", str(value))
