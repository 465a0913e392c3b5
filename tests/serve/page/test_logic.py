"""What the page computes without a document, against the library's own functions where it has them."""

import io
import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import LCSseq

from sottovoce.languages import parse_language
from sottovoce.runtime.output.formats import TranscriptFormat, format_transcript
from sottovoce.runtime.transcript import Segment, Timings, Transcript, Word
from tests.support.javascript import JavaScript

Paragraph = dict[str, Any]

TEXTS = [
    "Hello",
    "there,",
    "Mr.",
    "Hill",
    "said",
    "i.e.",
    "so.",
    "J.",
    "—",
    "naïve",
    "“No!”",
    "per",
    "cent",
    "<b>",
    "-->",
    "A&B",
]
WIDE_TEXTS = ["你", "好", "。", "「", "東京", "」", "、", "カタカナ"]
LONG = "Donaudampfschifffahrtsgesellschaftskapitänswitwenrente"


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    """Draw a segment whose words join to its text."""
    texts = draw(
        st.lists(
            st.sampled_from([f" {text}" for text in [*TEXTS, LONG]] + WIDE_TEXTS), min_size=1, max_size=30
        )
    )
    time_ms = draw(st.integers(0, 10_000))
    words: list[Word] = []
    for text in texts:
        start_ms = time_ms + 20 * draw(st.integers(0, 40))
        time_ms = start_ms + 20 * draw(st.integers(0, 40))
        shown = (
            text if words else text.strip()
        )  # the page has the text of a segment without the space before it
        words.append(Word(text=shown, start_s=start_ms / 1000, end_s=time_ms / 1000, probability=0.9))
    return build_segment("".join(texts).strip(), words)


def build_segment(text: str, words: list[Word]) -> Segment:
    return Segment(
        start_s=words[0].start_s, end_s=words[-1].end_s, text=text, tokens=(), mean_log_probability=0.0,
        no_speech_probability=0.0, compression_ratio=1.0, words=tuple(words),
    )  # fmt: skip


def build_transcript(*parts: Segment) -> Transcript:
    return Transcript(
        segments=parts, language="en", language_probability=1.0, duration_s=60.0, timings=Timings(total_s=0.0)
    )


def paragraph_of(segment: Segment) -> Paragraph:
    words: list[dict[str, Any]] = []
    offset = 0
    for word in segment.words:
        text = word.text.strip()
        offset = segment.text.index(text, offset)
        times = {"start": word.start_s, "end": word.end_s}
        words.append(
            {"from": offset, "to": offset + len(text), "probability": 0.9, "isEdited": False, **times}
        )
        offset += len(text)
    return {"start": segment.start_s, "end": segment.end_s, "text": segment.text, "words": words}


def paragraph(*words: tuple[str, float, float]) -> Paragraph:
    """Return a paragraph of words with their times."""
    timed = [
        Word(text=f" {text}", start_s=start_s, end_s=end_s, probability=0.9) for text, start_s, end_s in words
    ]
    return paragraph_of(build_segment(" ".join(text for text, _, _ in words), timed))


def timed_words(found: Paragraph) -> list[tuple[str, float, float]]:
    return [(found["text"][word["from"] : word["to"]], word["start"], word["end"]) for word in found["words"]]


@pytest.mark.parametrize("kind", ["txt", "srt", "vtt"])
@given(parts=st.lists(segments(), min_size=1, max_size=3))
def test_files_are_those_of_the_library(logic: JavaScript, kind: str, parts: list[Segment]) -> None:
    transcript = {"language": "en", "duration": 60, "paragraphs": [paragraph_of(part) for part in parts]}
    expected = format_transcript(build_transcript(*parts), TranscriptFormat(kind))
    assert logic.call("exports.exportAs", kind, transcript) == expected


def test_a_text_without_words_becomes_cues_as_in_the_library(logic: JavaScript) -> None:
    text = "It is a long text without any word times, so that each character takes the same time. " * 3
    segment = Segment(
        start_s=1.0,
        end_s=31.0,
        text=text.strip(),
        tokens=(),
        mean_log_probability=0,
        no_speech_probability=0,
        compression_ratio=1,
    )
    transcript = {"paragraphs": [{"start": 1, "end": 31, "text": segment.text, "words": []}]}
    expected = format_transcript(build_transcript(segment), TranscriptFormat.SRT)
    assert logic.call("exports.exportAs", "srt", transcript) == expected


