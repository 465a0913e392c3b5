"""Transcripts as text: the formats of openai-whisper, made safe for players and parsers.

`txt` has one line for each segment. `srt` and `vtt` have cues for players, `tsv` has
`start`, `end` (integer milliseconds) and `text`, without quoting. `json` has everything, on one line:

    {"schema_version": 1, "source": text or null, "language": "en", "language_probability": 0.98,
     "duration_s": 3.2, "text": "...",
     "segments": [{"start_s": 0.0, "end_s": 3.2, "text": "...", "tokens": [2425, 13],
                   "mean_log_probability": -0.31, "no_speech_probability": 0.01,
                   "compression_ratio": 0.9, "temperature": 0.0,
                   "words": [{"text": " Hello", "start_s": 0.0, "end_s": 0.4, "probability": 0.97}]}],
     "timings": {"total_s": 0.5, "phase_s": {"encoder": 0.2}, "calls": {"encoder": 1}, "n_redone": 0}}

There, times have 3 decimals and other numbers 4, a number that is not finite is null, and `words` is
absent where there are none. Segments without text are in `json` only.
"""

import html
import json
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from sottovoce.errors import SpecError
from sottovoce.runtime.transcript import Segment, Timings, Transcript, Word

JSON_SCHEMA_VERSION = 1  # 1: first version

# A frame at 50 Hz, Whisper's own step of time: less is no time to be seen.
MIN_CUE_MS = 20

_TIME_DIGITS, _DIGITS = 3, 4

# Control characters, the byte order mark, and all spaces but those that do not break.
_BLANKS = re.compile(r"(?:[^\S\u00a0\u202f]|[\x00-\x1f\x7f-\x9f\ufeff])+")
_ARROW = re.compile(r"-{2,}>")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")

# Kana and Chinese characters: a line may end after each, but not before a mark that closes nor after
# one that opens. The marks are those of JIS X 4051 and GB/T 15834 that speech has.
_KANJI = (
    r"\u3041-\u3096\u30a1-\u30fa\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
)
_OPENING = r"「『（【〈《〔［｛“"  # noqa: RUF001
_CLOSING = r"、。，．！？：；」』）】〉》〕］｝”’ー々ゝヽ・…,.!?:;)%"  # noqa: RUF001
_UNIT = re.compile(rf" ?(?:[{_OPENING}]*(?:[{_KANJI}]|[^ {_KANJI}{_OPENING}]+)[{_CLOSING}]*|[{_OPENING}]+)")


class TranscriptFormat(StrEnum):
    """A way to write a transcript, named as the file's suffix."""

    TXT = "txt"
    SRT = "srt"
    VTT = "vtt"
    JSON = "json"
    TSV = "tsv"


