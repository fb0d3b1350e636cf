"""Bounds: places, queue, times and sizes; and that nothing is lost or stuck on the way."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import Request
from starlette.responses import StreamingResponse

from bare_service import HOST, bare, client_of, with_route
from clap_musicgen.service import passage
from clap_musicgen.service.gate import BODY_BYTES, EVENTS, FORM_BYTES, Lanes
from clap_musicgen.service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from fastapi import FastAPI

    from clap_musicgen.service.gate import Lane

SOON = 0.05
"""Seconds, where a time is to run out."""
JSON = {"Content-Type": "application/json"}


class Caller:
    """One request, piece by piece, as a server would hand it to the application."""

    def __init__(
        self, app: FastAPI, path: str, *, method: str = "GET", headers: dict[str, str] | None = None
    ) -> None:
        given = {"host": HOST, **(headers or {})}
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        }
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.messages: list[dict[str, Any]] = []
        self.reads = asyncio.Event()
        self.reads.set()
        if method == "GET":
            self.sends(b"", more=False)
        self.task = asyncio.create_task(self._go(app))

    async def _go(self, app: FastAPI) -> Caller:
        await app(self.scope, self.incoming.get, self._take)
        return self

    async def _take(self, message: Any) -> None:
        await self.reads.wait()
        self.messages.append(message)

    def sends(self, body: bytes, *, more: bool) -> None:
        self.incoming.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leaves(self) -> None:
        self.incoming.put_nowait({"type": "http.disconnect"})

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])


class Slow:
    """A route that goes on when it is told to; it counts how often it was entered."""

    def __init__(self) -> None:
        self.entered, self.most, self.inside = 0, 0, 0
        self.goes_on = threading.Event()
        self._lock = threading.Lock()

    def route(self) -> str:
        with self._lock:
            self.entered, self.inside = self.entered + 1, self.inside + 1
            self.most = max(self.most, self.inside)
        assert self.goes_on.wait(30)
        with self._lock:
            self.inside -= 1
        return "done"


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that another task or thread does."""
    async with asyncio.timeout(30):
        while not is_so():
            await asyncio.sleep(0.002)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("library")


def slow_app(library: Path, **settings: Any) -> tuple[FastAPI, Slow, Lane]:
    """An application with /api/slow in the lane of work."""
    slow = Slow()
    app = with_route(bare(library, Settings(**settings)), "/api/slow", slow.route)
    return app, slow, app.state.lanes.work


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


# Places and queue


def test_no_more_run_than_may_and_all_are_answered(library: Path) -> None:
    app, slow, lane = slow_app(library, running=2, waiting=6)

    async def test() -> None:
        callers = [Caller(app, "/api/slow") for _ in range(8)]
        await until(lambda: slow.inside == 2 and lane.present == 8)
        slow.goes_on.set()
        await asyncio.gather(*(caller.task for caller in callers))
        assert [caller.status for caller in callers] == [200] * 8
        assert {caller.body for caller in callers} == {b'"done"'}

    run(test())
    assert slow.most == 2
    assert (lane.present, lane.taken) == (0, 0)


def test_who_finds_the_queue_full_is_told_to_come_back(library: Path) -> None:
    app, slow, lane = slow_app(library, running=1, waiting=1)

    async def test() -> None:
        first, second = Caller(app, "/api/slow"), Caller(app, "/api/slow")
        await until(lambda: slow.inside == 1 and lane.present == 2)
        third = await Caller(app, "/api/slow").task
        assert (third.status, third.headers["retry-after"]) == (503, "2")
        assert third.headers["content-type"] == "application/problem+json"
        slow.goes_on.set()
        await asyncio.gather(first.task, second.task)
        assert (first.status, second.status) == (200, 200)

    run(test())
    text = app.state.metrics.text().decode()
    assert 'clap_musicgen_refused_total{lane="work",reason="full"} 1.0' in text


def test_who_waits_too_long_is_told_to_come_back(library: Path) -> None:
    app, slow, lane = slow_app(library, running=1, wait_seconds=SOON)

    async def test() -> None:
        first = Caller(app, "/api/slow")
        await until(lambda: slow.inside == 1)
        second = await Caller(app, "/api/slow").task
        assert (second.status, second.headers["retry-after"]) == (503, "2")
        slow.goes_on.set()
        assert (await first.task).status == 200
        assert (await Caller(app, "/api/slow").task).status == 200  # the place is free again

    run(test())
    assert slow.entered == 2
    assert (lane.present, lane.taken) == (0, 0)


