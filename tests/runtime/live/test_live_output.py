"""Events as text, JSON lines and cues: each piece is printed once, and can be read back."""

import json
from itertools import pairwise

import pytest
import srt
import webvtt

from sottovoce.runtime.live.events import Committed, Lagging, LiveEvent, Partial, SpeechStarted, Utterance
from sottovoce.runtime.live.output import LiveFormat, LivePrinter
from sottovoce.runtime.transcript import Segment, Word


def words(text: str, start_s: float, step_s: float = 0.4) -> tuple[Word, ...]:
    return tuple(
        Word(text=f" {each}", start_s=start_s + step_s * i, end_s=start_s + step_s * (i + 1), probability=0.9)
        for i, each in enumerate(text.split())
    )


def utterance(text: str, start_s: float) -> Utterance:
    found = words(text, start_s)
    segment = Segment(
        start_s=start_s,
        end_s=found[-1].end_s,
        text=text,
        tokens=(1, 2),
        mean_log_probability=-0.25,
        no_speech_probability=0.01,
        compression_ratio=1.1,
        words=found,
    )
    return Utterance(segment=segment, language="en", language_probability=1.0, audio_s=found[-1].end_s + 0.5)


FIRST = "We went to the harbour at six in the morning. The boats were still asleep, and nothing moved."
EVENTS: list[LiveEvent] = [
    SpeechStarted(at_s=0.5, audio_s=1.0),
    Partial(words=words("We wend", 1.0), audio_s=2.0),
    Committed(words=words("We", 1.0), audio_s=2.5),
    Partial(words=words("went to", 1.4), audio_s=2.5),
    Lagging(backlog_s=6.25, audio_s=3.0),
    Committed(words=words(FIRST, 1.0)[1:], audio_s=9.0),
    Partial(words=(), audio_s=9.0),
    utterance(FIRST, 1.0),
    utterance("Then -->\nit  <i>rained</i>.", 8.6),
]


def printed(kind: LiveFormat) -> list[str]:
    pieces: list[str] = []
    printer = LivePrinter(kind, pieces.append)
    for event in EVENTS:
        printer.write(event)
    return pieces


def test_text_is_a_line_for_each_utterance() -> None:
    assert printed(LiveFormat.TEXT) == [f"{FIRST}\n", "Then --> it <i>rained</i>.\n"]


def test_json_is_a_line_for_each_event() -> None:
    lines = printed(LiveFormat.JSONL)
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    found = [json.loads(line) for line in lines]
    assert [each["type"] for each in found] == [
        "speech_started", "partial", "committed", "partial", "lagging", "committed", "partial", "utterance", "utterance",
    ]  # fmt: skip
    assert found[0] == {"type": "speech_started", "audio_s": 1.0, "at_s": 0.5}
    assert found[2]["words"] == [{"text": " We", "start_s": 1.0, "end_s": 1.4, "probability": 0.9}]
    assert found[4] == {"type": "lagging", "audio_s": 3.0, "backlog_s": 6.25}
    assert found[7]["text"] == FIRST
    assert (found[7]["language"], found[7]["start_s"], found[7]["end_s"]) == ("en", 1.0, 8.2)
    committed = [word["text"] for each in found if each["type"] == "committed" for word in each["words"]]
    assert "".join(committed).strip() == found[7]["text"]


def test_subrip_has_numbered_cues_of_sentences_without_overlap() -> None:
    pieces = printed(LiveFormat.SRT)
    assert len(pieces) == 2
    cues = list(srt.parse("".join(pieces)))
    assert [cue.index for cue in cues] == [1, 2, 3]
    assert [" ".join(cue.content.split()) for cue in cues] == [
        "We went to the harbour at six in the morning.",
        "The boats were still asleep, and nothing moved.",
        "Then -> it <i>rained</i>.",
    ]
    assert all(before.end <= after.start for before, after in pairwise(cues))


def test_webvtt_has_its_header_first(tmp_path_factory: pytest.TempPathFactory) -> None:
    pieces = printed(LiveFormat.VTT)
    assert pieces[0] == "WEBVTT\n\n"
    path = tmp_path_factory.mktemp("cues") / "live.vtt"
    path.write_text("".join(pieces), encoding="utf-8")
    assert [cue.text.replace("\n", " ") for cue in webvtt.read(path)][1:] == [
        "The boats were still asleep, and nothing moved.",
        "Then --&gt; it &lt;i&gt;rained&lt;/i&gt;.",
    ]
