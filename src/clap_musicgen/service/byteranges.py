"""Files over HTTP, whole or in part: ranges, validators, and reading that ends with the listener.

A file is handed over open, so that it cannot become another one between looking and sending. Knows
neither tracks nor paths.
"""

from __future__ import annotations

import os
import re
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple

import anyio.to_thread
from starlette.responses import Response, StreamingResponse

from clap_musicgen.service.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from typing import BinaryIO

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

BLOCK = 256 * 1024
"""Bytes that are read at a time."""
_RANGE = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.IGNORECASE | re.ASCII)
_MOST_DIGITS = 19  # of a place in a file


class Span(NamedTuple):
    """A part of a file: from `start` up to, and without, `end`."""

    start: int
    end: int


class RangeError(ValueError):
    """A range lies behind the end of the file."""


def requested(header: str | None, size: int) -> Span | None:
    """Read a Range header (RFC 9110, section 14).

    Args:
        header: such as "bytes=100-199", "bytes=100-" or "bytes=-100"; None if there is none.
        size: of the file.

    Returns:
        The part asked for, which is never empty; None where the whole file is to be sent: no
        range, several ones, or a header that is no range of bytes. All of these may be ignored.

    Raises:
        RangeError: nothing of the file lies in the range.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or not any(match.groups()):
        return None
    first, last = (_place(digits) for digits in match.groups())
    if first is None:
        span = Span(max(0, size - (last or 0)), size)
    elif last is not None and last < first:
        return None
    else:
        span = Span(first, size if last is None else min(last + 1, size))
    if span.start >= span.end:
        raise RangeError(header)
    return span


def _place(digits: str) -> int | None:
    if not digits:
        return None
    return int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


def etag_of(status: os.stat_result, *more: int) -> str:
    """A strong validator: size and time of a file, and whatever else the answer depends on."""
    parts = (status.st_size, status.st_mtime_ns, *more)
    return '"' + "-".join(f"{part:x}" for part in parts) + '"'


def is_known(request: Request, etag: str) -> bool:
    """Whether the caller has this state already (If-None-Match)."""
    header = request.headers.get("if-none-match", "")
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return etag in tags or "*" in tags


def file_response(
    request: Request, file: BinaryIO, *, media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with an open file, or the part of it that the request asks for; it is closed then.

    304 where the caller has it already, 206 for a range; HEAD gets the headers of the whole.

    Raises:
        ProblemError: 416, no such range.
    """
    status = os.fstat(file.fileno())
    etag, modified = etag_of(status), formatdate(status.st_mtime, usegmt=True)
    about = {
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Last-Modified": modified,
        "Cache-Control": "private, no-cache",
        **(headers or {}),
    }
    if is_known(request, etag):
        file.close()
        return Response(status_code=304, headers=about)
    if request.method == "HEAD":
        file.close()
        length = {"Content-Length": str(status.st_size)}
        return Response(status_code=200, headers=about | length, media_type=media_type)
    header = request.headers.get("range")
    if request.headers.get("if-range", etag) not in (etag, modified):
        header = None  # it has changed since: the parts would not fit together
    try:
        span = requested(header, status.st_size)
    except RangeError as error:
        file.close()
        raise ProblemError(
            416,
            f"the range {header!r} lies behind the end: the file has {status.st_size} bytes",
            headers={"Content-Range": f"bytes */{status.st_size}", "Accept-Ranges": "bytes"},
        ) from error
    return _Part(file, span, size=status.st_size, headers=about, media_type=media_type)


class _Part(StreamingResponse):
    """A part of an open file, read block by block in other threads."""

    def __init__(
        self,
        file: BinaryIO,
        span: Span | None,
        *,
        size: int,
        headers: dict[str, str],
        media_type: str,
    ) -> None:
        start, end = span or (0, size)
        self._file, self._span = file, Span(start, end)
        about = headers | {"Content-Length": str(end - start)}
        if span is not None:
            about["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        status = 200 if span is None else 206
        super().__init__(self._blocks(), status, headers=about, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send; whoever goes away ends the reading."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()

    async def _blocks(self) -> AsyncIterator[bytes]:
        place, end = self._span
        while place < end:
            block = await anyio.to_thread.run_sync(self._read, place, min(BLOCK, end - place))
            if not block:  # it was cut meanwhile: the answer stays short, which breaks it off
                return
            yield block
            place += len(block)

    def _read(self, place: int, size: int) -> bytes:
        self._file.seek(place)
        return self._file.read(size)
