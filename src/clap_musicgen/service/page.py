"""The page: the files of its bundle, held in memory, under their own names and no others.

A request names a file of this table or gets 404, so that no path of a request is ever opened. Knows
nothing of what the page does.
"""

from __future__ import annotations

import gzip
import mimetypes
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import Request
from fastapi.responses import Response

from clap_musicgen.service.guard import policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastapi import FastAPI

BUNDLE = Path(__file__).parent / "page"
"""Where the build puts the bundle."""
NONCE = b"__CSP_NONCE__"
"""What the build writes into its HTML where the nonce of an answer belongs."""
EVALUATES = "/map.html"
"""The one file whose scripts may compile code."""
_IMMUTABLE = "/assets/"  # names there change with the content
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_TEXT = frozenset({".css", ".html", ".js", ".json", ".svg", ".webmanifest"})
_SMALL = 1_000  # bytes that are not worth compressing
_ABSENT = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>clap-musicgen</title>"
    "<h1>The page is not built</h1><p>The service runs: <a href=/api/docs>its API</a>. The page "
    "comes with the installed package; in a checkout, <code>npm ci</code> and <code>npm run build"
    "</code> in the folder <code>web</code> make it; then start the service again.</html>"
)


@dataclass(frozen=True, slots=True)
class File:
    """One file of the bundle.

    Attributes:
        media_type: with its character set.
        content: bytes.
        packed: the same with gzip; None where it does not pay or each answer differs.
        tag: its ETag.
    """

    media_type: str
    content: bytes
    packed: bytes | None
    tag: str


class Page:
    """All files of a bundle, by the path of a request."""

    def __init__(self, folder: Path) -> None:
        """Read the bundle; without one there is a page that says how to make it."""
        self._files = {
            "/" + path.relative_to(folder).as_posix(): _read(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }
        index = self._files.get("/index.html")
        self._files["/"] = index or _file(_ABSENT.encode(), ".html")

    def __contains__(self, path: object) -> bool:
        """Whether this is the path of a file of the page."""
        return path in self._files

    def __iter__(self) -> Iterator[str]:
        """Go through the paths."""
        return iter(self._files)

    def answer(self, path: str, headers: Mapping[str, str]) -> Response:
        """Give a file; KeyError if there is none."""
        file = self._files[path]
        if file.media_type.startswith("text/html"):
            return _html(file, evaluates=path == EVALUATES)
        fresh = path.startswith(_IMMUTABLE)
        given = {
            "ETag": file.tag,
            "Vary": "Accept-Encoding",
            "Cache-Control": "public, max-age=31536000, immutable" if fresh else "no-cache",
        }
        if file.tag in headers.get("if-none-match", ""):
            return Response(status_code=304, headers=given)
        content = file.content
        if file.packed is not None and "gzip" in headers.get("accept-encoding", ""):
            content, given["Content-Encoding"] = file.packed, "gzip"
        return Response(content, media_type=file.media_type, headers=given)


def _html(file: File, *, evaluates: bool) -> Response:
    nonce = secrets.token_urlsafe(16)
    return Response(
        file.content.replace(NONCE, nonce.encode()),
        media_type=file.media_type,
        headers={
            "Content-Security-Policy": policy(nonce=nonce, evaluates=evaluates),
            "Cache-Control": "no-cache",
        },
    )


def _read(path: Path) -> File:
    return _file(path.read_bytes(), path.suffix.lower())


def _file(content: bytes, suffix: str) -> File:
    kind = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
    packs = suffix in _TEXT and suffix != ".html" and len(content) > _SMALL
    return File(
        media_type=f"{kind}; charset=utf-8" if suffix in _TEXT else kind,
        content=content,
        packed=gzip.compress(content, mtime=0) if packs else None,
        tag=f'"{sha256(content).hexdigest()[:32]}"',
    )


def install(app: FastAPI, page: Page) -> None:
    """Give each file of the page its route."""

    async def answer(request: Request) -> Response:
        return page.answer(request.scope["path"], request.headers)

    for path in page:
        app.add_route(path, answer, methods=["GET"], include_in_schema=False)  # and so HEAD
