"""`POST /v1/audio/transcriptions` and `/v1/audio/translations`."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from sottovoce.runtime.transcript import Task
from sottovoce.serve.openai.errors import ApiError, busy, refuse
from sottovoce.serve.openai.requests import AudioRequest, read_request
from sottovoce.serve.openai.responses import to_found, to_response
from sottovoce.serve.openai.stream import HEADERS, TranscriptStream
from sottovoce.serve.service import Service
from sottovoce.serve.uploads import Upload
from sottovoce.serve.workers.pool import (
    AudioError,
    BusyError,
    Job,
    OptionError,
    Pool,
    Progress,
    WorkerError,
)
from sottovoce.serve.workers.wire import Done


class AudioEndpoint:
    """Answers requests for the text of a file; an ASGI application."""

    def __init__(self, service: Service, task: Task) -> None:
        self._service = service
        self._task = task

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        try:
            with self._service.working():
                await self._answer(request, send)
        except ApiError as error:
            await refuse(error, scope, send)
        except ClientDisconnect:
            await Response(status_code=499)(scope, receive, send)

    async def _answer(self, request: Request, send: Send) -> None:
        async with self._service.uploads.receive(request) as upload:
            audio = read_request(upload.fields, is_translation=self._task is Task.TRANSLATE)
            pool = self._service.models.pool(audio.model)
            job = self._start(pool, audio, upload)
            updates = _updates(pool, job, audio)
            answer = _stream(updates, audio) if audio.stream else self._whole(updates, audio)
            response = await _unless_gone(request, answer)
            await response(request.scope, request.receive, send)

    def _start(self, pool: Pool, audio: AudioRequest, upload: Upload) -> Job:
        options = audio.options(self._task, max_duration_s=self._service.options.max_duration_s)
        try:
            return pool.add_file(
                options,
                content=upload.content,
                file=upload.file,
                likely_s=upload.likely_s,
                has_pieces=audio.has_log_probabilities,
            )
        except BusyError as error:
            raise busy(error.retry_after_s) from error

    async def _whole(self, updates: "AsyncIterator[Progress | Done]", audio: AudioRequest) -> Response:
        found: list[Progress] = []
        async for update in updates:
            if isinstance(update, Done):
                return to_response(to_found(found, update), audio, self._task)
            found.append(update)
        raise _lost()


async def _stream(updates: "AsyncIterator[Progress | Done]", audio: AudioRequest) -> Response:
    """Start a stream with the first update: audio that is refused has an answer with an error before that."""
    first = await anext(updates)
    events = TranscriptStream(audio).events(first, updates)
    return StreamingResponse(events, media_type="text/event-stream", headers=HEADERS)


async def _updates(pool: Pool, job: Job, audio: AudioRequest) -> "AsyncIterator[Progress | Done]":
    """Yield what comes back of a recording.

    Raises:
        ApiError: the audio or an option is refused, or the recording is lost.
    """
    try:
        async for update in pool.updates(job):
            if isinstance(update, Progress | Done):
                yield update
    except AudioError as error:
        raise ApiError(400, str(error), param="file", code="invalid_audio") from error
    except OptionError as error:
        param = "language" if audio.language or audio.languages else "model"
        raise ApiError(400, str(error), param=param, code="unsupported_value") from error
    except WorkerError as error:
        raise _lost() from error


def _lost() -> ApiError:
    return ApiError(
        503,
        "the audio could not be transcribed; try again",
        code="worker_failed",
        headers={"Retry-After": "1"},
    )


async def _unless_gone(request: Request, answer: Coroutine[Any, Any, Response]) -> Response:
    """Wait for an answer; drop the work where the client goes away before.

    Raises:
        ClientDisconnect: it did.
    """
    work = asyncio.create_task(answer)
    gone = asyncio.create_task(_disconnect(request))
    try:
        await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise ClientDisconnect
    finally:
        for task in (work, gone):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
