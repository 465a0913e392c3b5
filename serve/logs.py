"""The log: one JSON object a line, never text, audio, keys or names of files."""

import json
import logging
import re
import secrets
import sys
import time
from contextvars import ContextVar
from datetime import UTC, datetime

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sottovoce.serve.metrics import Metrics

REQUEST_ID = "X-Request-ID"
_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")

_FIELDS = ("request_id", "method", "path", "status", "seconds", "pid", "audio_s", "address")
"""What a record may carry."""

log = logging.getLogger("sottovoce.serve")

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


class JsonFormatter(logging.Formatter):
    """Writes a record as JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        fields |= {name: vars(record)[name] for name in _FIELDS if name in vars(record)}
        if "request_id" not in fields and (request_id := _request_id.get()) is not None:
            fields["request_id"] = request_id
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = record.exc_info[0].__name__
        return json.dumps(fields)


def log_to_stderr(level: int) -> None:
    """Send the log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in ("sottovoce.serve", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level if name == "sottovoce.serve" else logging.WARNING)


class AccessLog:
    """Gives each request an id, which the answer has too; logs and counts it when it is over."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = _given_id(scope) or f"req_{secrets.token_hex(12)}"
        _request_id.set(request_id)
        started = time.monotonic()
        status = 499  # the client went away before an answer, as in nginx
        answered: float | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)
            if message["type"] == "http.response.body" and message.get("body"):
                answered = time.monotonic()  # dropping the rest of a refused upload comes after it

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = (answered or time.monotonic()) - started
            path = self._metrics.count_request(scope, status, seconds)
            log.info(
                "request",
                extra={
                    "request_id": request_id,
                    "method": scope.get("method", "WS"),
                    "path": path,
                    "status": status,
                    "seconds": round(seconds, 4),
                },
            )


def _given_id(scope: Scope) -> str | None:
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if _ID.match(given) else None
