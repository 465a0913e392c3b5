"""A transcript as server-sent events, in OpenAI's form: `transcript.text.delta` and `transcript.text.done`.

With the format `verbose_json` each delta also has its `segment`, with its `words` where they are wanted, and the last
event the `language` and the `duration`: additions of ours, for programs that show progress.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Any

from sottovoce.languages import language_name
from sottovoce.runtime.output.formats import encodable, rounded
from sottovoce.runtime.transcript import Segment
from sottovoce.serve.openai.errors import ApiError
from sottovoce.serve.openai.requests import AudioRequest, ResponseFormat
from sottovoce.serve.openai.responses import log_probabilities, segment_fields, words_fields
from sottovoce.serve.workers.pool import Progress
from sottovoce.serve.workers.wire import Done

PING_S = 15.0
"""A comment so often keeps proxies from closing a connection that is silent."""

PING = b": ping\n\n"

HEADERS = {"X-Accel-Buffering": "no"}
"""Proxies are to pass events on at once."""

POSITIONS_PER_S = 50
"""Whisper's encoder positions stand for OpenAI's audio tokens in `usage`."""


class TranscriptStream:
    """Turns what a worker finds into events."""

    def __init__(self, request: AudioRequest) -> None:
        self._request = request
        self._text = ""
        self._n_tokens = 0
        self._n_segments = 0
        self._logs: list[dict[str, Any]] = []

    async def events(
        self, first: Progress | Done, updates: AsyncIterator[Progress | Done]
    ) -> AsyncIterator[bytes]:
        """Yield the events of a transcript, and comments while nothing is found.

        Args:
            first: update.
            updates: that follow it.
        """
        for event in self._events(first):
            yield event
        upcoming = asyncio.ensure_future(anext(updates, None))
        try:
            while True:
                finished, _ = await asyncio.wait([upcoming], timeout=PING_S)
                if not finished:
                    yield PING
                    continue
                update = upcoming.result()
                if update is None:
                    break
                for event in self._events(update):
                    yield event
                upcoming = asyncio.ensure_future(anext(updates, None))
        except ApiError as error:
            yield _event(error.body)
        finally:
            upcoming.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await upcoming
            if isinstance(updates, AsyncGenerator):
                await updates.aclose()
        yield b"data: [DONE]\n\n"

    def _events(self, update: Progress | Done) -> list[bytes]:
        if isinstance(update, Done):
            return [_event(self._done(update))]
        return [_event(fields) for fields in self._deltas(update)]

    def _deltas(self, update: Progress) -> list[dict[str, Any]]:
        found = []
        for number, segment in enumerate(update.segments):
            self._n_tokens += len(segment.tokens)
            if not segment.text:
                continue
            text = encodable(segment.text)
            delta = f" {text}" if self._text else text
            self._text += delta
            fields: dict[str, Any] = {"type": "transcript.text.delta", "delta": delta}
            if self._request.has_log_probabilities:
                fields["logprobs"] = log_probabilities(segment, update.pieces[number])
                self._logs += fields["logprobs"]
            if self._is_verbose:
                fields["segment"] = self._segment(segment)
            found.append(fields)
        return found

    def _done(self, done: Done) -> dict[str, Any]:
        n_audio = round(done.duration_s * POSITIONS_PER_S)
        fields: dict[str, Any] = {
            "type": "transcript.text.done",
            "text": self._text,
            "usage": {
                "type": "tokens",
                "input_tokens": n_audio,
                "input_token_details": {"audio_tokens": n_audio, "text_tokens": 0},
                "output_tokens": self._n_tokens,
                "total_tokens": n_audio + self._n_tokens,
            },
        }
        if self._is_verbose:
            fields |= {"language": language_name(done.language), "duration": rounded(done.duration_s, 3)}
        return fields | {"logprobs": self._logs} if self._request.has_log_probabilities else fields

    @property
    def _is_verbose(self) -> bool:
        return self._request.response_format is ResponseFormat.VERBOSE_JSON

    def _segment(self, segment: Segment) -> dict[str, Any]:
        fields = segment_fields(self._n_segments, segment)
        self._n_segments += 1
        return fields | {"words": words_fields(segment)} if self._request.has_words else fields


def _event(fields: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(fields, ensure_ascii=False)}\n\n".encode()
