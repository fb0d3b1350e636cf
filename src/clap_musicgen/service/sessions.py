"""Sessions: what a browser shows instead of the token, so that the page never keeps the token.

A session is a random number in a cookie that scripts cannot read and other sites cannot send. Only
its hash is kept here, in memory: a restart ends all sessions. Knows no other route.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from clap_musicgen.service.problems import ProblemError
from clap_musicgen.service.schemas import problems

if TYPE_CHECKING:
    from collections.abc import Callable

COOKIE = "clap_musicgen_session"
KEPT = 256
"""So many sessions are kept; the oldest goes."""
KEPT_SECONDS = 30 * 24 * 3600
"""For so long a session is valid."""


class Sessions:
    """Compares tokens and keeps sessions; may be used from several threads."""

    def __init__(self, token: str | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep no session yet.

        Args:
            token: what opens one; None where nothing is needed.
            clock: gives seconds.
        """
        self._token = None if token is None else token.encode()
        self._until: OrderedDict[bytes, float] = OrderedDict()
        self._clock, self._lock = clock, Lock()

    @property
    def needed(self) -> bool:
        """Whether a token is needed at all."""
        return self._token is not None

    def fits(self, token: str) -> bool:
        """Compare with the token, in a time that does not tell how much of it is right."""
        return self._token is None or hmac.compare_digest(
            token.encode(errors="surrogatepass"), self._token
        )

    def open(self) -> str:
        """Begin a session → what to put into the cookie."""
        value = secrets.token_urlsafe(32)
        with self._lock:
            self._until[_hash(value)] = self._clock() + KEPT_SECONDS
            while len(self._until) > KEPT:
                self._until.popitem(last=False)
        return value

    def is_open(self, value: str) -> bool:
        """Tell whether a cookie is that of a session."""
        with self._lock:
            return self._until.get(_hash(value), -1.0) > self._clock()

    def close(self, value: str) -> None:
        """End a session, if there is one."""
        with self._lock:
            self._until.pop(_hash(value), None)

    def admits(self, request: Request) -> bool:
        """Tell whether a request shows the token or has a session."""
        if not self.needed:
            return True
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.fits(token.strip()):
            return True
        return self.is_open(request.cookies.get(COOKIE, ""))


def _hash(value: str) -> bytes:
    # Looking up a hash takes no time that would tell anything of the value.
    return sha256(value.encode(errors="surrogatepass")).digest()


class Login(BaseModel):
    """What opens a session."""

    token: Annotated[str, Field(min_length=1, max_length=1_000)]


class SessionState(BaseModel):
    """Whether somebody has to say the token."""

    needed: bool = Field(description="Whether this service has a token.")
    open: bool = Field(description="Whether the caller may ask: by a session, a token, or freely.")


router = APIRouter(prefix="/api/session", tags=["session"])


def _sessions(request: Request) -> Sessions:
    sessions: Sessions = request.app.state.sessions
    return sessions


@router.get("", summary="Whether a token is needed", response_model=SessionState)
async def state(request: Request) -> SessionState:
    """Say whether this service has a token, and whether the caller may ask already."""
    sessions = _sessions(request)
    return SessionState(needed=sessions.needed, open=sessions.admits(request))


@router.post(
    "",
    summary="Open a session with the token",
    status_code=204,
    response_model=None,
    responses=problems(401, 422),
)
async def login(login: Login, request: Request, response: Response) -> None:
    """Take the token once, and give a cookie that stands for it."""
    sessions = _sessions(request)
    if not sessions.needed:
        return
    if not sessions.fits(login.token):
        raise ProblemError(
            401,
            "this is not the token of this service: it was given to it with --token-file or "
            "CLAP_MUSICGEN_TOKEN",
            headers={"WWW-Authenticate": "Bearer"},
        )
    response.set_cookie(
        COOKIE,
        sessions.open(),
        max_age=KEPT_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


@router.delete("", summary="End the session", status_code=204, response_model=None)
async def logout(request: Request, response: Response) -> None:
    """Forget the session of this browser."""
    _sessions(request).close(request.cookies.get(COOKIE, ""))
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
