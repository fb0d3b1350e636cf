"""Who may ask at all: names the service answers to, pages that may call it, tokens; and headers.

Loopback is no protection from the pages a browser shows: any of them may send requests here, and
one whose name is made to point at this machine (DNS rebinding) may even read the answers. So a
request must name a host we know, and one from another origin is refused. Knows no route.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from clap_musicgen.service.problems import answer, of_error
from clap_musicgen.service.settings import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from clap_musicgen.service.sessions import Sessions
    from clap_musicgen.service.settings import Settings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PUBLIC = frozenset({"/api/health", "/api/session"})
"""What answers without a token, beside the page. /rest has tokens of its own kind: see subsonic."""
OWN_TOKENS = "/rest/"
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:/@\s\[\]]+)(?::\d{1,5})?")


def policy(*, nonce: str = "", evaluates: bool = False) -> str:
    """Write the content-security policy.

    Args:
        nonce: of the style elements that the page may make; "" if it makes none.
        evaluates: let scripts compile code at run time, which one frame of ours has to: regl makes
            its draw calls so. That frame shows points, and holds nothing else.
    """
    return "; ".join(
        [
            "default-src 'self'",
            "script-src 'self'" + (" 'unsafe-eval'" if evaluates else ""),
            "style-src 'self'" + (f" 'nonce-{nonce}'" if nonce else ""),
            "img-src 'self' data: blob:",
            "media-src 'self' blob:",
            *(["worker-src 'self' blob:"] if evaluates else []),
            "frame-src 'self'",
            "frame-ancestors 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ]
    )


HEADERS = {
    "Content-Security-Policy": policy(),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""On every answer that does not say otherwise."""


class Guard:
    """The layer that turns away whom we do not know, and puts the headers on every answer."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings,
        sessions: Sessions,
        is_page: Callable[[str], bool],
    ) -> None:
        """Wrap an application.

        Args:
            app: what is protected.
            settings: tell the names of this service.
            sessions: know the token.
            is_page: whether a path is that of a file of the page, which holds nothing secret.
        """
        self._app, self._sessions, self._is_page = app, sessions, is_page
        self._hosts = _hosts(settings)
        self._public = {name.lower() for name in settings.public_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = self._refusal(Request(scope))
        if refused is not None:
            await refused(scope, receive, dressed)
            return
        try:
            await self._app(scope, receive, dressed)
        except Exception as error:
            if started:  # only breaking off tells the other side that the answer is not whole
                raise
            await of_error(error)(scope, receive, dressed)

    def _refusal(self, request: Request) -> Response | None:
        return self._host_refusal(request) or self._origin_refusal(request) or self._locked(request)

    def _host_refusal(self, request: Request) -> Response | None:
        names = request.headers.getlist("host")
        match = _HOST.fullmatch(names[0]) if len(names) == 1 else None
        if match is None:
            return answer(400, "a request names exactly one host")
        name = match[1].lower().rstrip(".")
        # An address cannot be made to point elsewhere, as a name can.
        if name in self._hosts or name.endswith(".localhost") or _is_address(name.strip("[]")):
            return None
        return answer(
            421,
            f"this service does not answer to the name {name[:100]!r}: use its address, or start "
            "it with --public-host NAME",
        )

    def _origin_refusal(self, request: Request) -> Response | None:
        if self._is_page(request.url.path):
            return None
        site = request.headers.get("sec-fetch-site", "none")
        opened = request.headers.get("sec-fetch-mode") == "navigate"  # a link that was followed
        safe = request.method in SAFE_METHODS
        foreign = site not in ("same-origin", "none") and not (safe and opened)
        origin = request.headers.get("origin")
        if not safe and origin is not None:
            foreign = foreign or not self._is_own(origin, request.headers["host"])
        if not foreign:
            return None
        return answer(
            403,
            "a page of another origin may not call this service: open its own page, or call it "
            "from a program",
        )

    def _is_own(self, origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin)
            name = (parts.hostname or "").lower()
        except ValueError:
            return False
        return bool(name) and (parts.netloc.lower() == host.lower() or name in self._public)

    def _locked(self, request: Request) -> Response | None:
        path = request.url.path
        if path in PUBLIC or path.startswith(OWN_TOKENS) or self._is_page(path):
            return None
        if self._sessions.admits(request):
            return None
        return answer(
            401,
            "this service needs its token: send `Authorization: Bearer TOKEN`, or open its page "
            "and give it there",
            headers={"WWW-Authenticate": "Bearer"},
        )


def _hosts(settings: Settings) -> frozenset[str]:
    names = {"localhost", settings.host, *settings.public_hosts}
    if not is_loopback(settings.host):
        machine = socket.gethostname()
        names |= {machine, f"{machine}.local"}
    return frozenset(name.lower() for name in names)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
