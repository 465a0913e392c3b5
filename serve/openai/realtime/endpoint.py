"""`WS /v1/realtime?intent=transcription`: a live session for each connection."""

import asyncio
import base64
import binascii
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.live.events import Committed
from sottovoce.serve.openai.errors import ApiError, error_fields
from sottovoce.serve.openai.realtime.audio import AudioDecoder
from sottovoce.serve.openai.realtime.items import Event, Items
from sottovoce.serve.openai.realtime.settings import Settings, new_id, updated
from sottovoce.serve.service import Service
from sottovoce.serve.workers.pool import AudioError, Job, LiveUpdate, OptionError, Pool, WorkerError

SUBPROTOCOL = "realtime"

LEAST_COMMIT_S = 0.1
"""OpenAI's API takes no shorter audio."""

MOST_AHEAD_S = 30.0
"""Of audio that waits for the worker: a client that sends faster is read no faster."""

GOING_AWAY = 1001


async def realtime(websocket: WebSocket) -> None:
    """Serve a connection."""
    service: Service = websocket.app.state.service
    try:
        with service.live():
            pool = service.models.pool(websocket.query_params.get("model") or service.models.names[0])
            offered = websocket.scope.get("subprotocols", [])
            await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
            await _Connection(service, websocket, pool).run()
    except ApiError as error:
        await websocket.send_denial_response(error.response())


