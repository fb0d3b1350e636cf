"""What a service may do, and how much of it; wrong values are found before anything starts.

Knows neither the library nor HTTP.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from clap_musicgen.errors import InputError

LEAST_TOKEN = 16
"""Characters a token must have, so that nobody finds it by trying."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one service.

    Attributes:
        host: address or name to bind to.
        port: TCP port; 0 lets the system choose.
        token: what a caller must show; None where everybody who can connect may ask.
        open_to_all: binding beyond loopback without a token is meant.
        music: folders from which POST /api/add may take files; none of them, no adding.
        runs: folder of training runs to show.
        public_hosts: names under which others reach the service, beside loopback's and `host`.
        max_upload_bytes: how large an uploaded sound may be.
        upload_seconds: how long its transfer may take.
        running: questions that are worked on at a time.
        waiting: questions that may wait for that.
        wait_seconds: how long one waits before it is told to come back.
        request_seconds: how long one may take once it runs.
        media_running: audio, peaks and covers that are served at a time.
    """

    host: str = "127.0.0.1"
    port: int = 8321
    token: str | None = field(default=None, repr=False)
    open_to_all: bool = False
    music: tuple[Path, ...] = ()
    runs: Path | None = None
    public_hosts: tuple[str, ...] = ()
    max_upload_bytes: int = 200 * 2**20
    upload_seconds: float = 60.0
    running: int = 4
    waiting: int = 32
    wait_seconds: float = 10.0
    request_seconds: float = 60.0
    media_running: int = 32

    def __post_init__(self) -> None:
        """Check.

        Raises:
            InputError: a value cannot be used, or the service would be open without anybody having
                said so.
        """
        if not 0 <= self.port <= 65_535:
            raise InputError(f"a port is between 0 and 65535, not {self.port!r}")
        for name in ("max_upload_bytes", "upload_seconds", "running", "wait_seconds"):
            _check_positive(name, getattr(self, name))
        for name in ("request_seconds", "media_running"):
            _check_positive(name, getattr(self, name))
        if self.waiting < 0:
            raise InputError(f"waiting must not be negative, not {self.waiting!r}")
        if self.token is not None:
            _check_token(self.token)
        elif not self.open_to_all and not is_loopback(self.host):
            raise InputError(
                f"{self.host!r} lets other machines in, who must show a token: give one with "
                "--token-file or CLAP_MUSICGEN_TOKEN, or say that there is none with --no-token"
            )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a bound address; a name other than localhost: no."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise InputError(f"{name} must be more than 0, not {value!r}")


def _check_token(token: str) -> None:
    """Refuse what could be guessed, or would not survive a header; the token is not repeated."""
    if len(token) < LEAST_TOKEN:
        raise InputError(
            f"the token has {len(token)} characters and needs {LEAST_TOKEN}: "
            "`openssl rand -hex 16` makes a good one"
        )
    if not all("!" <= character <= "~" for character in token):
        raise InputError("the token may hold printable ASCII characters without spaces only")
