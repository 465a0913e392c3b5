"""Transcripts as text, in the formats of openai-whisper: txt, srt, vtt, tsv and json.

`txt` has one line for each segment. `srt` and `vtt` have cues for players (`subtitles.py`). `tsv` has `start`, `end`
(integer milliseconds) and `text`, without quoting. `json` has everything, on one line:

    {"schema_version": 1, "source": text or null, "variant": text or null, "language": "en", "language_probability": 0.98,
     "duration_s": 3.2, "voice_activity": text or null, "text": "...",
     "segments": [{"start_s": 0.0, "end_s": 3.2, "text": "...", "tokens": [2425, 13],
                   "mean_log_probability": -0.31, "no_speech_probability": 0.01,
                   "compression_ratio": 0.9, "temperature": 0.0,
                   "words": [{"text": " Hello", "start_s": 0.0, "end_s": 0.4, "probability": 0.97}]}],
     "timings": {"total_s": 0.5, "phase_s": {"encoder": 0.2}, "calls": {"encoder": 1}, "n_redone": 0},
     "notes": ["..."]}

In `json`, times have 3 decimals and other numbers 4, a number that is not finite is null, and a segment without words
has no `words`. Only `json` has segments without text.
"""

import json
import math
import re
from enum import StrEnum

from sottovoce.runtime.output.subtitles import (
    DEFAULT_LIMITS,
    CueLimits,
    format_srt,
    format_vtt,
    milliseconds,
    segment_lines,
)
from sottovoce.runtime.transcript import Segment, Timings, Transcript, Word

JSON_SCHEMA_VERSION = 1  # 1: first version

TIME_DIGITS, _DIGITS = 3, 4

_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


class TranscriptFormat(StrEnum):
    """Format of a transcript; also the suffix of its file."""

    TXT = "txt"
    SRT = "srt"
    VTT = "vtt"
    JSON = "json"
    TSV = "tsv"


def format_transcript(
    transcript: Transcript,
    kind: TranscriptFormat,
    *,
    source: str | None = None,
    variant: str | None = None,
    limits: CueLimits = DEFAULT_LIMITS,
) -> str:
    r"""Write a transcript as text that can be encoded as UTF-8.

    In all formats but `json`, blanks and control characters within a segment become one space.

    Args:
        source: name of the audio; only for `json`.
        variant: name of the variant that transcribed it; only for `json`.
        limits: of cues; only for `srt` and `vtt`.

    Returns:
        Lines that end with `\n`; empty for `txt` and `srt` of silence.
    """
    return encodable(_format(transcript, kind, source=source, variant=variant, limits=limits))


def encodable(text: str) -> str:
    """Return text that can be encoded as UTF-8."""
    return _LONE_SURROGATE.sub("\ufffd", text)


def _format(
    transcript: Transcript,
    kind: TranscriptFormat,
    *,
    source: str | None,
    variant: str | None,
    limits: CueLimits,
) -> str:
    match kind:
        case TranscriptFormat.TXT:
            return "".join(f"{line}\n" for _, line in segment_lines(transcript.segments))
        case TranscriptFormat.SRT:
            return format_srt(transcript, limits)
        case TranscriptFormat.VTT:
            return format_vtt(transcript, limits)
        case TranscriptFormat.JSON:
            return _json(transcript, source, variant)
        case TranscriptFormat.TSV:
            return _tsv(transcript)


def _tsv(transcript: Transcript) -> str:
    rows = (
        f"{milliseconds(segment.start_s)}\t{milliseconds(segment.end_s)}\t{line}\n"
        for segment, line in segment_lines(transcript.segments)
    )
    return "start\tend\ttext\n" + "".join(rows)


def _json(transcript: Transcript, source: str | None, variant: str | None) -> str:
    fields = {
        "schema_version": JSON_SCHEMA_VERSION,
        "source": source,
        "variant": variant,
        "language": transcript.language,
        "language_probability": rounded(transcript.language_probability),
        "duration_s": rounded(transcript.duration_s, TIME_DIGITS),
        "voice_activity": transcript.voice_activity,
        "text": transcript.text,
        "segments": [segment_fields(segment) for segment in transcript.segments],
        "timings": _timing_fields(transcript.timings),
        "notes": transcript.notes,
    }
    return json.dumps(fields, ensure_ascii=False, allow_nan=False) + "\n"


def segment_fields(segment: Segment) -> dict[str, object]:
    """Return a segment as JSON has it."""
    fields: dict[str, object] = {
        "start_s": rounded(segment.start_s, TIME_DIGITS),
        "end_s": rounded(segment.end_s, TIME_DIGITS),
        "text": segment.text,
        "tokens": segment.tokens,
        "mean_log_probability": rounded(segment.mean_log_probability),
        "no_speech_probability": rounded(segment.no_speech_probability),
        "compression_ratio": rounded(segment.compression_ratio),
        "temperature": rounded(segment.temperature),
    }
    return fields | {"words": [word_fields(word) for word in segment.words]} if segment.words else fields


def word_fields(word: Word) -> dict[str, object]:
    """Return a word as JSON has it."""
    return {
        "text": word.text,
        "start_s": rounded(word.start_s, TIME_DIGITS),
        "end_s": rounded(word.end_s, TIME_DIGITS),
        "probability": rounded(word.probability),
    }


def _timing_fields(timings: Timings) -> dict[str, object]:
    return {
        "total_s": rounded(timings.total_s, TIME_DIGITS),
        "phase_s": {phase: rounded(time_s, TIME_DIGITS) for phase, time_s in timings.phase_s.items()},
        "calls": timings.calls,
        "n_redone": timings.n_redone,
    }


def rounded(value: float, digits: int = _DIGITS) -> float | None:
    """Round; None for a number that is not finite, 0.0 for -0.0."""
    return round(value, digits) + 0.0 if math.isfinite(value) else None