def test_who_leaves_while_waiting_is_not_worked_for(library: Path) -> None:
    app, slow, lane = slow_app(library, running=1)

    async def test() -> None:
        first, second = Caller(app, "/api/slow"), Caller(app, "/api/slow")
        await until(lambda: slow.inside == 1 and lane.present == 2)
        second.leaves()
        assert (await second.task).messages == []
        slow.goes_on.set()
        assert (await first.task).status == 200

    run(test())
    assert slow.entered == 1
    assert (lane.present, lane.taken) == (0, 0)


def test_what_takes_too_long_is_given_up_but_keeps_its_place(library: Path) -> None:
    app, slow, lane = slow_app(library, running=1, request_seconds=SOON, wait_seconds=SOON)

    async def test() -> None:
        first = await Caller(app, "/api/slow").task
        assert (first.status, first.headers["retry-after"]) == (503, "2")
        assert lane.taken == 1  # its thread cannot be stopped
        second = await Caller(app, "/api/slow").task
        assert second.status == 503
        assert slow.entered == 1
        slow.goes_on.set()
        await until(lambda: lane.taken == 0)
        assert (await Caller(app, "/api/slow").task).status == 200

    run(test())


def test_a_failing_route_gives_its_place_back(library: Path) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    app = with_route(bare(library, Settings(running=1, wait_seconds=SOON)), "/api/fail", fail)
    client = client_of(app)
    assert [client.get("/api/fail").status_code for _ in range(5)] == [500] * 5


def test_the_sign_of_life_answers_when_nothing_else_does(library: Path) -> None:
    app, slow, lane = slow_app(library, running=1, waiting=0)

    async def test() -> None:
        first = Caller(app, "/api/slow")
        await until(lambda: lane.taken == 1)
        for path in ("/api/health", "/api/session", "/", "/metrics"):
            assert (await Caller(app, path).task).status == 200
        assert (await Caller(app, "/api/info").task).status == 503
        slow.goes_on.set()
        await first.task

    run(test())


def test_questions_do_not_stop_the_music(library: Path) -> None:
    app, slow, lane = slow_app(library, running=1, waiting=0)

    async def test() -> None:
        first = Caller(app, "/api/slow")
        await until(lambda: lane.taken == 1)
        unknown = await Caller(app, f"/api/tracks/{'0' * 32}/audio").task
        assert unknown.status == 404  # the route was reached
        slow.goes_on.set()
        await first.task

    run(test())


# Reading


def test_a_slow_sender_takes_no_place(library: Path) -> None:
    app, slow, lane = slow_app(library, running=1)
    slow.goes_on.set()

    async def test() -> None:
        headers = {**JSON, "Content-Length": "2"}
        sender = Caller(app, "/api/slow", method="POST", headers=headers)
        sender.sends(b"{", more=True)
        await until(lambda: lane.present == 1)
        assert (await Caller(app, "/api/slow").task).status == 200
        sender.sends(b"}", more=False)
        assert (await sender.task).status == 200

    run(test())


def test_who_never_finishes_sending_is_cut_off(library: Path) -> None:
    app, slow, lane = slow_app(library, upload_seconds=SOON)

    async def test() -> None:
        sender = Caller(app, "/api/slow", method="POST", headers={"Transfer-Encoding": "chunked"})
        sender.sends(b"{", more=True)
        await sender.task
        assert (sender.status, sender.headers["connection"]) == (408, "close")

    run(test())
    assert (slow.entered, lane.present) == (0, 0)


def test_who_leaves_while_sending_is_forgotten(library: Path) -> None:
    app, slow, lane = slow_app(library)

    async def test() -> None:
        sender = Caller(app, "/api/slow", method="POST", headers={"Transfer-Encoding": "chunked"})
        sender.sends(b"{", more=True)
        sender.leaves()
        assert (await sender.task).messages == []

    run(test())
    assert (slow.entered, lane.present) == (0, 0)


