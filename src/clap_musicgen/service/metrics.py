"""What a Prometheus server reads: requests by route and answer, their times, the lanes, the library.

The registry belongs to one application. Knows routes by their templates only, so that no id and no
question of a user becomes a label.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from clap_musicgen.service.gate import Lanes

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class Metrics:
    """The figures of one application."""

    def __init__(self, *, lanes: Lanes, tracks: Callable[[], int]) -> None:
        """Begin at zero; `tracks` counts those of the library, each time somebody reads."""
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "clap_musicgen_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "clap_musicgen_request_seconds",
            "Time until the answer was sent.",
            ["method", "route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._refused = Counter(
            "clap_musicgen_refused",
            "Requests that found no room or no time, by lane.",
            ["lane", "reason"],
            registry=self.registry,
        )
        present = Gauge(
            "clap_musicgen_present", "Requests in a lane.", ["lane"], registry=self.registry
        )
        taken = Gauge(
            "clap_musicgen_taken", "Places taken in a lane.", ["lane"], registry=self.registry
        )
        for lane in lanes:
            present.labels(lane.name).set_function(partial(getattr, lane, "present"))
            taken.labels(lane.name).set_function(partial(getattr, lane, "taken"))
        held = Gauge("clap_musicgen_tracks", "Tracks in the library.", registry=self.registry)
        held.set_function(tracks)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def refused(self, lane: str, reason: str) -> None:
        """Count a request that was turned away."""
        self._refused.labels(lane, reason).inc()

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request, by the template of its route."""
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self) -> bytes:
        """Write all figures as Prometheus reads them."""
        return generate_latest(self.registry)


class Measured:
    """The layer that counts requests."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        """Wrap an application."""
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        started = time.perf_counter()

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, seen)
        finally:
            self._metrics.answered(scope, status, time.perf_counter() - started)


router = APIRouter(tags=["service"])


class _Exposition(Response):
    media_type = CONTENT_TYPE_LATEST


@router.get("/metrics", summary="Figures for Prometheus", response_class=_Exposition)
def metrics(request: Request) -> _Exposition:
    """Give all figures in the text format of Prometheus."""
    figures: Metrics = request.app.state.metrics
    return _Exposition(figures.text())
