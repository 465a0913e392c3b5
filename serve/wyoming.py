"""The Wyoming protocol of Home Assistant: a line of JSON for each event, data and samples behind it, over TCP.

The transcript is streamed while the audio comes (`transcript-start`, `transcript-chunk`, `transcript-stop`); `transcript` has all
of it, for clients that know nothing else. The protocol has no keys.
"""

import asyncio
import json
import logging
from contextlib import suppress
from typing import Any

from sottovoce import __version__
from sottovoce.runtime.live.events import Committed
from sottovoce.runtime.live.options import LiveOptions
from sottovoce.serve.openai.errors import ApiError
from sottovoce.serve.openai.realtime.audio import MAX_RATE_HZ, MIN_RATE_HZ, AudioDecoder, AudioFormat
from sottovoce.serve.service import Service
from sottovoce.serve.workers.pool import AudioError, Job, LiveUpdate, OptionError, Pool, WorkerError

MAX_LINE_BYTES = 64 * 1024
MAX_DATA_BYTES = 64 * 1024
MAX_PAYLOAD_BYTES = 1024 * 1024
IDLE_S = 60.0
MAX_CONNECTIONS = 64
SAMPLE_BYTES = 2

ATTRIBUTION = {"name": "The sottovoce authors", "url": ""}

Event = dict[str, Any]

log = logging.getLogger("sottovoce.serve")


class WyomingError(Exception):
    """What a client sent cannot be used; the message says why."""


async def start_wyoming(service: Service, host: str, port: int) -> asyncio.Server:
    """Listen for clients."""
    slots = asyncio.Semaphore(MAX_CONNECTIONS)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if slots.locked():
            writer.close()
            return
        async with slots:
            await _talk(service, reader, writer)

    return await asyncio.start_server(take, host, port, limit=MAX_LINE_BYTES)


async def _talk(service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await _Connection(service, reader, writer).run()
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        log.debug("a Wyoming client is gone")
    finally:
        writer.close()


class _Connection:
    """One client: requests follow one another."""

    def __init__(self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._service = service
        self._reader = reader
        self._writer = writer
        self._request: Event = {}

    async def run(self) -> None:
        """Serve until the client goes away."""
        try:
            while (found := await self._read()) is not None:
                event, _ = found
                match event["type"]:
                    case "describe":
                        await self._send("info", _info(self._service))
                    case "ping":
                        await self._send("pong", event["data"])
                    case "transcribe":
                        self._request = event["data"]
                    case "audio-start":
                        await self._transcribe(event["data"])
                        self._request = {}
                    case _:
                        pass  # the protocol grows; what is new is not for us
        except WyomingError as error:
            await self._send("error", {"text": str(error), "code": "invalid"})
        except (ApiError, AudioError, OptionError, WorkerError) as error:
            await self._send("error", {"text": str(error), "code": "failed"})

    async def _transcribe(self, start: Event) -> None:
        """Transcribe the audio that follows, up to its end."""
        pool = self._service.models.pool(self._request.get("name") or self._service.models.names[0])
        decoder = _decoder(start)
        options = _options(self._request)
        with self._service.live():
            job = pool.add_stream(options)
            passing = asyncio.create_task(self._pass_on(pool, job))
            try:
                await self._feed(pool, job, decoder)
                await passing
            finally:
                passing.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await passing

    async def _feed(self, pool: Pool, job: Job, decoder: AudioDecoder) -> None:
        while (found := await self._read()) is not None:
            event, payload = found
            if event["type"] == "audio-chunk":
                pool.feed(job, decoder.decode(payload).tobytes())
            elif event["type"] == "audio-stop":
                pool.feed(job, decoder.decode(b"", is_last=True).tobytes())
                pool.end(job)
                return
        raise asyncio.IncompleteReadError(b"", None)

    async def _pass_on(self, pool: Pool, job: Job) -> None:
        language = {"language": self._request["language"]} if self._request.get("language") else {}
        await self._send("transcript-start", language)
        text = ""
        async for update in pool.updates(job):
            if isinstance(update, LiveUpdate):
                for event in update.events:
                    if isinstance(event, Committed):
                        said = "".join(word.text for word in event.words)
                        chunk = said if text else said.lstrip()
                        text += chunk
                        await self._send("transcript-chunk", {"text": chunk})
        await self._send("transcript", {"text": text.strip(), **language})
        await self._send("transcript-stop", {})

    async def _read(self) -> tuple[Event, bytes] | None:
        """Read an event and its payload; None: the client is gone.

        Raises:
            WyomingError: it is none, or too large.
        """
        try:
            async with asyncio.timeout(IDLE_S):
                line = await self._reader.readline()
                if not line:
                    return None
                event = json.loads(line)
                data = event.get("data") or {}
                if n_data := _size(event, "data_length", MAX_DATA_BYTES):
                    data |= json.loads(await self._reader.readexactly(n_data))
                n_payload = _size(event, "payload_length", MAX_PAYLOAD_BYTES)
                payload = await self._reader.readexactly(n_payload)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise WyomingError("this is no event of the Wyoming protocol") from error
        return {"type": str(event.get("type")), "data": data}, payload

    async def _send(self, kind: str, data: Event) -> None:
        content = json.dumps(data, ensure_ascii=False).encode()
        head = {"type": kind, "version": __version__, "data_length": len(content)}
        self._writer.write(json.dumps(head).encode() + b"\n" + content)
        await self._writer.drain()


def _size(event: Event, name: str, most: int) -> int:
    size = event.get(name) or 0
    if not isinstance(size, int) or not 0 <= size <= most:
        raise WyomingError(f"{name} is {size!a:.20}, want at most {most}")
    return size


def _decoder(start: Event) -> AudioDecoder:
    rate, width, channels = (start.get(name) for name in ("rate", "width", "channels"))
    is_known = isinstance(rate, int) and MIN_RATE_HZ <= rate <= MAX_RATE_HZ
    if not is_known or (width, channels) != (SAMPLE_BYTES, 1):
        raise WyomingError("the audio must have one channel, 16 bits and 8000 to 48000 Hz")
    return AudioDecoder(AudioFormat.PCM, int(str(rate)))


def _options(request: Event) -> LiveOptions:
    names = [*(request.get("transcript_names") or ()), *(request.get("transcript_terms") or ())]
    return LiveOptions(language=request.get("language"), hotwords=", ".join(map(str, names)) or None)


def _info(service: Service) -> Event:
    models = [
        {
            "name": name,
            "attribution": ATTRIBUTION,
            "installed": True,
            "description": name,
            "version": __version__,
            "languages": service.models.pool(name).languages,
        }
        for name in service.models.names
    ]
    program = {
        "name": "sottovoce",
        "attribution": ATTRIBUTION,
        "installed": True,
        "description": "Whisper, small and quick on CPUs",
        "version": __version__,
        "models": models,
        "supports_transcript_streaming": True,
    }
    return {"asr": [program], "tts": [], "handle": [], "intent": [], "wake": [], "mic": [], "snd": []}
