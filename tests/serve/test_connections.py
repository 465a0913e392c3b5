"""Clients that send slowly, or nothing, hold no connection for long."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from sottovoce.serve.connections import REFUSED_IDLE_S, http_config
from sottovoce.serve.metrics import Metrics
from sottovoce.serve.models import Models
from sottovoce.serve.openai.errors import ApiError, refuse
from sottovoce.serve.openai.realtime.endpoint import realtime
from sottovoce.serve.options import ConnectionLimits, ServedModel, ServeOptions, UploadLimits
from sottovoce.serve.service import Service
from sottovoce.serve.uploads import Uploads
from sottovoce.serve.workers.pool import Pool

LIMITS = ConnectionLimits(head_s=0.5, keep_alive_s=5, unread_s=0.5, count=8)
PATIENCE_S = 10.0
HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
UPLOAD_HEAD = (
    b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    b"Content-Length: 100000\r\n\r\n"
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
)
CHUNKED = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n" + b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n0\r\n\r\n"
LARGE_BYTES = 64 * 1024**2

uploads = Uploads(UploadLimits(idle_s=0.5, least_bytes_per_s=1000))


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Take an upload, give something large, or say that all is well."""
    try:
        response = await _answer(Request(scope, receive))
    except ApiError as error:
        await refuse(error, scope, send)
        return
    await response(scope, receive, send)


async def _answer(request: Request) -> Response:
    match request.url.path:
        case "/upload":
            async with uploads.receive(request) as upload:
                return JSONResponse(upload.n_bytes)
        case "/large":
            return Response(bytes(LARGE_BYTES))
        case _:
            await asyncio.sleep(float(request.query_params.get("wait", 0)))
            return PlainTextResponse("ok\n")


@contextmanager
def listening(limits: ConnectionLimits) -> Iterator[int]:
    """Serve on a free port, in a thread."""
    server = uvicorn.Server(http_config(app, limits))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(PATIENCE_S)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with listening(LIMITS) as found:
        yield found


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def read_all(connection: socket.socket) -> bytes:
    return connection.makefile("rb").read()


def drip(connection: socket.socket, content: bytes, times: int, pause_s: float) -> bool:
    """Send a few bytes again and again; return whether the other end took them all."""
    try:
        for _ in range(times):
            connection.sendall(content)
            time.sleep(pause_s)
    except OSError:
        return False
    return True


def test_a_head_that_does_not_end_is_answered_with_408(port: int) -> None:
    started = time.monotonic()
    with connect(port) as connection:
        connection.sendall(HEAD)
        drip(connection, b"X-More: x\r\n", times=8, pause_s=0.1)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout")
    assert b"did not come within 0.5 s" in answer
    assert time.monotonic() - started < PATIENCE_S / 2


@pytest.mark.parametrize("given", [b"\x00\x01 no HTTP\r\n\r\n", HEAD + b"X-A: " + b"x" * 4_000_000])
def test_what_is_no_http_is_answered_with_400(port: int, given: bytes) -> None:
    """A connection that is closed while a long head is sent loses the answer."""
    started = time.monotonic()
    with connect(port) as connection:
        sender = threading.Thread(target=drip, args=(connection, given, 1, 0.0))
        sender.start()
        time.sleep(0.1)
        answer = read_all(connection)
        sender.join()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request")
    assert answer.endswith(b"Invalid HTTP request received.\n")
    assert time.monotonic() - started < REFUSED_IDLE_S / 2


def test_a_second_request_on_a_connection_has_the_same_limit(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(HEAD + b"\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.sendall(HEAD)
        assert b"HTTP/1.1 408" in read_all(connection)


def test_a_connection_on_which_nothing_comes_is_closed(port: int) -> None:
    with connect(port) as connection:
        assert read_all(connection) == b""


def test_work_on_a_request_may_take_longer_than_its_head(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"GET /?wait=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200")


def test_an_endless_body_behind_an_answer_is_cut(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000000000\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        assert not drip(connection, b"x", times=100, pause_s=0.05)


def test_a_client_that_does_not_read_is_cut(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(1.0)
        assert 0 < len(read_all(connection)) < LARGE_BYTES


@pytest.mark.parametrize(("piece", "reason"), [(b"", b"nothing came"), (b"x", b"is slower than")])
def test_a_body_that_comes_slowly_or_not_is_answered_with_408(port: int, piece: bytes, reason: bytes) -> None:
    """One that states a large size keeps room from others as long as it takes."""
    with connect(port) as connection:
        connection.sendall(UPLOAD_HEAD)
        drip(connection, piece, times=9, pause_s=0.1)
        answer = b""
        while found := connection.recv(4096):
            answer += found
            if reason in answer:
                break
    assert answer.startswith(b"HTTP/1.1 408")
    assert reason in answer


def test_a_refused_client_that_sends_before_it_reads_sees_why(port: int) -> None:
    """One whose connection is reset, with bytes that were not read, loses an answer that it has not read."""
    with connect(port) as connection:
        connection.sendall(b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
        sender = threading.Thread(target=drip, args=(connection, bytes(1024**2), 950, 0.0))
        sender.start()
        time.sleep(0.5)
        assert connection.recv(4096).startswith(b"HTTP/1.1 400")
        connection.shutdown(socket.SHUT_RDWR)
        sender.join()


@pytest.mark.parametrize("body", [b"x" * 200_000, CHUNKED])
def test_a_connection_is_closed_once_a_refused_client_has_sent_all(port: int, body: bytes) -> None:
    length = b"Transfer-Encoding: chunked" if body is CHUNKED else b"Content-Length: %d" % len(body)
    started = time.monotonic()
    with connect(port) as connection:
        connection.sendall(
            b"POST /upload HTTP/1.1\r\nHost: localhost\r\n" + length + b"\r\n\r\n" + body[:100_000]
        )
        answer = connection.recv(4096)
        connection.sendall(body[100_000:])
        answer += read_all(connection)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"multipart" in answer
    assert time.monotonic() - started < REFUSED_IDLE_S / 2


def test_many_connections_without_a_request_leave_room_for_others() -> None:
    with listening(ConnectionLimits(head_s=PATIENCE_S, count=4)) as port:
        idle = [connect(port) for _ in range(12)]
        time.sleep(0.2)
        with connect(port) as connection:
            connection.sendall(HEAD + b"Connection: close\r\n\r\n")
            assert read_all(connection).startswith(b"HTTP/1.1 200")
        assert idle[0].recv(1) == b""
        for each in idle:
            each.close()


def test_a_silent_live_session_is_closed(tmp_path: Path) -> None:
    """The server has few of them."""
    model = ServedModel(name="base", variant=tmp_path)
    options = ServeOptions(models=(model,), connections=ConnectionLimits(silent_s=0.3))
    service = Service(options=options, models=Models([(model, Pool([]))]), metrics=Metrics())
    live = Starlette(routes=[WebSocketRoute("/v1/realtime", realtime)])
    live.state.service = service
    with TestClient(live).websocket_connect("/v1/realtime") as session:
        assert session.receive_json()["type"] == "session.created"
        with pytest.raises(WebSocketDisconnect) as closed:
            session.receive_json()
    assert (closed.value.code, closed.value.reason) == (1001, "no message came for 0.3 s")