def test_json_has_words_with_times_and_what_was_edited(logic: JavaScript) -> None:
    edited = logic.call(
        "transcript.editText", paragraph(("Good", 0.0, 0.4), ("mourning", 0.5, 0.9)), "Good morning"
    )
    transcript = {"language": "en", "duration": 1.0, "paragraphs": [edited]}
    written = json.loads(
        logic.call("exports.exportAs", "json", transcript, {"source": "a.wav", "model": "base/int8"})
    )
    assert (written["source"], written["variant"], written["text"]) == ("a.wav", "base/int8", "Good morning")
    assert written["segments"][0]["words"] == [
        {"text": "Good", "start_s": 0.0, "end_s": 0.4, "probability": 0.9, "edited": False},
        {"text": "morning", "start_s": 0.5, "end_s": 0.9, "probability": None, "edited": True},
    ]


@pytest.mark.parametrize(
    ("source", "expected"), [("talk.m4a", "talk.srt"), ("a.b.mp3", "a.b.srt"), (".mp3", "transcript.srt")]
)
def test_an_exported_file_is_named_after_its_audio(logic: JavaScript, source: str, expected: str) -> None:
    assert logic.call("exports.fileName", source, "srt") == expected


@given(parts=st.lists(segments(), min_size=1, max_size=4))
def test_words_of_an_answer_find_their_segments(logic: JavaScript, parts: list[Segment]) -> None:
    answer = {
        "segments": [{"start": part.start_s, "end": part.end_s, "text": f" {part.text}"} for part in parts],
        "words": [
            {"word": word.text.strip(), "start": word.start_s, "end": word.end_s, "probability": 0.5}
            for part in parts
            for word in part.words
        ],
    }
    found = logic.call("transcript.readSegments", answer["segments"], answer["words"])
    assert [[text for text, _, _ in timed_words(part)] for part in found] == [
        [word.text.strip() for word in part.words] for part in parts
    ]


def test_sentences_are_joined_to_paragraphs_and_keep_their_times(logic: JavaScript) -> None:
    sentences = [
        paragraph(
            *(
                (word, start + 0.5 * index, start + 0.5 * index + 0.4)
                for index, word in enumerate(text.split())
            )
        )
        for start, text in [(0, "We begin with the budget."), (2.6, "It is short."), (9, "Now the archive.")]
    ]
    first, second = logic.call("transcript.joinSegments", sentences)
    assert first["text"] == "We begin with the budget. It is short."
    assert timed_words(first)[5:] == [("It", 2.6, 3.0), ("is", 3.1, 3.5), ("short.", 3.6, 4.0)]
    assert second["text"] == "Now the archive."


def test_a_corrected_word_keeps_its_time(logic: JavaScript) -> None:
    before = paragraph(("the", 0.0, 0.2), ("Aldergate", 0.3, 0.9), ("office", 1.0, 1.4))
    after = logic.call("transcript.editText", before, "the Aldersgate office")
    assert timed_words(after) == [("the", 0.0, 0.2), ("Aldersgate", 0.3, 0.9), ("office", 1.0, 1.4)]
    assert [word["isEdited"] for word in after["words"]] == [False, True, False]


def test_two_words_for_one_share_its_time_and_the_others_keep_theirs(logic: JavaScript) -> None:
    before = paragraph(("we", 0.0, 0.2), ("cannot", 0.4, 1.0), ("say", 1.2, 1.6))
    after = logic.call("transcript.editText", before, "we can not say")
    assert [text for text, _, _ in timed_words(after)] == ["we", "can", "not", "say"]
    (_, first, middle), (_, same, last) = timed_words(after)[1:3]
    assert (first, last) == (0.4, 1.0)
    assert middle == same == pytest.approx(0.7)
    assert timed_words(after)[3] == ("say", 1.2, 1.6)


def test_a_typed_word_takes_the_pause_where_it_stands(logic: JavaScript) -> None:
    before = paragraph(("we", 0.0, 0.2), ("say", 1.2, 1.6))
    after = before
    for text in ("we  say", "we d say", "we do say"):
        after = logic.call("transcript.editText", after, text)
    assert timed_words(after) == [("we", 0.0, 0.2), ("do", 0.2, 1.2), ("say", 1.2, 1.6)]


