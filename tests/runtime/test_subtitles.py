import csv
import html
import io
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import accumulate, pairwise

import av
import pytest
import srt
import webvtt
from av.subtitles.subtitle import AssSubtitle
from hypothesis import example, given
from hypothesis import strategies as st

from sottovoce.errors import SpecError
from sottovoce.runtime.output.formats import TranscriptFormat, format_transcript
from sottovoce.runtime.output.subtitles import GAP_MS, MIN_CUE_MS, MIN_SHOWN_MS, CueLimits
from sottovoce.runtime.transcript import Phase, Segment, Timings, Transcript, Word

LONG = "She counted seventeen boats and wrote the number in a small blue book, then closed it and went home."
CHINESE = "我们今天要讨论的是语音识别模型的量化方法，它可以让模型在普通的处理器上运行得更快。" * 2  # noqa: RUF001

TIMESTAMP = re.compile(r"(\d{2,}):([0-5]\d):([0-5]\d)[.,](\d{3})")
UNSEEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ufeff]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedCue:
    """A cue as another library reads it."""

    start_ms: int
    end_ms: int
    text: str


def segment(start_s: float, end_s: float, text: str, *words: Word) -> Segment:
    return Segment(
        start_s=start_s,
        end_s=end_s,
        text=text,
        tokens=(1, 2),
        mean_log_probability=-0.25,
        no_speech_probability=0.01,
        compression_ratio=1.1,
        words=words,
    )


def transcript(*segments: Segment) -> Transcript:
    timings = Timings(total_s=0.5, phase_s={Phase.ENCODER: 0.2}, calls={Phase.ENCODER: 1})
    return Transcript(
        segments=segments, language="en", language_probability=1.0, duration_s=30.0, timings=timings
    )


def segment_of_words(*texts: str, start_s: float = 0.0, word_s: float = 0.5) -> Segment:
    """Return a segment of words of equal duration."""
    words = tuple(
        Word(text=text, start_s=start_s + i * word_s, end_s=start_s + (i + 1) * word_s, probability=0.9)
        for i, text in enumerate(texts)
    )
    return segment(words[0].start_s, words[-1].end_s, "".join(texts).strip(), *words)


def segment_of_text(text: str, *, word_s: float = 0.5) -> Segment:
    """Return a segment with the words that Whisper would split the text into."""
    return segment_of_words(*re.findall(r" ?[^ ]+", text), word_s=word_s)


def milliseconds(time: timedelta) -> int:
    return time // timedelta(milliseconds=1)


def parse_srt(text: str) -> list[ParsedCue]:
    return [
        ParsedCue(start_ms=milliseconds(cue.start), end_ms=milliseconds(cue.end), text=cue.content)
        for cue in srt.parse(text)
    ]


