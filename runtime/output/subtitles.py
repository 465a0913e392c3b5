"""Subtitles: the cues of `srt` and `vtt`.

A segment that fits into the limits is one cue with the times of the segment. A longer one is split where a sentence
ends, else a clause, else at a pause, else near its middle. The parts have the times of their words; in a segment without
words, or whose words do not join to its text, each character takes the same time.

Cues do not overlap. A short cue stays for `MIN_SHOWN_MS` where the next one leaves the time, and a cue ends `GAP_MS`
before the next one, so that the eye notices the change. A cue lasts at least `MIN_CUE_MS`, by which the next one is
delayed. Times that are negative or not finite count as zero.

`vtt` escapes `&`, `<` and `>`. `srt` has no escapes: `-->` becomes `->` as in openai-whisper, and players may take `<i>`
for a tag.
"""

import html
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from sottovoce.errors import SpecError
from sottovoce.runtime.timestamps.sentences import ends_clause, ends_sentence
from sottovoce.runtime.transcript import Segment, Transcript, Word

MIN_CUE_MS = 20
"""Whisper's time resolution; a shorter cue could not be seen."""

MIN_SHOWN_MS = 833
GAP_MS = 83
"""20 frames and 2 frames at 24 frames a second (Netflix, "Timed Text Style Guide: General Requirements")."""

