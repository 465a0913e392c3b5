"""`POST /v1/audio/transcriptions` and `/v1/audio/translations`."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from sottovoce.runtime.transcript import Segment, Task
from sottovoce.serve.openai.errors import ApiError, busy
from sottovoce.serve.openai.requests import AudioRequest, read_request
from sottovoce.serve.openai.responses import to_response, to_transcript
from sottovoce.serve.service import Service
from sottovoce.serve.uploads import Upload
from sottovoce.serve.workers.pool import AudioError, BusyError, Job, OptionError, Pool, Progress, WorkerError
from sottovoce.serve.workers.wire import Done


class AudioEndpoint:
    """Answers requests for the text of a file."""

    def __init__(self, service: Service, task: Task) -> None:
        self._service = service
        self._task = task

    async def answer(self, request: Request) -> Response:
        """Answer a request."""
        with self._service.working():
            return await self._answer_open(request)

    async def _answer_open(self, request: Request) -> Response:
        async with self._service.uploads.receive(request) as upload:
            audio = read_request(upload.fields, is_translation=self._task is Task.TRANSLATE)
            pool = self._service.models.pool(audio.model)
            job = self._start(pool, audio, upload)
            return await _unless_gone(request, self._answer(pool, job, audio))

    def _start(self, pool: Pool, audio: AudioRequest, upload: Upload) -> Job:
        options = audio.options(self._task, max_duration_s=self._service.options.max_duration_s)
        try:
            return pool.add_file(options, content=upload.content, file=upload.file, likely_s=upload.likely_s)
        except BusyError as error:
            raise busy(error.retry_after_s) from error

    async def _answer(self, pool: Pool, job: Job, audio: AudioRequest) -> Response:
        segments: list[Segment] = []
        done: Done | None = None
        try:
            async for update in pool.updates(job):
                if isinstance(update, Progress):
                    segments += update.segments
                elif isinstance(update, Done):
                    done = update
        except AudioError as error:
            raise ApiError(400, str(error), param="file", code="invalid_audio") from error
        except OptionError as error:
            param = "language" if audio.language or audio.languages else "model"
            raise ApiError(400, str(error), param=param, code="unsupported_value") from error
        except WorkerError as error:
            raise lost() from error
        if done is None:
            raise lost()
        transcript = to_transcript(segments, done.language, done.language_probability, done.duration_s)
        return to_response(transcript, audio, self._task)


def lost() -> ApiError:
    """Return the error of a recording that no worker could do."""
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