def from_timestamp(text: str) -> int:
    found = TIMESTAMP.fullmatch(text)
    assert found, text
    hours, minutes, seconds, rest = map(int, found.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest


def parse_vtt(text: str) -> list[ParsedCue]:
    return [
        ParsedCue(
            start_ms=from_timestamp(cue.start),
            end_ms=from_timestamp(cue.end),
            text=html.unescape(cue.raw_text),
        )
        for cue in webvtt.from_string(text, strict=True).captions
    ]


def parse(kind: TranscriptFormat, text: str) -> list[ParsedCue]:
    return parse_srt(text) if kind is TranscriptFormat.SRT else parse_vtt(text)


def parse_with_ffmpeg(kind: TranscriptFormat, text: str) -> list[ParsedCue]:
    """Parse subtitles as most players do."""
    demuxer = "webvtt" if kind is TranscriptFormat.VTT else "srt"
    cues = []
    with av.open(io.BytesIO(text.encode()), "r", format=demuxer) as container:
        for packet in container.demux(subtitles=0):
            if packet.pts is not None and packet.duration is not None:
                parts = [part for part in packet.decode() if isinstance(part, AssSubtitle)]
                lines = "".join(part.dialogue.decode() for part in parts)
                cues.append(ParsedCue(start_ms=packet.pts, end_ms=packet.pts + packet.duration, text=lines))
    return cues


def normalized(text: str) -> str:
    """Remove what formats may change: blanks, control characters, arrows."""
    return re.sub(r"-{2,}>", "->", UNSEEN.sub("", readable(text)))


def readable(text: str) -> str:
    return re.sub(r"[\ud800-\udfff]", "\ufffd", text)


def with_text(result: Transcript) -> list[Segment]:
    return [one for one in result.segments if normalized(one.text)]


CUES = pytest.mark.parametrize("kind", [TranscriptFormat.SRT, TranscriptFormat.VTT])

PIECES = (
    *'\n\r\t\x00\x1c\x85\u2028\u2029\xa0\ufeff\ud800>" ',
    *("-->", "--", "<b>", "&amp;", "\n\n", "00:00:01,000", "1", "NOTE", "WEBVTT", "STYLE"),
    *(LONG, CHINESE, "สวัสดีครับ" * 9, "e\u0301" * 60, "x" * 100, "👩‍👩‍👧" * 30),
)
PIECE = st.sampled_from(PIECES) | st.text(st.characters(), max_size=20)
ANY_TEXT = st.lists(PIECE, max_size=8).map("".join)
# Parsers read up to 10 digits of hours, and timedelta no more than this either.
ANY_TIME = st.floats(0, 1e7) | st.sampled_from([-1.0, math.nan, math.inf, -math.inf, 59.9996, 3599.9999])
PAUSE_S = st.floats(0, 4000)
LENGTH_S = st.floats((MIN_CUE_MS + 2) / 1000, 4000)


@st.composite
def in_order(draw: st.DrawFn) -> Transcript:
    """Draw segments of any text that do not overlap and are not too short for a cue."""
    steps = draw(st.lists(st.tuples(PAUSE_S, LENGTH_S, ANY_TEXT), max_size=6))
    edges = list(accumulate(time for pause, length, _ in steps for time in (pause, length)))
    texts = [text for _, _, text in steps]
    return transcript(*map(segment, edges[::2], edges[1::2], texts))


@st.composite
def in_any_order(draw: st.DrawFn) -> Transcript:
    """Draw segments and words of any text at any time."""
    word = st.builds(Word, text=ANY_TEXT, start_s=ANY_TIME, end_s=ANY_TIME, probability=st.just(0.5))
    segments = []
    for words in draw(st.lists(st.lists(word, max_size=30), max_size=4)):
        text = draw(ANY_TEXT) if draw(st.booleans()) else "".join(word.text for word in words).strip()
        segments.append(segment(draw(ANY_TIME), draw(ANY_TIME), text, *words))
    return transcript(*segments)


@st.composite
def in_words(draw: st.DrawFn) -> Segment:
    """Draw a segment of up to 60 Latin words, each long enough for a cue of its own."""
    letters = st.text("abcdefghijklmnopqrstuvwxyzé,.", min_size=1, max_size=42)
    texts = draw(st.lists(letters, min_size=1, max_size=60))
    return segment_of_text(" " + " ".join(texts), word_s=draw(st.floats(0.03, 2)))


@CUES
@given(result=in_order())
def test_segments_without_words_become_cues_of_two_lines_and_seven_seconds(
    kind: TranscriptFormat, result: Transcript
) -> None:
    cues = parse(kind, format_transcript(result, kind))
    segments = with_text(result)
    assert normalized("".join(cue.text for cue in cues)) == normalized("".join(one.text for one in segments))
    assert len(cues) >= len(segments)
    assert all(cue.text.count("\n") <= 1 for cue in cues)
    assert all(cue.end_ms - cue.start_ms <= 7000 for cue in cues)
    if cues:
        assert cues[0].start_ms == pytest.approx(segments[0].start_s * 1000, abs=1)


@CUES
@given(result=in_any_order())
def test_cues_never_overlap_and_are_complete_whatever_the_times(
    kind: TranscriptFormat, result: Transcript
) -> None:
    text = format_transcript(result, kind)
    cues = parse(kind, text)
    assert all(cue.end_ms - cue.start_ms >= MIN_CUE_MS for cue in cues)
    assert all(cue.end_ms <= following.start_ms for cue, following in pairwise(cues))
    whole_text = "".join(one.text for one in with_text(result))
    assert normalized("".join(cue.text for cue in cues)) == normalized(whole_text)
    assert text.count("-->") == len(cues)
    assert all(line.strip() for cue in cues for line in cue.text.split("\n"))


@CUES
@given(one=in_words())
@example(one=segment_of_text(LONG * 3))
def test_a_long_segment_is_split_between_words_with_their_times(kind: TranscriptFormat, one: Segment) -> None:
    cues = parse(kind, format_transcript(transcript(one), kind))
    words = list(one.words)
    for cue in cues:
        assert all(len(line) <= 42 for line in cue.text.split("\n"))
        assert cue.text.count("\n") <= 1
        mine, words = words[: len(cue.text.split())], words[len(cue.text.split()) :]
        assert cue.text.split() == [word.text.strip() for word in mine]
        assert cue.start_ms == pytest.approx(mine[0].start_s * 1000, abs=1)
        said_ms = round(mine[-1].end_s * 1000)
        assert said_ms - GAP_MS - 1 <= cue.end_ms <= max(said_ms, cue.start_ms + MIN_SHOWN_MS) + 1
        assert cue.end_ms - cue.start_ms <= 7000
    assert not words


@given(result=in_any_order(), source=st.none() | ANY_TEXT)
def test_json_has_everything_and_never_nan(result: Transcript, source: str | None) -> None:
    text = format_transcript(result, TranscriptFormat.JSON, source=source)
    read = json.loads(text, parse_constant=pytest.fail)
    assert text.encode().count(b"\n") == 1
    assert text.endswith("\n")
    assert read["text"] == readable(result.text)
    assert read["source"] == (None if source is None else readable(source))
    for got, one in zip(read["segments"], result.segments, strict=True):
        assert got["text"] == readable(one.text)
        assert got["start_s"] == pytest.approx(one.start_s if math.isfinite(one.start_s) else None, abs=1e-3)
        assert [word["text"] for word in got.get("words", [])] == [readable(word.text) for word in one.words]


@given(result=in_order())
def test_tsv_has_a_row_for_each_segment_with_text(result: Transcript) -> None:
    text = format_transcript(result, TranscriptFormat.TSV)
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE))
    segments = with_text(result)
    assert rows[0] == ["start", "end", "text"]
    for (start_ms, end_ms, row_text), one in zip(rows[1:], segments, strict=True):
        assert int(start_ms) == pytest.approx(one.start_s * 1000, abs=1)
        assert int(end_ms) == pytest.approx(one.end_s * 1000, abs=1)
        assert normalized(row_text) == normalized(one.text)


