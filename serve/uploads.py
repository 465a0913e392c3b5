"""Take in an upload: bounded while it arrives, in memory or in a file without a name."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive

from sottovoce.serve.openai.errors import ApiError, busy
from sottovoce.serve.options import UploadLimits

FORM_BYTES = 1024 * 1024
"""Of a request beside its file."""

BYTES_PER_S = 16_000
"""Of the audio of a file, before its header is read: 128 kbit/s."""

RETRY_S = 5
"""When other uploads may be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An upload that has arrived.

    Attributes:
        fields: of the form, in order; the file is not among them.
        content: the file, where it is in memory.
        file: descriptor of the file, where it is not.
        n_bytes: of the file.
    """

    fields: tuple[tuple[str, str], ...]
    content: bytes
    file: int | None
    n_bytes: int

    @property
    def likely_s(self) -> float:
        """A guess of the duration of the audio."""
        if self.content[:4] == b"RIFF" and len(self.content) > 32:  # noqa: PLR2004 - of the header
            rate = int.from_bytes(self.content[28:32], "little")
            return self.n_bytes / max(rate, BYTES_PER_S)
        return self.n_bytes / BYTES_PER_S


class Uploads:
    """The uploads that arrive now."""

    def __init__(self, limits: UploadLimits) -> None:
        self._limits = limits
        self._n_bytes = 0

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[Upload]:
        """Receive a form with a file, which is closed at the end of the block.

        Raises:
            ApiError: it is no form, too large, too slow, or has no file.
            ClientDisconnect: the client is gone.
        """
        counted = _Counted(request.receive, self, self._limits)
        try:
            counted.reserve(_stated_bytes(request))
            form = await _parse(Request(request.scope, counted.receive), self._limits)
        except ApiError as error:
            error.headers["Connection"] = "close"  # the rest of the body is not taken in
            raise
        finally:
            self._n_bytes -= counted.reserved
        try:
            yield await _read(form)
        finally:
            await form.close()

    def reserve(self, n_bytes: int) -> None:
        """Make room for more bytes.

        Raises:
            ApiError: there is none.
        """
        if self._n_bytes + n_bytes > self._limits.all_bytes:
            raise busy(RETRY_S)
        self._n_bytes += n_bytes


class _Counted:
    """Receives the body of a request, and counts it."""

    def __init__(self, receive: Receive, uploads: Uploads, limits: UploadLimits) -> None:
        self._receive = receive
        self._uploads = uploads
        self._limits = limits
        self._n_bytes = 0
        self._started_s = time.monotonic()
        self.reserved = 0

    def reserve(self, n_bytes: int) -> None:
        """Make room for a body of so many bytes.

        Raises:
            ApiError: it is too large, or there is no room.
        """
        if n_bytes > self._limits.file_bytes + FORM_BYTES:
            raise _too_large(self._limits)
        if n_bytes > self.reserved:
            self._uploads.reserve(n_bytes - self.reserved)
            self.reserved = n_bytes

    async def receive(self) -> Message:
        try:
            async with asyncio.timeout(self._limits.idle_s):
                message = await self._receive()
        except TimeoutError as error:
            raise ApiError(408, f"nothing came for {self._limits.idle_s:g} s", code="timeout") from error
        self._n_bytes += len(message.get("body", b""))
        self.reserve(self._n_bytes)
        self._check_speed()
        return message

    def _check_speed(self) -> None:
        allowed_s = self._limits.idle_s + self._n_bytes / self._limits.least_bytes_per_s
        if time.monotonic() - self._started_s > allowed_s:
            raise ApiError(
                408,
                f"the upload is slower than {self._limits.least_bytes_per_s} bytes per second",
                code="timeout",
            )


def _stated_bytes(request: Request) -> int:
    """Return the size of the body that the header states; 0 where it states none."""
    stated = request.headers.get("content-length", "")
    return int(stated) if stated.isdecimal() else 0


def _too_large(limits: UploadLimits) -> ApiError:
    return ApiError(
        413, f"the file is larger than {limits.file_bytes // 1024**2} MB", param="file", code="file_too_large"
    )


async def _parse(request: Request, limits: UploadLimits) -> Any:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise ApiError(400, "the request is no multipart/form-data; send the audio as the field file")
    try:
        return await request.form(max_files=1, max_fields=limits.fields, max_part_size=limits.field_bytes)
    except HTTPException as error:
        raise ApiError(400, str(error.detail), code="invalid_form") from error


async def _read(form: Any) -> Upload:
    upload = form.get("file")
    if not isinstance(upload, UploadFile):
        raise ApiError(400, "file is missing; send the audio as the field file", param="file")
    fields = tuple((name, value) for name, value in form.multi_items() if isinstance(value, str))
    n_bytes = upload.size or 0
    if getattr(upload.file, "_rolled", False):
        return Upload(fields=fields, content=b"", file=upload.file.fileno(), n_bytes=n_bytes)
    return Upload(fields=fields, content=await upload.read(), file=None, n_bytes=n_bytes)
