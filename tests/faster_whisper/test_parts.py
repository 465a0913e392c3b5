"""Times of parts lead back to the audio, and clips are read as programs write them."""

from typing import Any

import numpy as np
import pytest

from sottovoce.errors import SpecError
from sottovoce.faster_whisper.hallucinations import without_hallucinations
from sottovoce.faster_whisper.parts import batched_clips, clips, join, windows
from sottovoce.runtime.transcript import Segment, Word
from sottovoce.runtime.vad.speech_spans import SpeechSpan

SECOND = 16_000


def span(start_s: float, end_s: float) -> SpeechSpan:
    return SpeechSpan(start_s=start_s, end_s=end_s)


def segment(start_s: float, end_s: float, *words: Word) -> Segment:
    return Segment(
        start_s=start_s,
        end_s=end_s,
        text="",
        tokens=(),
        mean_log_probability=0.0,
        no_speech_probability=0.0,
        compression_ratio=1.0,
        words=words,
    )


def word(start_s: float, end_s: float, probability: float = 0.9) -> Word:
    return Word(text=" word", start_s=start_s, end_s=end_s, probability=probability)


def test_joined_spans_have_their_samples() -> None:
    wave = np.arange(6 * SECOND, dtype=np.float32)
    part = join(wave, [span(1, 2), span(4, 6)])
    np.testing.assert_array_equal(part.wave, np.concatenate([wave[SECOND : 2 * SECOND], wave[4 * SECOND :]]))


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((0.0, 1.0), (10.0, 11.0)),
        ((1.0, 2.0), (20.0, 21.0)),
        ((0.5, 2.5), (10.5, 21.5)),
        ((3.0, 4.0), (22.0, 23.0)),
    ],
    ids=["first span", "ends where it starts", "both spans", "last span"],
)
def test_times_of_a_part_are_those_of_the_audio(
    times: tuple[float, float], expected: tuple[float, float]
) -> None:
    part = join(np.zeros(30 * SECOND, np.float32), [span(10, 11), span(20, 23)])
    restored = part.restored(segment(*times))
    assert (restored.start_s, restored.end_s) == expected


def test_a_word_stays_in_one_span() -> None:
    part = join(np.zeros(30 * SECOND, np.float32), [span(10, 11), span(20, 23)])
    restored = part.restored(segment(0.2, 1.4, word(0.2, 0.6), word(0.9, 1.4)))
    assert [(each.start_s, each.end_s) for each in restored.words] == [
        pytest.approx((10.2, 10.6)),
        pytest.approx((19.9, 20.4)),
    ]
    assert (restored.start_s, restored.end_s) == pytest.approx((10.2, 20.4))


def test_long_spans_are_cut_into_windows() -> None:
    assert windows([span(0, 10), span(20, 85)]) == [span(0, 10), span(20, 50), span(50, 80), span(80, 85)]


@pytest.mark.parametrize(
    ("timestamps", "expected"),
    [
        ("0", None),
        ("", None),
        ([0], None),
        ("5", [span(5, 20)]),
        ("1,2,3,4", [span(1, 2), span(3, 4)]),
        ([1.5, 2.5, 18.0], [span(1.5, 2.5), span(18, 20)]),
        ("10,90", [span(10, 20)]),
        ("30,40", []),
        ("25", []),
    ],
)
def test_clips_are_read(timestamps: Any, expected: list[SpeechSpan] | None) -> None:
    assert clips(timestamps, 20.0) == expected


@pytest.mark.parametrize("timestamps", ["one,two", "3,1", "-1,2", [None]])
def test_clips_that_make_no_sense_are_refused(timestamps: Any) -> None:
    with pytest.raises(SpecError, match="clip_timestamps"):
        clips(timestamps, 20.0)


def test_clips_of_batches_are_read() -> None:
    assert batched_clips(None, 20.0) is None
    assert batched_clips([{"start": 1, "end": 25}], 20.0) == [span(1, 20)]


def test_unlikely_words_between_silences_are_left_out() -> None:
    good, made_up = segment(0, 2, word(0, 1), word(1, 2)), segment(10, 10.3, word(10, 10.3, 0.05))
    last = segment(20, 21, word(20, 21))
    assert list(without_hallucinations(iter([good, made_up, last]), 2.0, 30.0)) == [good, last]
    assert list(without_hallucinations(iter([good, made_up, last]), 9.0, 30.0)) == [good, made_up, last]
    near = segment(2.5, 2.8, word(2.5, 2.8, 0.05))
    assert list(without_hallucinations(iter([good, near, last]), 2.0, 30.0)) == [good, near, last]


def test_words_that_are_no_word_or_too_long_count_as_made_up() -> None:
    long, short = segment(5, 10, word(5, 10)), segment(15, 15.01, word(15, 15.01))
    assert list(without_hallucinations(iter([long, short]), 2.0, 30.0)) == []