@dataclass(frozen=True, slots=True, kw_only=True)
class CueLimits:
    """How much text a cue of `srt` and `vtt` shows at once; by default what subtitlers use for English.

    Attributes:
        max_chars_per_line: columns: a wide character (Chinese, kana, Hangul) counts two, a combining mark none.
        max_lines: held where words are known; without them a segment stays one cue of as many lines
            as it takes, and so does a single word that is longer than a cue.

    Raises:
        SpecError: one of them is under 1.
    """

    max_chars_per_line: int = 42
    max_lines: int = 2

    def __post_init__(self) -> None:
        if min(self.max_chars_per_line, self.max_lines) < 1:
            raise SpecError(
                f"a cue of {self.max_lines} lines of {self.max_chars_per_line} characters has no room, "
                "want integers >= 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cue:
    start_ms: int
    end_ms: int
    lines: Sequence[str]


_DEFAULT_LIMITS = CueLimits()


def format_transcript(
    transcript: Transcript,
    kind: TranscriptFormat,
    *,
    source: str | None = None,
    limits: CueLimits = _DEFAULT_LIMITS,
) -> str:
    r"""Write a transcript as text that UTF-8 can encode.

    A segment that fits into `limits` is one cue with the segment's times. A longer one is split between
    words, into cues with the words' times, if it has words and they spell its text. No two cues overlap:
    one ends where the next starts, yet lasts `MIN_CUE_MS`, for which the next waits. Times below zero
    or not finite count as zero.

    All blanks and control characters within a segment become one space. `vtt` escapes `&`, `<` and `>`.
    `srt` knows no escapes: `-->` becomes `->` as in openai-whisper, and players may take `<i>` for a tag.

    Args:
        transcript: what to write.
        kind: in which format.
        source: name of the audio; only `json` has a place for it.
        limits: of cues; only `srt` and `vtt` have them.

    Returns:
        Lines that end with `\n`; empty for `txt` and `srt` of silence.
    """
    return _LONE_SURROGATE.sub("\ufffd", _format(transcript, kind, source=source, limits=limits))


def _format(transcript: Transcript, kind: TranscriptFormat, *, source: str | None, limits: CueLimits) -> str:
    match kind:
        case TranscriptFormat.TXT:
            return "".join(f"{line}\n" for _, line in _spoken(transcript))
        case TranscriptFormat.SRT:
            return _srt(_cues(transcript, limits))
        case TranscriptFormat.VTT:
            return _vtt(_cues(transcript, limits))
        case TranscriptFormat.JSON:
            return _json(transcript, source)
        case TranscriptFormat.TSV:
            return _tsv(transcript)


def _spoken(transcript: Transcript) -> Iterator[tuple[Segment, str]]:
    """Pair the segments that have text with their text on one line."""
    pairs = ((segment, _one_line(segment.text)) for segment in transcript.segments)
    return ((segment, line) for segment, line in pairs if line)


def _one_line(text: str) -> str:
    return _BLANKS.sub(" ", text).strip()


def _tsv(transcript: Transcript) -> str:
    rows = (
        f"{_milliseconds(segment.start_s)}\t{_milliseconds(segment.end_s)}\t{line}\n"
        for segment, line in _spoken(transcript)
    )
    return "start\tend\ttext\n" + "".join(rows)


def _srt(cues: Sequence[_Cue]) -> str:
    blocks = (
        f"{index}\n{_timing(cue, mark=',')}\n{_ARROW.sub('->', _payload(cue))}\n\n"
        for index, cue in enumerate(cues, start=1)
    )
    return "".join(blocks)


def _vtt(cues: Sequence[_Cue]) -> str:
    blocks = (f"{_timing(cue, mark='.')}\n{html.escape(_payload(cue), quote=False)}\n\n" for cue in cues)
    return "WEBVTT\n\n" + "".join(blocks)


def _payload(cue: _Cue) -> str:
    return "\n".join(cue.lines)


def _timing(cue: _Cue, *, mark: str) -> str:
    return f"{_timestamp(cue.start_ms, mark)} --> {_timestamp(cue.end_ms, mark)}"


def _timestamp(time_ms: int, mark: str) -> str:
    seconds, milliseconds = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{mark}{milliseconds:03}"


def _milliseconds(time_s: float) -> int:
    time_ms = time_s * 1000
    return max(0, round(time_ms)) if math.isfinite(time_ms) else 0


def _cues(transcript: Transcript, limits: CueLimits) -> list[_Cue]:
    cues = [
        cue for segment, line in _spoken(transcript) for cue in _cues_of_segment(segment, line, limits=limits)
    ]
    return list(_one_after_another(cues))


def _cues_of_segment(segment: Segment, line: str, *, limits: CueLimits) -> Iterator[_Cue]:
    lines = _wrap(line, limits.max_chars_per_line)
    # Words that say something else, or nothing, would lose text.
    if len(lines) <= limits.max_lines or _spell(segment.words) != line:
        yield _Cue(start_ms=_milliseconds(segment.start_s), end_ms=_milliseconds(segment.end_s), lines=lines)
        return
    for words in _fill_cues(segment.words, limits):
        lines = _wrap(_spell(words), limits.max_chars_per_line)
        if lines:
            start_ms, end_ms = _milliseconds(words[0].start_s), _milliseconds(words[-1].end_s)
            yield _Cue(start_ms=start_ms, end_ms=end_ms, lines=lines)


def _spell(words: Sequence[Word]) -> str:
    return _one_line("".join(word.text for word in words))


def _fill_cues(words: Sequence[Word], limits: CueLimits) -> Iterator[Sequence[Word]]:
    """Give each cue as many words as fit, but at least one."""
    first = 0
    for last in range(1, len(words)):
        lines = _wrap(_spell(words[first : last + 1]), limits.max_chars_per_line)
        if len(lines) > limits.max_lines:
            yield words[first:last]
            first = last
    yield words[first:]


def _one_after_another(cues: Sequence[_Cue]) -> Iterator[_Cue]:
    """Cut each cue where the next starts; bad times move what follows by `MIN_CUE_MS` and no more."""
    free_ms = 0
    for index, cue in enumerate(cues):
        next_start_ms = cues[index + 1].start_ms if index + 1 < len(cues) else cue.end_ms
        start_ms = max(cue.start_ms, free_ms)
        free_ms = max(min(cue.end_ms, next_start_ms), start_ms + MIN_CUE_MS)
        yield replace(cue, start_ms=start_ms, end_ms=free_ms)


def _wrap(text: str, max_columns: int) -> list[str]:
    """Break a line at spaces and between Chinese characters or kana; elsewhere only what no line can hold."""
    lines = [""]
    for unit in _UNIT.findall(text):
        gap = " " if unit.startswith(" ") else ""
        for piece in _pieces(unit.removeprefix(" "), max_columns):
            if lines[-1] and _columns(lines[-1] + gap + piece) > max_columns:
                lines.append(piece)
            else:
                lines[-1] += gap + piece if lines[-1] else piece
            gap = ""
    return [line for line in lines if line.strip()]


def _pieces(unit: str, max_columns: int) -> Iterator[str]:
    piece = ""
    for char in unit:
        if piece and _columns(piece + char) > max_columns:
            yield piece
            piece = ""
        piece += char
    yield piece


def _columns(text: str) -> int:
    return len(text) if text.isascii() else sum(map(_columns_of_char, text))


def _columns_of_char(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def _json(transcript: Transcript, source: str | None) -> str:
    fields = {
        "schema_version": JSON_SCHEMA_VERSION,
        "source": source,
        "language": transcript.language,
        "language_probability": _rounded(transcript.language_probability),
        "duration_s": _rounded(transcript.duration_s, _TIME_DIGITS),
        "text": transcript.text,
        "segments": [_segment_fields(segment) for segment in transcript.segments],
        "timings": _timing_fields(transcript.timings),
    }
    return json.dumps(fields, ensure_ascii=False, allow_nan=False) + "\n"


def _segment_fields(segment: Segment) -> dict[str, object]:
    fields: dict[str, object] = {
        "start_s": _rounded(segment.start_s, _TIME_DIGITS),
        "end_s": _rounded(segment.end_s, _TIME_DIGITS),
        "text": segment.text,
        "tokens": segment.tokens,
        "mean_log_probability": _rounded(segment.mean_log_probability),
        "no_speech_probability": _rounded(segment.no_speech_probability),
        "compression_ratio": _rounded(segment.compression_ratio),
        "temperature": _rounded(segment.temperature),
    }
    return fields | {"words": [_word_fields(word) for word in segment.words]} if segment.words else fields


def _word_fields(word: Word) -> dict[str, object]:
    return {
        "text": word.text,
        "start_s": _rounded(word.start_s, _TIME_DIGITS),
        "end_s": _rounded(word.end_s, _TIME_DIGITS),
        "probability": _rounded(word.probability),
    }


def _timing_fields(timings: Timings) -> dict[str, object]:
    return {
        "total_s": _rounded(timings.total_s, _TIME_DIGITS),
        "phase_s": {phase: _rounded(time_s, _TIME_DIGITS) for phase, time_s in timings.phase_s.items()},
        "calls": timings.calls,
        "n_redone": timings.n_redone,
    }


def _rounded(value: float, digits: int = _DIGITS) -> float | None:
    """Round, with null for what JSON cannot say and without the sign of zero."""
    return round(value, digits) + 0.0 if math.isfinite(value) else None
