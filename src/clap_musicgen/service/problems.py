"""Every error as RFC 9457 problem details: what went wrong, and the way out.

Our own errors carry a message for people, which becomes `detail`; of an unforeseen one nothing is
told but that it happened. `schemas.Problem` describes it. Knows no route.
"""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from clap_musicgen.errors import (
    ClapMusicGenError,
    EmptyAudioError,
    InputError,
    InputTypeError,
    LibraryBusyError,
    LibraryQueryError,
    NotAudioError,
    PlaylistNotFoundError,
    TrackNotFoundError,
    UnreadableAudioError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastapi import FastAPI
    from starlette.requests import Request

MEDIA_TYPE = "application/problem+json"
_LOG = logging.getLogger(__name__)
_LONGEST = 500  # characters of a value that is repeated to whoever sent it

# The first that fits decides.
_STATUS: tuple[tuple[type[ClapMusicGenError], int], ...] = (
    (TrackNotFoundError, 404),
    (PlaylistNotFoundError, 404),
    (LibraryBusyError, 503),
    (LibraryQueryError, 422),
    (NotAudioError, 415),
    (EmptyAudioError, 422),
    (UnreadableAudioError, 422),
    (InputError, 422),
    (InputTypeError, 422),
)


class ProblemError(HTTPException):
    """Raise it in a route to answer with problem details.

    Attributes:
        status_code: of the answer.
        detail: what went wrong, and the way out.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        retry_after: int | None = None,
    ) -> None:
        """Take what is to be answered; `retry_after` seconds, where that is the way out."""
        after = {} if retry_after is None else {"Retry-After": str(retry_after)}
        super().__init__(status, detail, headers={**(headers or {}), **after})


def answer(
    status: int,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: list[dict[str, str]] | None = None,
) -> Response:
    """Write problem details; `errors` are pairs of where and reason."""
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        problem["errors"] = errors
    # ASCII, so that the name of a file that is not UTF-8 survives.
    body = json.dumps(problem).encode("ascii")
    return Response(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def of_error(error: Exception) -> Response:
    """Write the problem details of any error.

    An unforeseen one is logged with its trace, and answered without any detail.
    """
    if isinstance(error, ProblemError):
        return answer(error.status_code, str(error.detail), headers=error.headers)
    if isinstance(error, ClapMusicGenError):
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            _LOG.error("%s", error)
        headers = {"Retry-After": "5"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
        return answer(status, str(error), headers=headers)
    if isinstance(error, RequestValidationError):
        return _of_validation(error)
    if isinstance(error, HTTPException):
        return answer(error.status_code, _sentence(error), headers=error.headers)
    _LOG.error("a request failed", exc_info=error)
    return answer(500, "something went wrong here: the log of the service has the reason")


def _of_validation(error: RequestValidationError) -> Response:
    errors = [
        {"where": ".".join(map(str, item["loc"])), "reason": str(item["msg"])[:_LONGEST]}
        for item in error.errors()
    ]
    detail = "; ".join(f"{each['where']}: {each['reason']}" for each in errors)
    return answer(422, detail[:_LONGEST] or "the request cannot be understood", errors=errors)


def _sentence(error: HTTPException) -> str:
    """What the framework's own errors mean, with the way out."""
    if error.status_code == HTTPStatus.NOT_FOUND:
        return "there is nothing here: /api/docs lists what there is"
    return str(error.detail)


def install(app: FastAPI, *, methods: Callable[[Request], list[str]]) -> None:
    """Answer with problem details whatever a route raises.

    Args:
        app: the application.
        methods: all that an address takes; the framework knows those of one route only.
    """

    async def handle(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            known = (error.headers or {}).get("Allow", "GET").split(", ")
            allowed = ", ".join(methods(request) or sorted(known))
            detail = f"this address does not take {request.method[:20]!r}: use {allowed}"
            return answer(error.status_code, detail, headers={"Allow": allowed})
        return of_error(error)

    for kind in (ProblemError, ClapMusicGenError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)
