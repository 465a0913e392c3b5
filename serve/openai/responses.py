"""A transcript as OpenAI's API gives it."""

from collections.abc import Sequence
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from sottovoce.languages import language_name
from sottovoce.runtime.output.formats import TranscriptFormat, encodable, format_transcript, rounded
from sottovoce.runtime.transcript import Segment, Task, Timings, Transcript
from sottovoce.serve.openai.requests import AudioRequest, ResponseFormat

FRAMES_PER_S = 100
"""`seek` counts frames of features."""

_TEXTS = {
    ResponseFormat.TEXT: (TranscriptFormat.TXT, "text/plain"),
    ResponseFormat.SRT: (TranscriptFormat.SRT, "application/x-subrip"),
    ResponseFormat.VTT: (TranscriptFormat.VTT, "text/vtt"),
}


def to_transcript(
    segments: Sequence[Segment], language: str, language_probability: float, duration_s: float
) -> Transcript:
    """Return a transcript of what a worker found."""
    return Transcript(
        segments=tuple(segments),
        language=language,
        language_probability=language_probability,
        duration_s=duration_s,
        timings=Timings(total_s=0.0),
    )


def to_response(transcript: Transcript, request: AudioRequest, task: Task) -> Response:
    """Return the answer in the format of the request."""
    match request.response_format:
        case ResponseFormat.JSON:
            return JSONResponse(_json(transcript))
        case ResponseFormat.VERBOSE_JSON:
            return JSONResponse(_verbose_json(transcript, request, task))
        case ResponseFormat.TEXT | ResponseFormat.SRT | ResponseFormat.VTT as kind:
            written, media_type = _TEXTS[kind]
            return PlainTextResponse(format_transcript(transcript, written), media_type=media_type)


def usage(transcript: Transcript) -> dict[str, Any]:
    """Return what OpenAI would bill: seconds of audio."""
    return {"type": "duration", "seconds": rounded(transcript.duration_s, 3)}


def _json(transcript: Transcript) -> dict[str, Any]:
    return {"text": encodable(transcript.text), "usage": usage(transcript)}


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
        fields["segments"] = [_segment(number, each) for number, each in enumerate(transcript.segments)]
    if request.has_words:
        fields["words"] = [
            {
                "word": encodable(word.text.strip()),
                "start": rounded(word.start_s, 3),
                "end": rounded(word.end_s, 3),
                "probability": rounded(word.probability),
            }
            for segment in transcript.segments
            for word in segment.words
        ]
    return fields


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    return {
        "id": number,
        "seek": int(segment.start_s * FRAMES_PER_S),
        "start": rounded(segment.start_s, 3),
        "end": rounded(segment.end_s, 3),
        "text": encodable(segment.text),
        "tokens": segment.tokens,
        "temperature": rounded(segment.temperature),
        "avg_logprob": rounded(segment.mean_log_probability),
        "compression_ratio": rounded(segment.compression_ratio),
        "no_speech_prob": rounded(segment.no_speech_probability),
    }
