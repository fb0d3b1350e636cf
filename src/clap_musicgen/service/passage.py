"""How one request passes the gate: it is read, waits for a place, runs, and is answered.

Work in a thread cannot be stopped. A request that takes too long is answered all the same, and its
place stays taken until the thread ends. Knows nothing of what a request means.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import anyio
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from clap_musicgen.service.problems import ProblemError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from clap_musicgen.service.gate import Lane
    from clap_musicgen.service.settings import Settings

STALL_SECONDS = 300.0
"""How long a listener may take nothing before the line is given to others."""
RETRY_SECONDS = 2
"""When to come back, for those who find no room."""


class RefusedError(ProblemError):
    """There is no room, or no time left.

    Attributes:
        reason: one word for the metrics: full, waited, slow, large, late.
    """

    def __init__(self, status: HTTPStatus, reason: str, detail: str, *, unread: bool) -> None:
        self.reason = reason
        retry = RETRY_SECONDS if status == HTTPStatus.SERVICE_UNAVAILABLE else None
        # What else of the body may come is not wanted.
        headers = {"Connection": "close"} if unread else {}
        super().__init__(status, detail, headers=headers, retry_after=retry)


class Passage:
    """One request on its lane."""

    def __init__(self, app: ASGIApp, lane: Lane, settings: Settings) -> None:
        """Prepare; nothing has been read yet."""
        self._app, self._lane, self._settings = app, lane, settings
        self._leaving: asyncio.Task[Message] | None = None
        self._unread, self._size = True, 0
        self._read_until: float | None = None
        self._given_up = False
        # Unlike the task's own cancel(), this one waits for threads, and so keeps the place taken.
        self._limit = anyio.CancelScope()
        self._held: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def go(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request.

        Raises:
            RefusedError: it cannot be answered; nothing has been sent.
        """
        self._scope, self._receive, self._send = scope, receive, send
        self._unread = _has_body(scope)
        if self._lane.is_full:
            raise self._refused("full", "too many requests wait already: come again in a moment")
        answer: list[Message] = []
        self._lane.present += 1
        try:
            await self._pass(answer)
        except ClientDisconnect:
            return
        finally:
            self._lane.present -= 1
            if self._leaving is not None:
                self._leaving.cancel()
        for message in answer:
            await _sent(send, message)

    async def _pass(self, answer: list[Message]) -> None:
        if self._lane.streams:
            await self._enter()
            await self._stream()
            return
        body = await self._whole_body()
        await self._enter()
        await self._collect(body, answer)

    # Reading

    async def _next(self) -> Message:
        """Receive one piece, within the bounds of size and time."""
        if self._leaving is not None:
            return self._held.pop() if self._held else await asyncio.shield(self._leaving)
        clock = asyncio.get_running_loop().time
        if self._read_until is None:
            self._read_until = clock() + self._settings.upload_seconds
        declared = Headers(scope=self._scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > self._lane.body_bytes:
            raise self._too_large()
        try:
            # A place that is waited for is not the sender's fault: only the sender's time counts.
            async with asyncio.timeout_at(self._read_until if self._unread else None):
                message = await self._receive()
        except TimeoutError:
            raise RefusedError(
                HTTPStatus.REQUEST_TIMEOUT,
                "late",
                f"the request was not whole after {self._settings.upload_seconds:g} s: send less, "
                "or over a better line",
                unread=True,
            ) from None
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            if self._size > self._lane.body_bytes:
                raise self._too_large()
            self._unread = message.get("more_body", False)
        return message

    async def _whole_body(self) -> bytes:
        pieces = []
        while self._unread:
            message = await self._next()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            pieces.append(message.get("body", b""))
        return b"".join(pieces)

    # Waiting

    async def _enter(self) -> None:
        """Wait for a place; ClientDisconnect if whoever asked has left meanwhile."""
        lane = self._lane
        if lane.running == 0:
            return
        if lane.places.locked():
            await self._wait()
        else:
            await lane.places.acquire()
        lane.taken += 1

    async def _wait(self) -> None:
        place = asyncio.ensure_future(self._lane.places.acquire())
        tasks: set[asyncio.Future[Any]] = {place}
        if not self._unread:
            self._leaving = asyncio.ensure_future(self._receive_end())
            tasks.add(self._leaving)
        try:
            await asyncio.wait(
                tasks, timeout=self._settings.wait_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if place.done():
                return
        finally:
            if not place.done():
                place.cancel()
        if self._leaving is not None and self._leaving.done():
            raise ClientDisconnect
        raise self._refused(
            "waited",
            f"found no room for {self._settings.wait_seconds:g} s: come again in a moment",
        )

    async def _receive_end(self) -> Message:
        """Wait until whoever asked has left."""
        if self._leaving is not None and self._leaving is not asyncio.current_task():
            return await asyncio.shield(self._leaving)
        while (message := await self._receive())["type"] != "http.disconnect":
            pass
        return message

    # Running

    async def _collect(self, body: bytes, answer: list[Message]) -> None:
        """Run, and keep the answer until the place is free."""
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            return await self._receive_end()

        async def keep(message: Message) -> None:
            answer.append(message)

        try:
            await self._within(self._start(receive, keep))
        except BaseException:
            answer.clear()
            raise

    async def _stream(self) -> None:
        """Run, and pass on each piece; only the beginning of the answer must come in time."""
        begun = asyncio.get_running_loop().create_future()

        async def relay(message: Message) -> None:
            if self._given_up:
                return
            if not begun.done():
                begun.set_result(None)
            await _sent(self._send, message)

        work = self._start(self._next, relay)
        await self._within(work, begun)
        await work

    def _start(self, receive: Receive, send: Send) -> asyncio.Task[None]:
        async def run() -> None:
            with self._limit:
                await self._app(self._scope, receive, send)

        work = asyncio.create_task(run())
        if self._lane.running:
            work.add_done_callback(self._leave)
        return work

    def _leave(self, work: asyncio.Task[None]) -> None:
        self._lane.taken -= 1
        self._lane.places.release()
        if not work.cancelled():
            work.exception()  # of a request that was given up nobody else asks for it

    async def _within(
        self, work: asyncio.Task[None], begun: asyncio.Future[None] | None = None
    ) -> None:
        """Wait until the work is done, or has begun to answer; raises what it raises."""
        seconds = self._settings.request_seconds
        if self._unread:
            seconds += self._settings.upload_seconds
        tasks = {work} if begun is None else {work, begun}
        try:
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._limit.cancel()
            raise
        if work.done():
            await work
        elif begun is None or not begun.done():
            self._given_up = True
            self._limit.cancel()
            raise self._refused("slow", f"this took longer than {seconds:g} s: ask for less")

    def _refused(self, reason: str, detail: str) -> RefusedError:
        return RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, reason, detail, unread=self._unread)

    def _too_large(self) -> RefusedError:
        return RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "large",
            f"a request may hold {self._lane.body_bytes / 2**20:.0f} MiB here: send less",
            unread=True,
        )


async def _sent(send: Send, message: Message) -> None:
    """Send; ClientDisconnect if nobody takes it."""
    try:
        async with asyncio.timeout(STALL_SECONDS):
            await send(message)
    except TimeoutError:
        raise ClientDisconnect from None


def _has_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
