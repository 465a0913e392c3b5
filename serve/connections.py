"""Connections that are bounded in time and number: a client that sends nothing, or not to an end, holds none for long."""

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

from sottovoce.serve.options import ConnectionLimits

BACKLOG = 512
DISCARD = "sottovoce.discard"
"""Extension of ASGI: an asynchronous function that drops what a client still sends after it has its answer."""

REFUSED_S = 30.0
"""So long a client that was refused may go on sending (nginx's `lingering_time`), ..."""

REFUSED_IDLE_S = 5.0
"""... without a pause of so long (its `lingering_timeout`), ..."""

REFUSED_BYTES = 64 * 1024**2
"""... and so much, ..."""

PORTION_BYTES = 16 * 1024**2
"""... of which so much is dropped at a time, ..."""

HOLD_S = 0.25
"""... after nothing was read for so long: a client that reads its answer meanwhile stops, and what it does not send costs nothing."""

BAD_REQUEST_IDLE_S = 0.5
"""The pause of a client that does not speak HTTP, in place of `REFUSED_IDLE_S`."""

READ_BYTES = 64 * 1024
"""From a connection at once: asyncio's 256 KiB are mapped and cleared by the system each time."""

LAST_CHUNK = b"0\r\n\r\n"
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Of a WebSocket: OpenAI allows 15 MiB of audio in one."""


def http_config(app: ASGIApp, limits: ConnectionLimits) -> uvicorn.Config:
    """Return the settings under which an application is served."""
    return uvicorn.Config(
        app,
        lifespan="off",
        http=_bounded(limits),
        log_config=None,
        access_log=False,
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=limits.keep_alive_s,
        backlog=BACKLOG,
    )


def _bounded(limits: ConnectionLimits) -> type[H11Protocol]:
    return type("BoundedHttp", (BoundedHttp,), {"limits": limits})


class BoundedHttp(H11Protocol):
    """HTTP/1.1 with a time limit for the head of a request, which uvicorn has not.

    It runs while no request is worked on: from the start of a connection, or from the first byte after an answer. It bounds what
    is left of a refused body too. Where there are too many connections, the oldest one without a request is closed, so that
    health checks are answered.

    Attributes:
        limits: of each connection, and of all.
    """

    limits = ConnectionLimits()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._opened_s = self.loop.time()
        self._n_body_bytes = 0
        self._unwanted: _Unwanted | None = None
        self._closing: asyncio.Task[None] | None = None
        self._answer = self.app
        self.app = self._answer_with_discard

    async def _answer_with_discard(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request; it may ask that what the client still sends is dropped."""
        self._n_body_bytes = 0

        async def counted() -> Any:
            message = await receive()
            self._n_body_bytes += len(message.get("body", b""))
            return message

        scope["extensions"] = {DISCARD: self.discard}
        try:
            await self._answer(scope, counted, send)
        finally:
            scope["extensions"] = {}  # else the connection refers to itself, and its memory is freed late

    async def discard(self) -> None:
        """Drop what the client still sends: one that is cut off while it sends sees no answer.

        It is dropped as bytes, since reading it as HTTP would keep other clients waiting.
        """
        stated = dict(self.headers).get(b"content-length")
        n_received = self._n_body_bytes + len(self.cycle.body)
        n_left = REFUSED_BYTES if stated is None else min(REFUSED_BYTES, int(stated) - n_received)
        self._unwanted = _Unwanted(n_left, is_chunked=stated is None)
        self.cycle.body.clear()
        await self._unwanted.wait(self.flow, REFUSED_IDLE_S)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or has a head that is too long; drop what follows, so that the answer is not lost."""
        self._write_answer(400, f"{msg}\n")
        self._unwanted = _Unwanted(REFUSED_BYTES, is_chunked=False)
        self._closing = self.loop.create_task(self._close_after(self._unwanted))

    async def _close_after(self, unwanted: "_Unwanted") -> None:
        await unwanted.wait(self.flow, BAD_REQUEST_IDLE_S)
        self.transport.close()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit; close another connection where there are too many."""
        super().connection_made(transport)
        transport.max_size = READ_BYTES  # type: ignore[attr-defined]  # of asyncio's own transport
        self._deadline = self.loop.call_later(self.limits.head_s, self._expire)
        if len(self.connections) > self.limits.count:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Take bytes in; start or stop the time limit."""
        if self._unwanted is not None:
            self._unwanted.drop(data)
            return
        super().data_received(data)
        if not self.is_waiting:
            self._stop_deadline()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.limits.head_s, self._expire)

    def pause_writing(self) -> None:
        """Start the time limit of a client that does not read."""
        super().pause_writing()
        self._stall = self.loop.call_later(self.limits.unread_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the time limit of a client that does not read."""
        super().resume_writing()
        self._stop_stall()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the time limits."""
        if self._unwanted is not None:
            self._unwanted.end()
        self.app = self._answer  # see `_answer_with_discard`
        self._stop_deadline()
        self._stop_stall()
        super().connection_lost(exc)

    @property
    def is_waiting(self) -> bool:
        """Whether no request is worked on."""
        if self.transport.get_protocol() is not self:  # a WebSocket took it over
            return False
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]  # of uvicorn

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _stop_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _expire(self) -> None:
        """Close the connection, with a reason where a part of a request came."""
        self._deadline = None
        if not self.is_waiting or self.transport.is_closing():
            return
        has_part, _ = self.conn.trailing_data
        if has_part and self.conn.our_state is h11.IDLE:
            self._answer_timeout()
        self.transport.close()

    def _answer_timeout(self) -> None:
        self._write_answer(408, f"the head of the request did not come within {self.limits.head_s:g} s\n")

    def _write_answer(self, status: int, text: str) -> None:
        """Answer without the application."""
        body = text.encode()
        headers = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body)))]
        reason = HTTPStatus(status).phrase.encode()
        answer = h11.Response(status_code=status, reason=reason, headers=[*headers, ("connection", "close")])
        for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))

    def _make_room(self) -> None:
        """Close the oldest connection without a request, if there is one."""
        waiting = [each for each in self.connections if isinstance(each, BoundedHttp) and each.is_waiting]
        oldest = min(waiting, key=lambda each: each._opened_s)  # noqa: SLF001 - of this class
        oldest.transport.close()


class _Unwanted:
    """What a client sends after its answer."""

    def __init__(self, n_left: int, *, is_chunked: bool) -> None:
        self._n_left = n_left
        self._is_chunked = is_chunked
        self._has_changed = asyncio.Event()

    def drop(self, data: bytes) -> None:
        """Count bytes."""
        self._n_left -= len(data)
        if self._is_chunked and data.endswith(LAST_CHUNK):
            self._n_left = 0
        self._has_changed.set()

    def end(self) -> None:
        """Take note that nothing follows."""
        self._n_left = 0
        self._has_changed.set()

    async def wait(self, flow: FlowControl, idle_s: float) -> None:
        """Wait until all is dropped, or the client sends too long, too much or nothing.

        Args:
            flow: of the connection.
            idle_s: without a byte.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(REFUSED_S):
                while self._n_left > 0:
                    flow.pause_reading()
                    await asyncio.sleep(HOLD_S)
                    flow.resume_reading()
                    await self._wait_until(self._n_left - PORTION_BYTES, idle_s)

    async def _wait_until(self, n_left: int, idle_s: float) -> None:
        while self._n_left > max(0, n_left):
            self._has_changed.clear()
            async with asyncio.timeout(idle_s):
                await self._has_changed.wait()
