"""Live transcription as others do it, on texts and times of a script."""

import numpy as np

from sottovoce.benchmark.live.clock import stopped
from sottovoce.benchmark.live.peers import LocalAgreement, SlidingWindow
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.live.events import Committed, LiveEvent, Partial
from sottovoce.runtime.transcript import Word


def seconds(length_s: float) -> Wave:
    return np.zeros(round(length_s * SAMPLE_RATE_HZ), np.float32)


def word(text: str, start_s: float, end_s: float) -> Word:
    return Word(text=f" {text}", start_s=start_s, end_s=end_s, probability=0.9)


def texts(events: list[LiveEvent], kind: type[Committed] | type[Partial]) -> list[str]:
    return ["".join(each.text for each in event.words).strip() for event in events if isinstance(event, kind)]


class Spoken:
    """A word each half second, numbered; the last one is misread until it is followed by another."""

    def __init__(self) -> None:
        self.waves: list[Wave] = []
        self.prompts: list[str] = []
        self.dropped_s = 0.0

    def __call__(self, wave: Wave, prompt: str) -> list[list[Word]]:
        self.waves.append(wave)
        self.prompts.append(prompt)
        end_s = self.dropped_s + len(wave) / SAMPLE_RATE_HZ
        first = round(self.dropped_s * 2)
        numbers = range(first, round(end_s * 2))
        found = [
            word(
                f"w{number}" if number < numbers[-1] else "hm",
                number / 2 - self.dropped_s,
                number / 2 + 0.4 - self.dropped_s,
            )
            for number in numbers
        ]
        return [found[start : start + 8] for start in range(0, len(found), 8)]


def test_words_are_committed_when_a_second_hypothesis_has_them() -> None:
    stream = LocalAgreement(Spoken(), stopped)
    assert stream.feed(seconds(0.9)) == []
    first = stream.feed(seconds(0.1))
    assert (texts(first, Committed), texts(first, Partial)) == ([], ["w0 hm"])
    second = stream.feed(seconds(1.0))
    assert (texts(second, Committed), texts(second, Partial)) == (["w0"], ["w1 w2 hm"])
    third = stream.feed(seconds(1.0))
    assert (texts(third, Committed), texts(third, Partial)) == (["w1 w2"], ["w3 w4 hm"])
    assert texts(stream.finish(), Committed) == ["w3 w4 hm"]


def test_a_long_buffer_is_cut_behind_a_committed_segment_and_its_text_becomes_the_prompt() -> None:
    spoken = Spoken()
    stream = LocalAgreement(spoken, stopped)
    committed: list[str] = []
    for _ in range(30):
        committed += texts(stream.feed(seconds(1.0)), Committed)
        spoken.dropped_s = stream._start_s  # noqa: SLF001 - the script reads what the stream has cut off
    committed += texts(stream.finish(), Committed)
    assert max(len(wave) for wave in spoken.waves) <= 17 * SAMPLE_RATE_HZ
    assert spoken.prompts[0] == ""
    assert spoken.prompts[-1].split()[-1] == f"w{round(spoken.dropped_s * 2) - 1}"
    assert " ".join(committed).split() == [*(f"w{number}" for number in range(59)), "hm"]


def test_words_that_are_committed_already_are_not_committed_again() -> None:
    def with_shifted_times(wave: Wave, _prompt: str) -> list[list[Word]]:
        shift_s = 0.3 if len(wave) > 2.5 * SAMPLE_RATE_HZ else 0.0
        return [[word("good", 0.0, 0.5), word("day", 0.5 + shift_s, 0.9 + shift_s), word("sir", 1.4, 1.9)]]

    stream = LocalAgreement(with_shifted_times, stopped)
    committed = [text for _ in range(4) for text in texts(stream.feed(seconds(1.0)), Committed)]
    assert committed == ["good day sir"]


def test_passes_are_as_far_apart_as_the_last_one_took() -> None:
    now_s = [0.0]

    def slow(_wave: Wave, _prompt: str) -> list[list[Word]]:
        now_s[0] += 2.5
        return []

    stream = LocalAgreement(slow, lambda: now_s[0])
    passes = [number for number in range(80) if stream.feed(seconds(0.1))]
    assert passes == [9, 34, 59]


def test_a_line_is_final_when_its_window_is_full() -> None:
    lengths_s: list[float] = []

    def transcribe(wave: Wave) -> str:
        lengths_s.append(len(wave) / SAMPLE_RATE_HZ)
        return " ".join(f"w{number}" for number in range(len(lengths_s)))

    stream = SlidingWindow(transcribe, stopped)
    events = [event for _ in range(100) for event in stream.feed(seconds(0.1))]
    assert lengths_s[:9] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5]
    assert lengths_s[9:11] == [0.7, 1.2]
    assert texts(events, Partial)[:2] == ["w0", "w0 w1"]
    assert texts(events, Committed) == [
        " ".join(f"w{n}" for n in range(9)),
        " ".join(f"w{n}" for n in range(18)),
    ]
