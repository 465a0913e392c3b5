"""Who may use the server: keys, names of hosts, origins of browsers."""

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from sottovoce.serve.openai.errors import ApiError, refuse
from sottovoce.serve.options import LOCAL_HOSTS, ServeOptions

OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/health"})
"""Answered without a key; so is the page, which asks for one."""

PAGE = "/page/"

SUBPROTOCOL_KEY = "openai-insecure-api-key."
"""How a browser sends a key for a WebSocket, which it cannot give a header (OpenAI's own clients do so)."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Lets requests through that may use the server; adds the headers that protect what it answers."""

    def __init__(self, app: ASGIApp, options: ServeOptions) -> None:
        self._app = app
        self._keys = [key.encode() for key in options.api_keys]
        self._hosts = None if _is_public(options) and not options.hosts else _names(options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check_host(headers)
            self._check_origin(headers)
            self._check_key(scope, headers)
        except ApiError as error:
            await _refuse(error, scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answered.setdefault(name, value)
                answered.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _check_host(self, headers: Headers) -> None:
        """Refuse names that are not the server's: a page of a stranger may resolve its own to this machine."""
        if self._hosts is not None and _host_of(headers.get("host", "")) not in self._hosts:
            raise ApiError(403, "this host name is not the server's; allow it with --allow-host", code="host")

    @staticmethod
    def _check_origin(headers: Headers) -> None:
        """Refuse the scripts of other pages, which a browser would let connect."""
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            raise ApiError(403, "pages of other origins may not use this server", code="origin")

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        path = scope["path"]
        if not self._keys or path in OPEN_PATHS or path.startswith(PAGE):
            return
        given = _key_of(headers).encode()
        # All are compared, in constant time each: the time that it takes says nothing.
        matches = [hmac.compare_digest(given, key) for key in self._keys]
        if not any(matches):
            raise ApiError(
                401,
                "the API key is missing or wrong; send it as Authorization: Bearer KEY",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )


def _key_of(headers: Headers) -> str:
    """Return the key of a request: of its header, or of a WebSocket's subprotocols."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    offered = [each.strip() for each in headers.get("sec-websocket-protocol", "").split(",")]
    return next(
        (each.removeprefix(SUBPROTOCOL_KEY) for each in offered if each.startswith(SUBPROTOCOL_KEY)), ""
    )


def _is_public(options: ServeOptions) -> bool:
    return options.host not in LOCAL_HOSTS


def _names(options: ServeOptions) -> frozenset[str]:
    return LOCAL_HOSTS | {options.host} | {name.lower() for name in options.hosts}


def _host_of(header: str) -> str:
    """Return the name in a `Host` header, without its port."""
    host = header.lower().strip()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


async def _refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(error.response())
        return
    error.headers["Connection"] = "close"
    await refuse(error, scope, send)
