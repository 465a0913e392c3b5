"""The routes of the server, and what each request passes on its way to them."""

import logging
from importlib import import_module
from types import ModuleType

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from sottovoce.runtime.transcript import Task
from sottovoce.serve.logs import AccessLog
from sottovoce.serve.openai.errors import ApiError
from sottovoce.serve.openai.transcriptions import AudioEndpoint
from sottovoce.serve.page.files import page_routes
from sottovoce.serve.security import Guard
from sottovoce.serve.service import Service

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

log = logging.getLogger("sottovoce.serve")


def make_app(service: Service) -> Starlette:
    """Make the application of a service."""

    async def models(_: Request) -> Response:
        listed = [service.models.fields(name) for name in service.models.names]
        return JSONResponse({"object": "list", "data": listed})

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        service.models.pool(name)
        return JSONResponse(service.models.fields(name))

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_: Request) -> Response:
        return PlainTextResponse(
            "ready\n" if service.is_ready else "not ready\n", 200 if service.is_ready else 503
        )

    async def metrics(_: Request) -> Response:
        return Response(service.metrics.text(), media_type=METRICS_TYPE)

    transcribe = AudioEndpoint(service, Task.TRANSCRIBE)
    translate = AudioEndpoint(service, Task.TRANSLATE)
    app = Starlette(
        routes=[
            Route("/v1/audio/transcriptions", transcribe, methods=["POST"]),
            Route("/v1/audio/translations", translate, methods=["POST"]),
            Route("/v1/models", models),
            Route("/v1/models/{name:path}", model),
            Route("/healthz", health),
            Route("/health", health),
            Route("/readyz", ready),
            Route("/metrics", metrics),
            WebSocketRoute("/v1/realtime", _realtime),
            *page_routes(),
        ],
        middleware=[Middleware(AccessLog, service.metrics), Middleware(Guard, service.options)],
        exception_handlers={
            ApiError: _api_error,
            HTTPException: _http_error,
            ClientDisconnect: _gone,
            Exception: _unexpected,
        },
    )
    app.state.service = service
    return app


def import_live() -> ModuleType:
    """Import the endpoint of live sessions, which is not needed until there is one: it takes numpy along."""
    return import_module("sottovoce.serve.openai.realtime.endpoint")


async def _realtime(socket: WebSocket) -> None:
    await import_live().realtime(socket)


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 - of this handler
    return error.response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - of this handler
    messages = {404: f"{request.method} {request.url.path:.100} does not exist"}
    return ApiError(error.status_code, messages.get(error.status_code, error.detail)).response()


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=499)


async def _unexpected(_: Request, error: Exception) -> Response:
    log.error("unexpected %s", type(error).__name__)
    return ApiError(500, "an error of the server; its log has the request id", code="internal").response()