class _Connection:
    """One client: its events in, ours out."""

    def __init__(self, service: Service, websocket: WebSocket, pool: Pool) -> None:
        self._service = service
        self._websocket = websocket
        self._pool = pool
        self._session_id = new_id("sess")
        self._settings = Settings()
        self._items = Items(self._settings)
        self._decoder = self._new_decoder()
        self._job: Job | None = None
        self._pump: asyncio.Task[None] | None = None
        self._fed_s = 0.0
        self._processed_s = 0.0
        self._has_progress = asyncio.Event()

    async def run(self) -> None:
        """Serve until the client goes away or is silent for long, or the server ends."""
        await self._send({"type": "session.created", "session": self._settings.fields(self._session_id)})
        draining = asyncio.create_task(self._service.draining.wait())
        silent_s = self._service.options.connections.silent_s
        try:
            while True:
                receiving = asyncio.create_task(self._websocket.receive())
                await asyncio.wait(
                    [receiving, draining], timeout=silent_s, return_when=asyncio.FIRST_COMPLETED
                )
                if not receiving.done():
                    receiving.cancel()
                    await self._flush()
                    reason = "the server ends" if draining.done() else f"no message came for {silent_s:g} s"
                    await self._websocket.close(GOING_AWAY, reason)
                    return
                if receiving.result()["type"] == "websocket.disconnect":
                    return
                await self._take(receiving.result())
        except WebSocketDisconnect:
            return
        finally:
            draining.cancel()
            await self._drop()

    async def _take(self, message: Any) -> None:
        """Take a message of the client; answer one that is wrong with an error."""
        event: dict[str, Any] = {}
        try:
            if (content := message.get("bytes")) is not None:
                await self._append(content)
                return
            event = _read(message["text"])
            await self._handle(event)
        except ApiError as error:
            fields = dict(error.body["error"]) | {"event_id": event.get("event_id")}
            await self._send({"type": "error", "error": fields})

    async def _handle(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session.update" | "transcription_session.update":
                await self._update(event)
            case "input_audio_buffer.append":
                await self._append(_content(event))
            case "input_audio_buffer.commit":
                await self._commit()
            case "input_audio_buffer.clear":
                await self._drop()
                self._items.forget(self._fed_s)
                self._restart()
                await self._send({"type": "input_audio_buffer.cleared"})
            case other:
                raise ApiError(400, f"{other!a:.60} is no event of a transcription", code="unknown_event")

    async def _update(self, event: dict[str, Any]) -> None:
        settings = updated(self._settings, event)
        settings.options()
        pool = self._pool if settings.model is None else self._service.models.pool(settings.model)
        await self._flush()
        self._pool, self._settings, self._items.settings = pool, settings, settings
        self._decoder = self._new_decoder()
        name = "transcription_session.updated" if settings.is_beta else "session.updated"
        await self._send({"type": name, "session": settings.fields(self._session_id)})

    async def _append(self, content: bytes) -> None:
        await self._feed(self._decoder.decode(content))
        while self._pump is not None and self._fed_s - self._processed_s > MOST_AHEAD_S:
            self._has_progress.clear()
            await self._has_progress.wait()

    async def _feed(self, samples: Any) -> None:
        if not len(samples):
            return
        if self._job is None:
            self._job = self._pool.add_stream(self._settings.options())
            self._pump = asyncio.create_task(self._pass_on(self._job))
        self._pool.feed(self._job, samples.tobytes())
        self._fed_s += len(samples) / SAMPLE_RATE_HZ

    async def _commit(self) -> None:
        if self._fed_s < LEAST_COMMIT_S:
            message = f"the buffer holds {1000 * self._fed_s:.0f} ms of audio, want at least 100 ms"
            raise ApiError(400, message, code="input_audio_buffer_commit_empty")
        n_closed = self._items.n_closed
        await self._flush()
        if self._items.n_closed == n_closed:  # the client waits for an item, though nothing was said
            await self._send_all(self._items.commit())

    async def _flush(self) -> None:
        """End the stream in the worker, and pass its last words on; the next audio starts another one."""
        await self._feed(self._decoder.decode(b"", is_last=True))
        if self._job is not None and self._pump is not None:
            self._pool.end(self._job)
            await self._pump
        if self._items.is_open:
            await self._send_all(self._items.commit())
        self._items.shift(self._fed_s)
        self._restart()

    def _restart(self) -> None:
        self._job = self._pump = None
        self._fed_s = self._processed_s = 0.0
        self._decoder = self._new_decoder()

    async def _drop(self) -> None:
        """Drop the stream."""
        if self._pump is not None:
            self._pump.cancel()
            with suppress(asyncio.CancelledError):
                await self._pump

    async def _pass_on(self, job: Job) -> None:
        """Pass on what the worker finds."""
        try:
            async for update in self._pool.updates(job):
                if isinstance(update, LiveUpdate):
                    self._count(update)
                    for event in update.events:
                        await self._send_all(self._items.take(event))
        except (AudioError, OptionError) as error:
            await self._send({"type": "error", "error": error_fields(400, str(error))})
        except WorkerError:
            fields = error_fields(503, "the last words are lost; go on", code="worker_failed")
            await self._send({"type": "error", "error": fields})
        except (WebSocketDisconnect, RuntimeError):  # the client is gone; `run` finds out too
            return
        finally:
            if self._job is job:
                self._job = self._pump = None
            self._has_progress.set()

    def _count(self, update: LiveUpdate) -> None:
        self._processed_s = update.audio_s
        self._has_progress.set()
        for event in update.events:
            if isinstance(event, Committed):
                for word in event.words:
                    self._service.metrics.live_latency.observe(max(0.0, event.audio_s - word.end_s))

    def _new_decoder(self) -> AudioDecoder:
        given = self._settings.audio.format
        return AudioDecoder(given.type, given.rate)

    async def _send_all(self, events: Iterable[Event]) -> None:
        for event in events:
            await self._send(event)

    async def _send(self, event: Event) -> None:
        await self._websocket.send_text(
            json.dumps({"event_id": new_id("event"), **event}, ensure_ascii=False)
        )


def _read(text: str) -> dict[str, Any]:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "the message is no JSON", code="invalid_json") from error
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise ApiError(400, "the message is no event: it has no type", param="type", code="invalid_event")
    return event


def _content(event: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(event["audio"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise ApiError(400, "audio is no base64", param="audio", code="invalid_value") from error
