"""Errors as OpenAI's API gives them: `{"error": {"message", "type", "param", "code"}}`."""

from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Scope, Send

from sottovoce.serve.connections import DISCARD


class ApiError(Exception):
    """An answer with an error.

    Attributes:
        status: of HTTP.
        body: of the answer.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": error_fields(status, message, param=param, code=code)}
        self.headers = headers or {}

    def response(self) -> JSONResponse:
        """Return the answer."""
        return JSONResponse(self.body, self.status, self.headers)


def error_fields(
    status: int, message: str, *, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """Return an error as JSON has it; its type follows from the status."""
    return {"message": message, "type": _type_of(status), "param": param, "code": code}


def _type_of(status: int) -> str:
    if status >= 500:  # noqa: PLR2004 - of HTTP
        return "server_error"
    return {401: "authentication_error", 403: "permission_error"}.get(status, "invalid_request_error")


def busy(retry_after_s: int) -> ApiError:
    """Return the error of a server that is full."""
    return ApiError(
        503,
        f"the server has as much audio as it takes; try again in {retry_after_s} s",
        code="overloaded",
        headers={"Retry-After": str(retry_after_s)},
    )


async def refuse(error: ApiError, scope: Scope, send: Send) -> None:
    """Answer with an error, and take in what the client still sends: one that is cut off while it sends sees no answer."""
    response = error.response()
    await send(
        {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
    )
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    if "Connection" in error.headers and Headers(scope=scope).get("expect", "").lower() != "100-continue":
        discard = scope.get("extensions", {}).get(DISCARD)
        if discard is not None:
            await discard()
    await send({"type": "http.response.body", "body": b""})