MIN_SHARE = 0.25
"""Neither part of a split segment has a smaller share of the text, if it can be split elsewhere."""

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
        max_lines: exceeded by a single word with times of its own that is longer.
        max_duration_s: a cue disappears then.

    Raises:
        SpecError: there is no room for a character.
    """

    max_chars_per_line: int = 42
    max_lines: int = 2
    max_duration_s: float = 7.0

    def __post_init__(self) -> None:
        if min(self.max_chars_per_line, self.max_lines) < 1 or not self.max_duration_s > 0:
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


class CueStream:
    """Writes the cues of segments that come one after another, as text that is only appended to."""

    def __init__(self, *, is_vtt: bool, limits: CueLimits = DEFAULT_LIMITS) -> None:
        """Start a file.

        Args:
            is_vtt: WebVTT; else SubRip.
            limits: of each cue.
        """
        self._is_vtt = is_vtt
        self._limits = limits
        self._n_cues = 0
        self._end_ms = 0

    @property
    def head(self) -> str:
        """The start of the file."""
        return "WEBVTT\n\n" if self._is_vtt else ""

    def add(self, segments: Sequence[Segment]) -> str:
        """Return the cues of the next segments."""
        cues = [
            cue for segment, line in segment_lines(segments) for cue in _split(segment, line, self._limits)
        ]
        text = ""
        for cue in _without_overlap(cues, self._end_ms):
            self._n_cues += 1
            self._end_ms = cue.end_ms
            text += self._block(cue)
        return text

    def _block(self, cue: _Cue) -> str:
        if self._is_vtt:
            return f"{_timing(cue, mark='.')}\n{html.escape(cue.text, quote=False)}\n\n"
        return f"{self._n_cues}\n{_timing(cue, mark=',')}\n{_ARROW.sub('->', cue.text)}\n\n"


def format_srt(transcript: Transcript, limits: CueLimits = DEFAULT_LIMITS) -> str:
    """Write subtitles as SubRip."""
    return CueStream(is_vtt=False, limits=limits).add(transcript.segments)


def format_vtt(transcript: Transcript, limits: CueLimits = DEFAULT_LIMITS) -> str:
    """Write subtitles as WebVTT."""
    cues = CueStream(is_vtt=True, limits=limits)
    return cues.head + cues.add(transcript.segments)


def segment_lines(segments: Sequence[Segment]) -> Iterator[tuple[Segment, str]]:
    """Yield the segments that have text, each with its text on one line."""
    lines = ((segment, one_line(segment.text)) for segment in segments)
    return ((segment, line) for segment, line in lines if line)


def milliseconds(time_s: float) -> int:
    """Round to milliseconds; times that are negative or not finite become 0."""
    time_ms = time_s * 1000
    return max(0, round(time_ms)) if math.isfinite(time_ms) else 0


def one_line(text: str) -> str:
    """Return text with each run of blanks and control characters as one space."""
    return _BLANKS.sub(" ", text).strip()


def _timing(cue: _Cue, *, mark: str) -> str:
    return f"{_timestamp(cue.start_ms, mark)} --> {_timestamp(cue.end_ms, mark)}"


def _timestamp(time_ms: int, mark: str) -> str:
    seconds, rest_ms = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{mark}{rest_ms:03}"


def _split(segment: Segment, line: str, limits: CueLimits) -> Iterator[_Cue]:
    # Words that do not join to the text would lose some of it.
    has_words = _join(segment.words) == line
    words = segment.words if has_words else tuple(_interpolate(segment, line, limits))
    parts = list(_split_words(words, limits, has_times=has_words))
    for part in parts:
        first, last = (segment, segment) if len(parts) == 1 else (part[0], part[-1])
        if lines := _wrap(_join(part), limits.max_chars_per_line):
            yield _cue(first, last, lines, limits)


def _cue(first: Segment | Word, last: Segment | Word, lines: Sequence[str], limits: CueLimits) -> _Cue:
    start_ms = milliseconds(first.start_s)
    end_ms = min(milliseconds(last.end_s), start_ms + milliseconds(limits.max_duration_s))
    return _Cue(start_ms=start_ms, end_ms=end_ms, text="\n".join(lines))


def _interpolate(segment: Segment, line: str, limits: CueLimits) -> Iterator[Word]:
    """Yield the pieces between which a line can be broken, as words that take time by their columns."""
    pieces = []
    for unit in _UNIT.findall(line):
        gap = " " if unit.startswith(" ") else ""
        first, *others = _break_long(unit.removeprefix(" "), limits.max_chars_per_line)
        pieces += [gap + first, *others]
    duration_s, n_columns, n_done = segment.end_s - segment.start_s, max(1, _columns(line)), 0
    for piece in pieces:
        start_s = segment.start_s + duration_s * n_done / n_columns
        n_done += _columns(piece)
        end_s = segment.start_s + duration_s * n_done / n_columns
        yield Word(text=piece, start_s=start_s, end_s=end_s, probability=1.0)


def _split_words(words: Sequence[Word], limits: CueLimits, *, has_times: bool) -> Iterator[Sequence[Word]]:
    """Yield the words of each cue, at least one."""
    if len(words) <= 1 or _fits(words, limits, has_times=has_times):
        yield words
        return
    n_columns = [_columns(word.text) for word in words]
    middle = sum(n_columns) / 2
    n_before = list(accumulate(n_columns))
    least = 2 * MIN_SHARE * middle
    balanced = [i for i in range(1, len(words)) if least <= n_before[i - 1] <= 2 * middle - least]
    best = max(
        balanced or range(1, len(words)),
        key=lambda i: (*_border(words[i - 1], words[i]), -abs(n_before[i - 1] - middle)),
    )
    yield from _split_words(words[:best], limits, has_times=has_times)
    yield from _split_words(words[best:], limits, has_times=has_times)


def _fits(words: Sequence[Word], limits: CueLimits, *, has_times: bool) -> bool:
    lines = _wrap(_join(words), limits.max_chars_per_line)
    duration_ms = milliseconds(words[-1].end_s) - milliseconds(words[0].start_s)
    is_short = not has_times or duration_ms <= milliseconds(limits.max_duration_s)
    return len(lines) <= limits.max_lines and is_short


def _border(before: Word, after: Word) -> tuple[bool, bool, int]:
    """Rate a split between two words: after a sentence, after a clause, by the pause in tenths of a second."""
    pause_ms = milliseconds(after.start_s) - milliseconds(before.end_s)
    return (
        ends_sentence(before.text, after.text),
        ends_clause(before.text),
        round(pause_ms / 100),
    )


def _join(words: Sequence[Word]) -> str:
    return one_line("".join(word.text for word in words))


def _without_overlap(cues: Sequence[_Cue], end_ms: int) -> Iterator[_Cue]:
    """Separate cues in time, from the end of the cue before; one of bad times delays the next by at most `MIN_CUE_MS`."""
    for index, cue in enumerate(cues):
        start_ms = max(cue.start_ms, end_ms)
        end_ms = max(cue.end_ms, start_ms + MIN_SHOWN_MS)
        if index + 1 < len(cues):
            next_ms = cues[index + 1].start_ms
            has_room = next_ms - GAP_MS >= start_ms + MIN_SHOWN_MS
            end_ms = max(min(end_ms, next_ms - GAP_MS if has_room else next_ms), start_ms + MIN_CUE_MS)
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