@given(segment=segments(), data=st.data())
def test_any_edit_gives_the_text_and_leaves_the_words_outside_as_they_are(
    logic: JavaScript, segment: Segment, data: st.DataObject
) -> None:
    before = paragraph_of(segment)
    start = data.draw(st.integers(0, len(segment.text)))
    end = data.draw(st.integers(start, len(segment.text)))
    insert = data.draw(st.text(st.sampled_from("ab 你."), max_size=8))
    after = logic.call("transcript.replaceRange", before, start, end, insert)
    assert after["text"] == segment.text[:start] + insert + segment.text[end:]
    words = after["words"]
    assert all(0 <= word["from"] < word["to"] <= len(after["text"]) for word in words)
    assert all(a["to"] <= b["from"] and a["start"] <= b["start"] for a, b in pairwise(words))
    assert all(word["start"] <= word["end"] for word in words)
    kept = [word for word in before["words"] if word["to"] < start]
    assert words[: len(kept)] == kept


def test_doubtful_words_are_stepped_through_and_around_the_end(logic: JavaScript) -> None:
    part = paragraph(("a", 0, 1), ("b", 1, 2), ("c", 2, 3))
    part["words"][1]["probability"] = 0.3
    paragraphs = [part, json.loads(json.dumps(part))]
    places = logic.call("transcript.doubtfulWords", paragraphs)
    assert places == [{"paragraph": 0, "word": 1}, {"paragraph": 1, "word": 1}]
    assert logic.call("transcript.neighbour", places, places[0]) == places[1]
    assert logic.call("transcript.neighbour", places, places[1]) == places[0]
    assert logic.call("transcript.neighbour", places, places[0], {"isBackwards": True}) == places[1]
    confirmed = logic.call("transcript.confirmWord", part, 1)
    assert logic.call("transcript.doubtfulWords", [confirmed]) == []


def test_the_word_at_a_time_is_the_last_that_has_started(logic: JavaScript) -> None:
    paragraphs = [paragraph(("a", 0, 1), ("b", 2, 3)), paragraph(("c", 5, 6))]
    found = [logic.call("transcript.wordAt", paragraphs, time) for time in (-1, 0, 1.5, 2, 4.9, 5, 99)]
    assert found == [
        None, {"paragraph": 0, "word": 0}, {"paragraph": 0, "word": 0}, {"paragraph": 0, "word": 1},
        {"paragraph": 0, "word": 1}, {"paragraph": 1, "word": 0}, {"paragraph": 1, "word": 0},
    ]  # fmt: skip


def test_search_ignores_case_and_takes_signs_as_they_are(logic: JavaScript) -> None:
    paragraphs = [{"text": "The price (of The) thing."}, {"text": "İn the end: 3.5 or 375?"}]
    places = logic.call("search.findAll", paragraphs, "the")
    assert [(place["paragraph"], place["from"]) for place in places] == [(0, 0), (0, 14), (1, 3)]
    assert len(logic.call("search.findAll", paragraphs, "3.5")) == 1
    assert len(logic.call("search.findAll", paragraphs, "(of")) == 1
    assert logic.call("search.findAll", paragraphs, " ") == []
    assert logic.call("search.firstAfter", places, {"paragraph": 0, "from": 5}) == 1


def test_replacing_all_keeps_the_times(logic: JavaScript) -> None:
    paragraphs = [paragraph(("colour", 0, 1), ("of", 1, 2), ("colour", 2, 3))]
    places = logic.call("search.findAll", paragraphs, "colour")
    [after] = logic.call("search.replaceAll", paragraphs, places, "hue")
    assert timed_words(after) == [("hue", 0, 1), ("of", 1, 2), ("hue", 2, 3)]


items = st.lists(st.sampled_from("abc"), max_size=12)


@given(left=items, right=items)
def test_as_many_words_match_as_can(logic: JavaScript, left: list[str], right: list[str]) -> None:
    pairs = logic.call("diff.matchItems", left, right)
    assert all(left[a] == right[b] for a, b in pairs)
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(pairs))
    assert len(pairs) == LCSseq.similarity(left, right)


