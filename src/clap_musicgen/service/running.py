"""Running an application: the one place that knows the web server.

Knows neither the library nor what is served.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from fastapi import FastAPI

CONNECTIONS = 512
"""Open connections beyond which requests are turned away before any layer of ours."""
KEPT_SECONDS = 15
"""How long a connection may be idle."""
FAREWELL_SECONDS = 5
"""For requests that still run when the service is told to end."""


class _Server(uvicorn.Server):
    """Tells when it has started."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell it."""
        await super().startup(sockets)
        self._on_started()


def run(app: FastAPI, listener: socket.socket, *, on_started: Callable[[], None]) -> None:
    """Serve until Ctrl-C or SIGTERM, then return; call it in the main thread.

    Args:
        app: the application.
        listener: a bound socket.
        on_started: called once requests are answered.
    """
    config = uvicorn.Config(
        app,
        access_log=False,
        limit_concurrency=CONNECTIONS,
        lifespan="on",
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=FAREWELL_SECONDS,
        timeout_keep_alive=KEPT_SECONDS,
        ws="none",
    )
    # The server raises the signal that ended it once more; here either means a good end.
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            _Server(config, on_started).run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, former)