@given(result=in_any_order())
def test_txt_has_a_line_for_each_segment_with_text(result: Transcript) -> None:
    text = format_transcript(result, TranscriptFormat.TXT)
    segments = [one.text for one in with_text(result)]
    assert list(map(normalized, text.splitlines())) == list(map(normalized, segments))


@pytest.mark.parametrize("kind", TranscriptFormat)
@given(result=in_any_order())
def test_every_format_can_be_written_as_utf_8(kind: TranscriptFormat, result: Transcript) -> None:
    assert format_transcript(result, kind).encode().decode() == format_transcript(result, kind)


TWO = transcript(segment(0.0, 1.25, "Hello there."), segment(1.5, 3.0, "It's me & you <3."))
EXPECTED = {
    TranscriptFormat.TXT: "Hello there.\nIt's me & you <3.\n",
    TranscriptFormat.SRT: "1\n00:00:00,000 --> 00:00:01,250\nHello there.\n\n"
    "2\n00:00:01,500 --> 00:00:03,000\nIt's me & you <3.\n\n",
    TranscriptFormat.VTT: "WEBVTT\n\n00:00:00.000 --> 00:00:01.250\nHello there.\n\n"
    "00:00:01.500 --> 00:00:03.000\nIt's me &amp; you &lt;3.\n\n",
    TranscriptFormat.TSV: "start\tend\ttext\n0\t1250\tHello there.\n1500\t3000\tIt's me & you <3.\n",
}
SILENCE = {
    TranscriptFormat.TXT: "",
    TranscriptFormat.SRT: "",
    TranscriptFormat.VTT: "WEBVTT\n\n",
    TranscriptFormat.TSV: "start\tend\ttext\n",
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_text_formats_are_those_of_openai_whisper(kind: TranscriptFormat) -> None:
    assert format_transcript(TWO, kind) == EXPECTED[kind]


@pytest.mark.parametrize("kind", SILENCE)
def test_silence_has_no_cues(kind: TranscriptFormat) -> None:
    assert format_transcript(transcript(), kind) == SILENCE[kind]
    assert format_transcript(transcript(segment(0.0, 1.0, " \n ")), kind) == SILENCE[kind]


EXPECTED_JSON = """
{"schema_version": 1, "source": "a.mp3", "variant": null, "language": "en", "language_probability": 1.0, "duration_s": 30.0,
 "voice_activity": null, "text": "Grüße", "segments": [
  {"start_s": 0.0, "end_s": 1.0, "text": "Grüße", "tokens": [1, 2], "mean_log_probability": null,
   "no_speech_probability": 0.01, "compression_ratio": 1.1, "temperature": 0.2,
   "words": [{"text": " Grüße", "start_s": 0.0, "end_s": 0.333, "probability": 0.6667}]},
  {"start_s": 2.0, "end_s": 3.0, "text": "", "tokens": [1, 2], "mean_log_probability": -0.25,
   "no_speech_probability": 0.01, "compression_ratio": 1.1, "temperature": 0.0}],
 "timings": {"total_s": 0.5, "phase_s": {"encoder": 0.2}, "calls": {"encoder": 1}, "n_redone": 0}, "notes": []}
"""


def test_json_has_the_documented_fields_without_escapes() -> None:
    word = Word(text=" Grüße", start_s=0.0, end_s=1 / 3, probability=2 / 3)
    first = replace(segment(0.0, 1.0004, "Grüße", word), temperature=0.2, mean_log_probability=math.nan)
    text = format_transcript(transcript(first, segment(2.0, 3.0, "")), TranscriptFormat.JSON, source="a.mp3")
    assert (
        text
        == " ".join(line.strip() for line in EXPECTED_JSON.strip().splitlines()).replace("[ {", "[{") + "\n"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    time_s: float
    timestamp: str

    def __str__(self) -> str:
        return self.timestamp


INSTANTS = (
    Instant(time_s=0.0004, timestamp="00:00:00,000"),
    Instant(time_s=59.9996, timestamp="00:01:00,000"),
    Instant(time_s=3599.9996, timestamp="01:00:00,000"),
    Instant(time_s=3661.001, timestamp="01:01:01,001"),
    Instant(time_s=99 * 3600 + 59 * 60 + 59.9999, timestamp="100:00:00,000"),
    Instant(time_s=1234 * 3600 + 5.5, timestamp="1234:00:05,500"),
)


@pytest.mark.parametrize("instant", INSTANTS, ids=str)
def test_timestamps_round_up_to_hours_and_exceed_99_hours(instant: Instant) -> None:
    result = transcript(segment(instant.time_s, instant.time_s + 2, "Hello"))
    assert f"\n{instant.timestamp} --> " in format_transcript(result, TranscriptFormat.SRT)
    assert f"\n{instant.timestamp.replace(',', '.')} --> " in format_transcript(result, TranscriptFormat.VTT)


def times(*segments: Segment) -> list[tuple[int, int]]:
    cues = parse_srt(format_transcript(transcript(*segments), TranscriptFormat.SRT))
    return [(cue.start_ms, cue.end_ms) for cue in cues]


def test_a_cue_ends_two_frames_before_the_next_starts() -> None:
    assert times(segment(0, 2.1, "one"), segment(2, 3, "two")) == [(0, 1917), (2000, 3000)]
    assert times(segment(0, 1.95, "one"), segment(2, 3, "two")) == [(0, 1917), (2000, 3000)]
    assert times(segment(0, 1.9, "one"), segment(2, 3, "two")) == [(0, 1900), (2000, 3000)]


def test_a_short_cue_stays_long_enough_to_read_where_there_is_time() -> None:
    assert times(segment(0, 0.2, "one"), segment(2, 3, "two")) == [(0, 833), (2000, 3000)]
    assert times(segment(0, 0.2, "one"), segment(0.5, 3, "two")) == [(0, 500), (500, 3000)]


def test_a_cue_disappears_after_seven_seconds() -> None:
    assert times(segment(1, 20, "one")) == [(1000, 8000)]


def cues_of(*segments: Segment) -> list[str]:
    return [
        cue.text.replace("\n", " ")
        for cue in parse_srt(format_transcript(transcript(*segments), TranscriptFormat.SRT))
    ]


FIRST = "It rained all week, and the river rose above the old stone bridge."
SECOND = "The people of the village had never seen such a flood."


@pytest.mark.parametrize("make", [segment_of_text, partial(segment, 0.0, 12.0)])
def test_a_cue_ends_with_a_sentence_or_else_with_a_clause(make: Callable[[str], Segment]) -> None:
    assert cues_of(make(f"{FIRST} {SECOND}")) == [FIRST, SECOND]
    assert cues_of(make(LONG)) == [
        "She counted seventeen boats and wrote the number in a small blue book,",
        "then closed it and went home.",
    ]


def test_without_punctuation_a_cue_ends_at_a_pause() -> None:
    texts = re.findall(r" ?[^ ]+", LONG.replace(",", "").replace(".", ""))
    early, late = texts[:7], texts[7:]
    one = segment_of_words(*early), segment_of_words(*late, start_s=0.5 * len(early) + 0.7)
    words = (*one[0].words, *one[1].words)
    joined = segment(0.0, words[-1].end_s, "".join(texts), *words)
    assert cues_of(joined) == ["".join(early), "".join(late).strip()]


def test_slow_speech_is_split_by_time_too() -> None:
    assert times(segment_of_text("one two three four", word_s=3.0)) == [(0, 5917), (6000, 12000)]


def test_a_segment_without_words_is_split_in_proportion_to_its_text() -> None:
    border_ms = round(2000 + 10_000 * len(FIRST) / len(f"{FIRST} {SECOND}"))
    found = times(segment(2.0, 12.0, f"{FIRST} {SECOND}"))
    assert found == [(2000, border_ms - GAP_MS), (border_ms, 12000)]


def test_a_segment_of_zero_duration_is_a_short_cue_that_delays_the_next() -> None:
    overlapping = (segment(2, 2, "one"), segment(2, 3, "two"), segment(3, 4, "three"))
    assert times(*overlapping) == [(2000, 2020), (2020, 2917), (3000, 4000)]


def test_a_wrong_time_does_not_move_later_cues() -> None:
    wrong = (segment(0, 1, "one"), segment(1, 9999, "two"), segment(0.5, 0.6, "three"), segment(2, 3, "four"))
    assert times(*wrong)[-1] == (2000, 3000)


def test_a_segment_that_fits_keeps_its_own_times() -> None:
    one = replace(segment_of_text("Hello there."), start_s=0.2, end_s=5.0)
    assert times(one) == [(200, 5000)]


def test_no_text_is_lost_if_the_words_do_not_join_to_it() -> None:
    one = replace(segment_of_text(LONG), text=LONG + " Or so they say.")
    assert normalized("".join(cues_of(one))) == normalized(one.text)


def test_the_limits_of_a_cue_can_be_changed() -> None:
    limits = CueLimits(max_chars_per_line=20, max_lines=1)
    text = format_transcript(
        transcript(segment_of_text("Hello over there, my old friend.")), TranscriptFormat.SRT, limits=limits
    )
    assert [cue.text for cue in parse_srt(text)] == ["Hello over there,", "my old friend."]


@pytest.mark.parametrize("limits", [(0, 2), (42, 0)])
def test_limits_under_one_are_refused(limits: tuple[int, int]) -> None:
    with pytest.raises(SpecError, match="want integers >= 1"):
        CueLimits(max_chars_per_line=limits[0], max_lines=limits[1])


def test_chinese_is_split_between_characters_of_two_columns() -> None:
    text = format_transcript(transcript(segment_of_words(*CHINESE, word_s=0.2)), TranscriptFormat.VTT)
    cues = parse_vtt(text)
    lines = [line for cue in cues for line in cue.text.split("\n")]
    assert "".join(lines) == CHINESE
    assert max(map(len, lines)) <= 21
    assert max(cue.text.count("\n") for cue in cues) <= 1


def test_lines_neither_start_with_a_closing_mark_nor_split_foreign_words() -> None:
    text = "大家好，我们今天来看一看「OpenVINO」是怎么工作的。" * 4  # noqa: RUF001
    cues = parse_srt(format_transcript(transcript(segment(0, 9, text)), TranscriptFormat.SRT))
    lines = [line for cue in cues for line in cue.text.split("\n")]
    assert not [line for line in lines if line[0] in "，。」" or line[-1] == "「"]  # noqa: RUF001
    assert "".join(lines) == text
    assert sum(line.count("OpenVINO") for line in lines) == 4


def test_a_line_break_does_not_separate_accents_from_letters() -> None:
    text = "e\u0301" * 100
    cues = parse_srt(format_transcript(transcript(segment(0, 9, text)), TranscriptFormat.SRT))
    lines = [line for cue in cues for line in cue.text.split("\n")]
    assert "".join(lines) == text
    assert all(line.startswith("e") for line in lines)


def test_an_arrow_in_the_text_is_not_a_timing() -> None:
    result = transcript(segment(0, 1, "a ----> b"))
    assert "\na -> b\n" in format_transcript(result, TranscriptFormat.SRT)
    assert "\na ----&gt; b\n" in format_transcript(result, TranscriptFormat.VTT)


@CUES
def test_ffmpeg_reads_the_same_cues(kind: TranscriptFormat) -> None:
    result = transcript(
        segment(0, 1, "Hello\r\n\r\nthere."),
        segment(1, 1, "你好。"),
        segment_of_text(LONG),
        segment(400_000, 400_001.5, "Bye."),
    )
    text = format_transcript(result, kind)
    assert parse_with_ffmpeg(kind, text) == parse(kind, text)


def test_ffmpeg_unescapes_the_text() -> None:
    text = format_transcript(transcript(segment(0, 1, "a<b> & &lt; --> c")), TranscriptFormat.VTT)
    (cue,) = parse_with_ffmpeg(TranscriptFormat.VTT, text)
    assert cue.text == "a<b> & &lt; --> c"
