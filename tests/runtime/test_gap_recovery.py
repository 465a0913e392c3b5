"""What of a window is to be heard again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.runtime import TranscribeOptions
from sottovoce.runtime.audio.decode import SAMPLE_RATE_HZ, Wave
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.decoding.gap_recovery import AudioSpan, GapRecovery
from sottovoce.runtime.vad.segmenter import AudioWindow
from tests.support.activity import LoudIsSpeech
from tests.support.tones import tone


@pytest.fixture(scope="module")
def look() -> GapRecovery:
    made = GapRecovery()
    made.__dict__["activity"] = LoudIsSpeech()
    return made


def uncovered_speech(
    look: GapRecovery, wave: Wave, heard: list[AudioSpan], options: TranscribeOptions | None = None
) -> list[AudioSpan]:
    window = AudioWindow(start_s=100.0, wave=wave)
    found = look.uncovered_speech(window, heard, options or TranscribeOptions(), PhaseClock())
    return [(each.start_s - 100.0, each.start_s - 100.0 + len(each.wave) / SAMPLE_RATE_HZ) for each in found]


def test_speech_before_between_and_behind_the_text_is_heard_again(look: GapRecovery) -> None:
    gaps = uncovered_speech(look, tone(20.0), [(3.0, 5.0), (5.5, 8.0), (12.0, 16.0)])
    assert gaps == [pytest.approx(each) for each in [(0.0, 3.0), (8.0, 12.0), (16.0, 20.0)]]


def test_a_pause_is_not(look: GapRecovery) -> None:
    wave = tone(20.0)
    wave[5 * SAMPLE_RATE_HZ : 15 * SAMPLE_RATE_HZ] = 1e-4
    assert uncovered_speech(look, wave, [(0.0, 5.0), (15.0, 20.0)]) == []


@pytest.mark.parametrize(
    ("heard", "options"),
    [([], TranscribeOptions()), ([(3.0, 5.0)], TranscribeOptions(vad_filter=False))],
    ids=["nobody knows where the text is", "nobody looks for speech"],
)
def test_nothing_is_heard_again_where(
    look: GapRecovery, heard: list[AudioSpan], options: TranscribeOptions
) -> None:
    assert uncovered_speech(look, tone(20.0), heard, options) == []


def test_a_word_at_the_end_does_not_send_its_window_round_and_round(look: GapRecovery) -> None:
    assert uncovered_speech(look, tone(10.0), [(10.0, 10.0)]) == []
    assert uncovered_speech(look, tone(10.0), [(9.9, 10.0)]) == []


@given(st.lists(st.floats(0, 20), max_size=12), st.sampled_from([5.0, 20.0]))
def test_gaps_are_shorter_than_their_window_and_hold_no_text(
    look: GapRecovery, times_s: list[float], window_s: float
) -> None:
    edges = sorted(min(time_s, window_s) for time_s in times_s)
    heard = list(zip(edges[::2], edges[1::2], strict=False))
    for begin_s, end_s in uncovered_speech(look, tone(window_s), heard):
        assert 1.1 < end_s - begin_s < window_s - 0.5
        assert all(end_s <= start + 0.001 or begin_s >= end - 0.001 for start, end in heard)
