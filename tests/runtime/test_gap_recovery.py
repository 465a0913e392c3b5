"""Speech of a window that its text leaves out."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.runtime import TranscribeOptions
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.decoding.attempt import Attempt
from sottovoce.runtime.decoding.context import DecodingContext, DetectedLanguage
from sottovoce.runtime.decoding.gap_recovery import AudioSpan, GapRecovery
from sottovoce.runtime.decoding.window_decoder import DecodingResult
from sottovoce.runtime.model.base import Encoded
from sottovoce.runtime.vad.segmenter import AudioWindow
from tests.support.activity import LoudIsSpeech
from tests.support.tones import tone


def result_of(n_tokens: int, mean_log_probability: float, no_speech_probability: float) -> DecodingResult:
    attempt = Attempt(
        tokens=tuple(range(n_tokens)),
        sum_log_probability=mean_log_probability * (n_tokens + 1),
        no_speech_probability=no_speech_probability,
        has_looped=False,
    )
    return DecodingResult(
        attempt=attempt,
        encoded=Encoded(np.zeros((1, 1, 1), np.float32)),
        compression_ratio=1.0,
        is_no_speech=False,
    )


@pytest.fixture(scope="module")
def recovery() -> GapRecovery:
    return GapRecovery(LoudIsSpeech())


def uncovered_speech(
    recovery: GapRecovery, wave: Wave, covered: list[AudioSpan], options: TranscribeOptions | None = None
) -> list[AudioSpan]:
    context = DecodingContext(
        options=options or TranscribeOptions(),
        clock=PhaseClock(),
        detected=DetectedLanguage(language="en", probability=1.0),
    )
    found = recovery.uncovered_speech(AudioWindow(start_s=100.0, wave=wave), covered, context)
    return [(each.start_s - 100.0, each.end_s - 100.0) for each in found]


def test_speech_before_between_and_behind_the_text_is_found(recovery: GapRecovery) -> None:
    gaps = uncovered_speech(recovery, tone(20.0), [(3.0, 5.0), (5.5, 8.0), (12.0, 16.0)])
    assert gaps == [pytest.approx(each) for each in [(0.0, 3.0), (8.0, 12.0), (16.0, 20.0)]]


def test_a_pause_is_not(recovery: GapRecovery) -> None:
    wave = tone(20.0)
    wave[5 * SAMPLE_RATE_HZ : 15 * SAMPLE_RATE_HZ] = 1e-4
    assert uncovered_speech(recovery, wave, [(0.0, 5.0), (15.0, 20.0)]) == []


def test_nothing_is_found_where_the_place_of_the_text_is_not_known(recovery: GapRecovery) -> None:
    assert uncovered_speech(recovery, tone(20.0), []) == []


def test_without_voice_activity_gaps_are_found_by_their_level(recovery: GapRecovery) -> None:
    """The text of a window often ends at its first pause; the rest of 30 s was lost."""
    wave, options = tone(20.0), TranscribeOptions(vad_filter=False)
    assert uncovered_speech(recovery, wave, [(0.0, 5.0)], options) == [(5.0, 20.0)]
    wave[5 * SAMPLE_RATE_HZ :] = 0.001 * tone(15.0)
    assert uncovered_speech(recovery, wave, [(0.0, 5.0)], options) == []


def test_a_word_at_the_end_does_not_send_its_window_round_and_round(recovery: GapRecovery) -> None:
    assert uncovered_speech(recovery, tone(10.0), [(10.0, 10.0)]) == []
    assert uncovered_speech(recovery, tone(10.0), [(9.9, 10.0)]) == []


@given(st.lists(st.floats(0, 20), max_size=12), st.sampled_from([5.0, 20.0]))
def test_gaps_are_shorter_than_their_window_and_hold_no_text(
    recovery: GapRecovery, times_s: list[float], window_s: float
) -> None:
    edges = sorted(min(time_s, window_s) for time_s in times_s)
    covered = list(zip(edges[::2], edges[1::2], strict=False))
    for begin_s, end_s in uncovered_speech(recovery, tone(window_s), covered):
        assert 1.1 < end_s - begin_s < window_s - 0.5
        assert all(end_s <= start + 0.001 or begin_s >= end - 0.001 for start, end in covered)


@pytest.mark.parametrize(
    ("n_tokens", "mean_log_probability", "no_speech_probability", "counts"),
    [
        (30, -0.3, 0.1, True),
        (30, -0.3, 0.35, True),
        (30, -0.3, 0.7, False),
        (30, -1.0, 0.1, False),
        (5, -0.3, 0.1, False),
    ],
)
def test_the_text_of_faint_speech_counts_where_it_is_likely_and_long(
    recovery: GapRecovery,
    n_tokens: int,
    mean_log_probability: float,
    no_speech_probability: float,
    counts: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    window = AudioWindow(start_s=0.0, wave=tone(10.0), is_faint=True)
    result = result_of(n_tokens, mean_log_probability, no_speech_probability)
    assert recovery.counts(window, result, n_tokens) == counts


@pytest.mark.parametrize(
    ("was_doubtful", "n_tokens", "mean_log_probability", "no_speech_probability", "counts"),
    [
        (True, 2, -0.9, 0.63, False),
        (True, 2, -0.3, 0.63, True),
        (True, 2, -0.9, 0.56, True),
        (True, 12, -0.9, 0.63, True),
        (False, 2, -0.9, 0.63, True),
    ],
    ids=["noise", "a likely word", "a word in noise", "a sentence", "another window"],
)
def test_a_short_text_from_a_doubtful_window_counts_where_something_speaks_for_it(
    recovery: GapRecovery,
    n_tokens: int,
    mean_log_probability: float,
    no_speech_probability: float,
    *,
    was_doubtful: bool,
    counts: bool,
) -> None:
    window = AudioWindow(start_s=0.0, wave=tone(1.0), was_doubtful=was_doubtful)
    result = result_of(n_tokens, mean_log_probability, no_speech_probability)
    assert recovery.counts(window, result, n_tokens) == counts


def bursts(n_bursts: int, *, burst_s: float = 3.0, pause_s: float = 0.5) -> Wave:
    """Return tones with pauses between and behind them."""
    pause = np.full(round(pause_s * SAMPLE_RATE_HZ), 1e-4, np.float32)
    return np.concatenate([part for _ in range(n_bursts) for part in (tone(burst_s), pause)])


def cuts_at_pauses(
    recovery: GapRecovery,
    wave: Wave,
    *,
    has_repeated: bool = True,
    n_tokens: int = 100,
    vad_filter: bool | None = False,
) -> list[AudioWindow]:
    context = DecodingContext(
        options=TranscribeOptions(vad_filter=vad_filter),
        clock=PhaseClock(),
        detected=DetectedLanguage(language="en", probability=1.0),
    )
    result = replace(result_of(0, 0.0, 0.0), has_repeated=has_repeated)
    window = AudioWindow(start_s=100.0, wave=wave)
    return recovery.cuts_at_pauses(window, result, n_tokens, context)


def test_a_window_whose_text_repeats_itself_is_cut_at_its_pauses(recovery: GapRecovery) -> None:
    cuts = cuts_at_pauses(recovery, bursts(8))
    assert [cut.start_s - 100.0 for cut in cuts] == pytest.approx([0.0, 6.9, 13.9, 20.9], abs=0.1)
    assert [cut.end_s - 100.0 for cut in cuts] == pytest.approx([6.6, 13.6, 20.6, 27.6], abs=0.1)
    assert not any(cut.is_faint for cut in cuts)


def test_a_loop_over_audio_without_pauses_or_without_more_speech_is_not_cut(recovery: GapRecovery) -> None:
    assert cuts_at_pauses(recovery, tone(28.0)) == []
    assert cuts_at_pauses(recovery, bursts(1, pause_s=20.0)) == []


def test_parts_of_a_window_with_hardly_any_text_for_its_level_count_where_they_are_likely(
    recovery: GapRecovery,
) -> None:
    cuts = cuts_at_pauses(recovery, bursts(8), has_repeated=False, n_tokens=9)
    assert [cut.is_faint for cut in cuts] == [True] * 4


@pytest.mark.parametrize("vad_filter", [None, True])
def test_where_speech_is_searched_windows_are_not_cut_by_level(
    recovery: GapRecovery, *, vad_filter: bool | None
) -> None:
    assert cuts_at_pauses(recovery, bursts(8), vad_filter=vad_filter) == []


def test_a_text_that_is_long_enough_and_does_not_repeat_itself_stays(recovery: GapRecovery) -> None:
    assert cuts_at_pauses(recovery, bursts(8), has_repeated=False) == []
