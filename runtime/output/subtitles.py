"""Subtitles: the cues of `srt` and `vtt`.

A segment that fits into the limits is one cue with the times of the segment. A longer one is split between words into
cues with the times of the words, if its words join to its text. Cues do not overlap: a cue ends where the next one
starts, but lasts at least `MIN_CUE_MS`, by which the next one is delayed. Times that are negative or not finite count as
zero.

`vtt` escapes `&`, `<` and `>`. `srt` has no escapes: `-->` becomes `->` as in openai-whisper, and players may take `<i>`
for a tag.
"""

import html
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sottovoce.errors import SpecError
from sottovoce.runtime.transcript import Segment, Transcript, Word

MIN_CUE_MS = 20
"""Whisper's time resolution; a shorter cue could not be seen."""

# Control characters, the byte order mark, and all spaces except non-breaking ones.
_BLANKS = re.compile(r"(?:[^\S\u00a0\u202f]|[\x00-\x1f\x7f-\x9f\ufeff])+")
_ARROW = re.compile(r"-{2,}>")

# Kana and Chinese characters: a line may end after each, but not before a closing mark nor after an opening one.
# The marks are those of JIS X 4051 and GB/T 15834 that occur in speech.
_KANJI = (
    r"\u3041-\u3096\u30a1-\u30fa\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
)
_OPENING = r"「『（【〈《〔［｛“"  # noqa: RUF001
_CLOSING = r"、。，．！？：；」』）】〉》〕］｝”’ー々ゝヽ・…,.!?:;)%"  # noqa: RUF001
_UNIT = re.compile(rf" ?(?:[{_OPENING}]*(?:[{_KANJI}]|[^ {_KANJI}{_OPENING}]+)[{_CLOSING}]*|[{_OPENING}]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class CueLimits:
    """How much text a cue shows; the defaults are the usual ones for English subtitles.

    Attributes:
        max_chars_per_line: in columns: a wide character (Chinese, kana, Hangul) counts as two, a combining mark as none.
        max_lines: exceeded by a segment without words, which stays one cue, and by a single word that is longer.

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
    text: str


DEFAULT_LIMITS = CueLimits()


def format_srt(transcript: Transcript, limits: CueLimits = DEFAULT_LIMITS) -> str:
    """Write subtitles as SubRip."""
    cues = enumerate(_cues(transcript, limits), start=1)
    return "".join(
        f"{number}\n{_timing(cue, mark=',')}\n{_ARROW.sub('->', cue.text)}\n\n" for number, cue in cues
    )


def format_vtt(transcript: Transcript, limits: CueLimits = DEFAULT_LIMITS) -> str:
    """Write subtitles as WebVTT."""
    blocks = (
        f"{_timing(cue, mark='.')}\n{html.escape(cue.text, quote=False)}\n\n"
        for cue in _cues(transcript, limits)
    )
    return "WEBVTT\n\n" + "".join(blocks)


def segment_lines(transcript: Transcript) -> Iterator[tuple[Segment, str]]:
    """Yield the segments that have text, each with its text on one line."""
    lines = ((segment, _one_line(segment.text)) for segment in transcript.segments)
    return ((segment, line) for segment, line in lines if line)


def milliseconds(time_s: float) -> int:
    """Round to milliseconds; times that are negative or not finite become 0."""
    time_ms = time_s * 1000
    return max(0, round(time_ms)) if math.isfinite(time_ms) else 0


def _one_line(text: str) -> str:
    return _BLANKS.sub(" ", text).strip()


def _timing(cue: _Cue, *, mark: str) -> str:
    return f"{_timestamp(cue.start_ms, mark)} --> {_timestamp(cue.end_ms, mark)}"


def _timestamp(time_ms: int, mark: str) -> str:
    seconds, rest_ms = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{mark}{rest_ms:03}"


def _cues(transcript: Transcript, limits: CueLimits) -> list[_Cue]:
    lines = segment_lines(transcript)
    return list(_without_overlap([cue for segment, line in lines for cue in _split(segment, line, limits)]))


def _split(segment: Segment, line: str, limits: CueLimits) -> Iterator[_Cue]:
    lines = _wrap(line, limits.max_chars_per_line)
    # Words that do not join to the text would lose some of it.
    if len(lines) <= limits.max_lines or _join(segment.words) != line:
        yield _cue(segment, segment, lines)
        return
    for words in _fill_cues(segment.words, limits):
        lines = _wrap(_join(words), limits.max_chars_per_line)
        if lines:
            yield _cue(words[0], words[-1], lines)


def _cue(first: Segment | Word, last: Segment | Word, lines: Sequence[str]) -> _Cue:
    start_ms, end_ms = milliseconds(first.start_s), milliseconds(last.end_s)
    return _Cue(start_ms=start_ms, end_ms=end_ms, text="\n".join(lines))


def _join(words: Sequence[Word]) -> str:
    return _one_line("".join(word.text for word in words))


def _fill_cues(words: Sequence[Word], limits: CueLimits) -> Iterator[Sequence[Word]]:
    """Yield the words of each cue: as many as fit, but at least one."""
    first = 0
    for last in range(1, len(words)):
        lines = _wrap(_join(words[first : last + 1]), limits.max_chars_per_line)
        if len(lines) > limits.max_lines:
            yield words[first:last]
            first = last
    yield words[first:]


def _without_overlap(cues: Sequence[_Cue]) -> Iterator[_Cue]:
    """End each cue where the next one starts; a cue of bad times delays the next by at most `MIN_CUE_MS`."""
    end_ms = 0
    for index, cue in enumerate(cues):
        next_start_ms = cues[index + 1].start_ms if index + 1 < len(cues) else cue.end_ms
        start_ms = max(cue.start_ms, end_ms)
        end_ms = max(min(cue.end_ms, next_start_ms), start_ms + MIN_CUE_MS)
        yield replace(cue, start_ms=start_ms, end_ms=end_ms)


def _wrap(text: str, max_columns: int) -> list[str]:
    """Break a line at spaces and between Chinese characters or kana; elsewhere only where a word exceeds a line."""
    lines = [""]
    for unit in _UNIT.findall(text):
        gap = " " if unit.startswith(" ") else ""
        for piece in _break_long(unit.removeprefix(" "), max_columns):
            if lines[-1] and _columns(lines[-1] + gap + piece) > max_columns:
                lines.append(piece)
            else:
                lines[-1] += gap + piece if lines[-1] else piece
            gap = ""
    return [line for line in lines if line.strip()]


def _break_long(unit: str, max_columns: int) -> Iterator[str]:
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