@pytest.mark.parametrize("path", ["/api/search", "/api/session", "/", "/nothing"])
def test_a_large_body_is_refused(library: Path, path: str) -> None:
    app = bare(library)
    large = b" " * (BODY_BYTES + 1)
    told = client_of(app).post(path, content=large, headers=JSON)
    assert told.status_code in ({405} if path == "/" else {404} if path == "/nothing" else {413})

    async def test() -> None:
        sender = Caller(
            app, "/api/search", method="POST", headers={"Transfer-Encoding": "x", **JSON}
        )
        sender.sends(large[:BODY_BYTES], more=True)
        sender.sends(b" ", more=True)
        assert (await sender.task).status == 413

    run(test())


async def _count(request: Request) -> int:
    return len(await request.body())


def test_a_body_arrives_whole(library: Path) -> None:
    app = with_route(bare(library), "/api/count", _count)
    client = client_of(app)
    for size in (0, 1, BODY_BYTES):
        assert client.post("/api/count", content=b"x" * size).json() == size


def test_an_upload_may_be_larger(library: Path) -> None:
    app = bare(library, Settings(max_upload_bytes=2 * BODY_BYTES))
    with client_of(app) as client:
        for size, status in ((BODY_BYTES + 1, 415), (2 * BODY_BYTES + FORM_BYTES, 413)):
            files = {"file": ("noise.bin", b"x" * size)}
            assert client.post("/api/sounds", files=files).status_code == status


# Streams


def streaming_app(library: Path, **settings: Any) -> tuple[FastAPI, asyncio.Event]:
    """An application with events at /api/add/x/events, which end when the event is set."""
    ends = asyncio.Event()

    async def events() -> AsyncIterator[bytes]:
        yield b"first\n"
        await ends.wait()
        yield b"last\n"

    async def route() -> StreamingResponse:
        return StreamingResponse(events())

    app = bare(library, Settings(**settings))
    # Before the routes of the service: the first that fits is taken.
    app.router.routes.insert(0, with_route(bare(library), "/api/add/x/events", route).routes[-1])
    return app, ends


def test_a_stream_may_outlast_the_time_of_a_request(library: Path) -> None:
    async def test() -> None:
        app, ends = streaming_app(library, request_seconds=SOON)
        listener = Caller(app, "/api/add/x/events")
        await until(lambda: len(listener.messages) == 2)
        await asyncio.sleep(2 * SOON)
        ends.set()
        await listener.task
        assert listener.body == b"first\nlast\n"

    run(test())


def test_a_listener_who_leaves_gives_the_place_back(library: Path) -> None:
    async def test() -> None:
        app, _ = streaming_app(library)
        lane = app.state.lanes.events
        listeners = [Caller(app, "/api/add/x/events") for _ in range(EVENTS)]
        await until(lambda: all(len(listener.messages) == 2 for listener in listeners))
        assert (await Caller(app, "/api/add/x/events").task).status == 503
        for listener in listeners:
            listener.scope["asgi"]["spec_version"] = "2.4"
            listener.task.cancel()
        await asyncio.gather(*(each.task for each in listeners), return_exceptions=True)
        await until(lambda: lane.taken == 0)
        assert lane.present == 0

    run(test())


def test_a_listener_who_takes_nothing_is_dropped(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passage, "STALL_SECONDS", SOON)

    async def test() -> None:
        app, _ = streaming_app(library)
        listener = Caller(app, "/api/add/x/events")
        listener.reads.clear()
        assert (await listener.task).messages == []
        assert app.state.lanes.events.taken == 0

    run(test())


def test_lanes() -> None:
    lanes = Lanes(Settings())
    of = {path: lanes.of(path).name for path in _LANES}
    assert of == _LANES
    assert lanes.threads >= sum(lane.running for lane in lanes)


_LANES = {
    "/": "free",
    "/assets/a.js": "free",
    "/api/health": "free",
    "/api/session": "free",
    "/metrics": "free",
    "/api/search": "work",
    "/api/tracks": "work",
    "/api/tracks/x": "work",
    "/api/tracks/x/tags": "work",
    "/api/add": "work",
    "/rest/ping": "work",
    "/api/tracks/x/audio": "media",
    "/api/tracks/x/audio.wav": "media",
    "/api/tracks/x/peaks": "media",
    "/api/tracks/x/cover": "media",
    "/api/sounds": "upload",
    "/api/add/x/events": "events",
}
