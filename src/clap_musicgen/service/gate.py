"""How many requests at a time, how long and how large: what is too much is told to come back.

Requests of a kind share a lane, so that music plays on while questions queue, and the sign of life
answers whatever happens. Knows paths and lanes; how one request passes is `passage`.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clap_musicgen.service.passage import Passage, RefusedError
from clap_musicgen.service.problems import of_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send

    from clap_musicgen.service.settings import Settings

BODY_BYTES = 4 * 2**20
"""How large a request may be, beside uploaded sounds."""
FORM_BYTES = 64 * 2**10
"""What the form around an uploaded sound may add."""
EVENTS = 8
"""How many may follow the progress of adding."""

_MEDIA = re.compile(r"/api/tracks/[^/]*/(audio|audio\.wav|peaks|cover)")
_EVENTS = re.compile(r"/api/add/[^/]*/events")
_UPLOAD = "/api/sounds"
_FREE = frozenset({"/api/health", "/api/session", "/metrics"})


@dataclass(eq=False)
class Lane:
    """Requests of one kind.

    Attributes:
        name: of the kind, for the metrics.
        running: how many at a time; 0 for any number.
        waiting: how many may wait.
        body_bytes: how large a request may be.
        streams: whether request and answer pass piece by piece. Otherwise the request is read
            before it takes a place and the answer is sent after it has left it, so that whoever
            sends or reads slowly keeps nobody else waiting.
        present: how many are there just now, running or not.
        taken: how many places are taken, also by threads whose request was given up.
    """

    name: str
    running: int
    waiting: int = 0
    body_bytes: int = BODY_BYTES
    streams: bool = False
    present: int = 0
    taken: int = 0
    places: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        """Make the places."""
        self.places = asyncio.Semaphore(self.running)

    @property
    def is_full(self) -> bool:
        """Whether not even waiting is possible."""
        return self.running > 0 and self.present >= self.running + self.waiting


class Lanes:
    """All lanes of a service."""

    def __init__(self, settings: Settings) -> None:
        """Make them, with the bounds of the settings."""
        running, waiting = settings.running, settings.waiting
        upload = settings.max_upload_bytes + FORM_BYTES
        self.work = Lane("work", running, waiting)
        self.media = Lane("media", settings.media_running, waiting, streams=True)
        self.upload = Lane("upload", running, waiting, body_bytes=upload, streams=True)
        self.events = Lane("events", EVENTS, streams=True)
        self.free = Lane("free", 0, streams=True)

    def __iter__(self) -> Iterator[Lane]:
        """Go through the lanes that have bounds."""
        return iter((self.work, self.media, self.upload, self.events))

    @property
    def threads(self) -> int:
        """How many threads all places together may need, and some more to open files."""
        return sum(lane.running for lane in self) + 8

    def of(self, path: str) -> Lane:
        """Tell the lane of a request by its path."""
        if path == _UPLOAD:
            return self.upload
        if _MEDIA.fullmatch(path):
            return self.media
        if _EVENTS.fullmatch(path):
            return self.events
        if path in _FREE or not path.startswith(("/api/", "/rest/")):
            return self.free
        return self.work


class Gate:
    """The layer that bounds what is worked on."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        lanes: Lanes,
        settings: Settings,
        on_refused: Callable[[str, str], None],
    ) -> None:
        """Wrap an application; `on_refused` gets the lane and the reason each time."""
        self._app, self._lanes = app, lanes
        self._settings, self._on_refused = settings, on_refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        lane = self._lanes.of(scope["path"])
        passage = Passage(self._app, lane, self._settings)
        try:
            await passage.go(scope, receive, send)
        except RefusedError as refused:
            self._on_refused(lane.name, refused.reason)
            await of_error(refused)(scope, receive, send)
