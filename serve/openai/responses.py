"""A transcript as OpenAI's API gives it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from sottovoce.languages import language_name
from sottovoce.runtime.output.formats import TranscriptFormat, encodable, format_transcript, rounded
from sottovoce.runtime.transcript import Segment, Task, Timings, Transcript
from sottovoce.serve.openai.requests import AudioRequest, ResponseFormat
from sottovoce.serve.workers.pool import Progress
from sottovoce.serve.workers.wire import Done

FRAMES_PER_S = 100
"""`seek` counts frames of features."""

_TEXTS = {
    ResponseFormat.TEXT: (TranscriptFormat.TXT, "text/plain"),
    ResponseFormat.SRT: (TranscriptFormat.SRT, "application/x-subrip"),
    ResponseFormat.VTT: (TranscriptFormat.VTT, "text/vtt"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a worker found.

    Attributes:
        transcript: of the audio.
        pieces: the bytes of each token of each segment, where they were requested.
    """

    transcript: Transcript
    pieces: tuple[tuple[bytes, ...], ...]


def to_found(updates: Sequence[Progress], done: Done) -> Found:
    """Join what a worker found bit by bit."""
    transcript = Transcript(
        segments=tuple(segment for update in updates for segment in update.segments),
        language=done.language,
        language_probability=done.language_probability,
        duration_s=done.duration_s,
        timings=Timings(total_s=0.0),
    )
    return Found(transcript=transcript, pieces=tuple(each for update in updates for each in update.pieces))


def to_response(found: Found, request: AudioRequest, task: Task) -> Response:
    """Return the answer in the format of the request."""
    transcript = found.transcript
    match request.response_format:
        case ResponseFormat.JSON:
            return JSONResponse(_json(found, request))
        case ResponseFormat.VERBOSE_JSON:
            return JSONResponse(_verbose_json(transcript, request, task))
        case ResponseFormat.TEXT | ResponseFormat.SRT | ResponseFormat.VTT as kind:
            written, media_type = _TEXTS[kind]
            return PlainTextResponse(format_transcript(transcript, written), media_type=media_type)


def usage(transcript: Transcript) -> dict[str, Any]:
    """Return what OpenAI would bill: seconds of audio."""
    return {"type": "duration", "seconds": rounded(transcript.duration_s, 3)}


def log_probabilities(segment: Segment, pieces: Sequence[bytes]) -> list[dict[str, Any]]:
    """Return the tokens of a segment with their log-probabilities."""
    return [
        {"token": piece.decode(errors="replace"), "logprob": rounded(log, 6), "bytes": list(piece)}
        for piece, log in zip(pieces, segment.log_probabilities, strict=True)
    ]


def _json(found: Found, request: AudioRequest) -> dict[str, Any]:
    transcript = found.transcript
    fields: dict[str, Any] = {"text": encodable(transcript.text), "usage": usage(transcript)}
    if request.has_log_probabilities:
        segments = zip(transcript.segments, found.pieces, strict=True)
        fields["logprobs"] = [
            each for segment, pieces in segments for each in log_probabilities(segment, pieces)
        ]
    return fields


def _verbose_json(transcript: Transcript, request: AudioRequest, task: Task) -> dict[str, Any]:
    is_translation = task is Task.TRANSLATE
    fields: dict[str, Any] = {
        "task": str(task),
        "language": "english" if is_translation else language_name(transcript.language),
        "duration": rounded(transcript.duration_s, 3),
        "text": encodable(transcript.text),
        "usage": usage(transcript),
    }
    if request.has_segments:
        fields["segments"] = [segment_fields(number, each) for number, each in enumerate(transcript.segments)]
    if request.has_words:
        fields["words"] = [word for segment in transcript.segments for word in words_fields(segment)]
    return fields


def words_fields(segment: Segment) -> list[dict[str, Any]]:
    """Return the words of a segment as verbose JSON has them; `probability` is an addition of ours."""
    return [
        {
            "word": encodable(word.text.strip()),
            "start": rounded(word.start_s, 3),
            "end": rounded(word.end_s, 3),
            "probability": rounded(word.probability),
        }
        for word in segment.words
    ]


def segment_fields(number: int, segment: Segment) -> dict[str, Any]:
    """Return a segment as verbose JSON has it: its text starts with a space, so that all texts in a row are the transcript.

    Source: the example of OpenAI's API reference; `whisper/transcribe.py` of openai/whisper.
    """
    return {
        "id": number,
        "seek": int(segment.start_s * FRAMES_PER_S),
        "start": rounded(segment.start_s, 3),
        "end": rounded(segment.end_s, 3),
        "text": encodable(f" {segment.text}" if segment.text else ""),
        "tokens": segment.tokens,
        "temperature": rounded(segment.temperature),
        "avg_logprob": rounded(segment.mean_log_probability),
        "compression_ratio": rounded(segment.compression_ratio),
        "no_speech_prob": rounded(segment.no_speech_probability),
    }