def test_differing_words_are_marked_whatever_their_case_and_punctuation(logic: JavaScript) -> None:
    left = [
        {"start": 0, "text": "The sound of the cranes, in the morning."},
        {"start": 9, "text": "It does not give back."},
    ]
    right = [
        {"start": 0, "text": "the sound of the trains in the morning"},
        {"start": 9, "text": "It does not give."},
    ]
    found = logic.call("diff.compareTexts", left, right)
    assert (found["nWords"], found["nDiffer"]) == (13, 2)
    marks = [
        [piece["text"] for part in row[side] for piece in part["pieces"] if piece["differs"]]
        for row in found["rows"]
        for side in ("left", "right")
    ]
    assert marks == [["cranes,"], ["trains"], ["back."], []]


def test_rows_of_two_transcripts_are_about_the_same_words(logic: JavaScript) -> None:
    left = [
        {"start": 0, "text": "one two"},
        {"start": 2, "text": "three four"},
        {"start": 4, "text": "five six"},
    ]
    right = [{"start": 0, "text": "one two three four"}, {"start": 4, "text": "five six"}]
    rows = logic.call("diff.compareTexts", left, right)["rows"]
    assert [[[part["start"] for part in row[side]] for side in ("left", "right")] for row in rows] == [
        [[0, 2], [0]],
        [[4], [4]],
    ]
    assert not any(row["differs"] for row in rows)


def test_two_hours_that_differ_everywhere_are_compared(logic: JavaScript) -> None:
    left = [{"start": 0, "text": " ".join(f"a{index}" for index in range(20_000))}]
    right = [{"start": 0, "text": " ".join(f"b{index}" for index in range(20_000))}]
    assert logic.call("diff.compareTexts", left, right)["nDiffer"] == 20_000


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "0:00"), (11.9, "0:11"), (3138, "52:18"), (4442, "1:14:02")]
)
def test_times_read_as_on_a_player(logic: JavaScript, seconds: float, expected: str) -> None:
    assert logic.call("time.clock", seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.42, "0.4 s"), (9.96, "10 s"), (80, "1 min 20 s"), (120, "2 min"), (4442, "1 h 14 min")],
)
def test_durations_read_as_spoken(logic: JavaScript, seconds: float, expected: str) -> None:
    assert logic.call("time.duration", seconds) == expected


@given(cuts=st.lists(st.integers(0, 90), max_size=6))
def test_events_do_not_depend_on_how_they_arrive(logic: JavaScript, cuts: list[int]) -> None:
    stream = 'data: {"type":"a","delta":"x y"}\r\n\r\n: ping\n\ndata: {"type":"b"}\n\ndata: [DONE]\n\n'
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    events: list[Any] = []
    rest = ""
    for piece in pieces:
        found = logic.call("sse.readEvents", rest, piece)
        events, rest = events + found["events"], found["rest"]
    assert events == [{"type": "a", "delta": "x y"}, {"type": "b"}]


def test_a_recording_is_a_wav_file(logic: JavaScript) -> None:
    samples = [0, 32767, -32767, 5]
    header = bytes(logic.call("pcm.wavHeader", len(samples), 48_000).values())
    wav = header + np.array(samples, "<i2").tobytes()
    read, rate = soundfile.read(io.BytesIO(wav), dtype="int16")
    assert (list(read), rate) == (samples, 48_000)


@pytest.mark.parametrize(
    ("language", "name", "code"),
    [
        ("en", "English", "en"),
        ("english", "English", "en"),
        ("jw", "Javanese", "jw"),
        ("haitian creole", "Haitian creole", "ht"),
    ],
)
def test_languages_are_named_whichever_way_the_server_says_them(
    logic: JavaScript, language: str, name: str, code: str
) -> None:
    assert logic.call("languages.languageName", language) == name
    assert logic.call("languages.languageCode", language) == code


def test_the_page_offers_the_languages_of_whisper(logic: JavaScript) -> None:
    offered = dict(logic.call("languages.languages"))
    assert {code: parse_language(code) for code in offered} == {code: code for code in offered}
    assert len(offered) == 100
    assert all(name[0].isupper() for name in offered.values())
