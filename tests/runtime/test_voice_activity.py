import math
import tracemalloc
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sottovoce.errors import InputError, SpecError
from sottovoce.runtime.audio.decode import SAMPLE_RATE_HZ, Wave
from sottovoce.runtime.vad.voice_activity import (
    FRAME_S,
    FRAME_SAMPLES,
    MAX_GAP_S,
    MAX_WINDOW_S,
    EnergyVoiceActivity,
    Probabilities,
    SpeechSpan,
    VoiceActivitySpec,
    Window,
    pack_windows,
    speech_spans,
)

UNPADDED = VoiceActivitySpec(pad_s=0.0)


def runs(*levels: tuple[float, int]) -> Probabilities:
    """Hold each probability for a number of frames."""
    values, counts = zip(*levels, strict=True)
    return np.repeat(np.asarray(values, np.float32), counts)


def samples(stretch: SpeechSpan | Window) -> tuple[int, int]:
    start, end = stretch.start_s * SAMPLE_RATE_HZ, stretch.end_s * SAMPLE_RATE_HZ
    assert start == pytest.approx(round(start), abs=1e-6)
    assert end == pytest.approx(round(end), abs=1e-6)
    return round(start), round(end)


def frames(stretch: SpeechSpan | Window) -> tuple[float, float]:
    start, end = samples(stretch)
    return start / FRAME_SAMPLES, end / FRAME_SAMPLES


def span(start: int, end: int) -> SpeechSpan:
    return SpeechSpan(start_s=start / SAMPLE_RATE_HZ, end_s=end / SAMPLE_RATE_HZ)


def seconds(*stretches: tuple[float, float]) -> tuple[SpeechSpan, ...]:
    return tuple(SpeechSpan(start_s=start, end_s=end) for start, end in stretches)


def bounds(windows: Sequence[Window]) -> list[tuple[float, float]]:
    return [(window.start_s, window.end_s) for window in windows]


def noise(duration_s: float, *, rms: float) -> Wave:
    n_samples = round(duration_s * SAMPLE_RATE_HZ)
    return (rms * np.random.default_rng(0).standard_normal(n_samples)).astype(np.float32)


def silence(duration_s: float) -> Wave:
    return np.zeros(round(duration_s * SAMPLE_RATE_HZ), np.float32)


def tone(duration_s: float, *, peak: float = 0.1) -> Wave:
    time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (peak * np.sin(2 * np.pi * 440.0 * time_s)).astype(np.float32)


def pieces(wave: Wave, cuts: Sequence[int]) -> Iterator[Wave]:
    yield from np.split(wave, sorted(cuts))


levels = st.tuples(st.sampled_from((0.0, 0.1, 0.34, 0.35, 0.4, 0.5, 0.6, 0.9, 1.0)), st.integers(1, 120))
probability_runs = st.lists(levels, min_size=1, max_size=30).map(lambda parts: runs(*parts))
lengths_s = st.sampled_from((0.0, 0.032, 0.05, 0.1, 0.25, 0.3, 1.0, 3.0))
specs = st.builds(
    VoiceActivitySpec,
    threshold=st.sampled_from((0.5, 0.6, 0.9)),
    end_threshold=st.sampled_from((0.05, 0.35, 0.5)),
    min_speech_s=lengths_s,
    min_silence_s=lengths_s,
    pad_s=lengths_s,
)


@st.composite
def span_lists(draw: st.DrawFn) -> tuple[SpeechSpan, ...]:
    """Draw spans on the grid of samples, some of which touch and some of which are minutes long."""
    lengths = st.integers(1, 100 * SAMPLE_RATE_HZ)
    gaps = st.integers(0, 5 * SAMPLE_RATE_HZ)
    spans, end = [], 0
    for gap, length in draw(st.lists(st.tuples(gaps, lengths), max_size=12)):
        spans.append(span(end + gap, end + gap + length))
        end += gap + length
    return tuple(spans)


def test_speech_starts_at_the_threshold_and_ends_where_it_stays_under_the_lower_one() -> None:
    heard = runs((0.1, 10), (0.4, 5), (0.5, 20), (0.4, 40), (0.34, 30))

    (found,) = speech_spans(heard, UNPADDED)

    assert frames(found) == (15, 75)


def test_a_short_silence_does_not_end_speech_and_a_longer_one_does() -> None:
    for n_quiet, n_spans in ((9, 1), (10, 1), (11, 2)):
        heard = runs((0.9, 20), (0.0, n_quiet), (0.9, 20))
        assert len(speech_spans(heard, UNPADDED)) == n_spans, n_quiet


def test_speech_of_a_quarter_second_or_less_is_dropped() -> None:
    for n_loud, n_spans in ((7, 0), (8, 1)):
        heard = runs((0.0, 20), (0.9, n_loud), (0.0, 20))
        assert len(speech_spans(heard)) == n_spans, n_loud


def test_padding_is_shared_where_silence_is_too_short_for_it() -> None:
    spec = VoiceActivitySpec(pad_s=10 * FRAME_S)
    heard = runs((0.0, 30), (0.9, 20), (0.0, 16), (0.9, 20), (0.0, 5))

    assert [frames(found) for found in speech_spans(heard, spec)] == [(20, 58), (58, 91)]


def test_speech_up_to_the_end_ends_with_the_audio_and_not_with_its_last_frame() -> None:
    heard = runs((0.0, 20), (0.9, 20))

    (found,) = speech_spans(heard, duration_s=1.25)

    assert found.end_s == 1.25


def test_no_frames_have_no_speech() -> None:
    assert speech_spans(np.zeros(0, np.float32)) == ()
    assert pack_windows((), np.zeros(0, np.float32)) == ()


@settings(max_examples=300)
@given(heard=probability_runs, spec=specs, cut_off=st.integers(0, 3 * FRAME_SAMPLES))
def test_spans_are_in_order_apart_and_within_the_audio(
    heard: Probabilities, spec: VoiceActivitySpec, cut_off: int
) -> None:
    n_samples = max(0, heard.size * FRAME_SAMPLES - cut_off)

    found = [samples(one) for one in speech_spans(heard, spec, duration_s=n_samples / SAMPLE_RATE_HZ)]

    assert all(0 <= start < end <= n_samples for start, end in found)
    assert all(end <= start for (_, end), (start, _) in pairwise(found))


@settings(max_examples=300)
@given(heard=probability_runs, spec=specs)
def test_every_long_run_of_frames_at_the_threshold_is_in_a_span(
    heard: Probabilities, spec: VoiceActivitySpec
) -> None:
    found = [frames(one) for one in speech_spans(heard, spec)]
    is_loud = np.concatenate([[False], heard.astype(np.float64) >= spec.threshold, [False]])
    edges = np.flatnonzero(np.diff(is_loud)).reshape(-1, 2)
    for start, end in edges[(edges[:, 1] - edges[:, 0]) * FRAME_S > spec.min_speech_s]:
        assert any(first <= start and end <= last for first, last in found)


@settings(max_examples=300)
@given(heard=probability_runs, spec=specs)
def test_padding_widens_spans_and_neither_makes_nor_joins_any(
    heard: Probabilities, spec: VoiceActivitySpec
) -> None:
    bare_spec = VoiceActivitySpec(
        threshold=spec.threshold,
        end_threshold=spec.end_threshold,
        min_speech_s=spec.min_speech_s,
        min_silence_s=spec.min_silence_s,
        pad_s=0.0,
    )

    bare = [samples(one) for one in speech_spans(heard, bare_spec)]
    padded = [samples(one) for one in speech_spans(heard, spec)]

    pad = round(spec.pad_s * SAMPLE_RATE_HZ)
    for inner, outer in zip(bare, padded, strict=True):
        assert inner[0] - pad <= outer[0] <= inner[0]
        assert inner[1] <= outer[1] <= inner[1] + pad
    assert all(end - start > spec.min_speech_s * SAMPLE_RATE_HZ for start, end in bare)
    assert all(start - end >= spec.min_silence_s * SAMPLE_RATE_HZ for (_, end), (start, _) in pairwise(bare))


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 1.0},
        {"threshold": math.nan},
        {"end_threshold": 0.0},
        {"threshold": 0.3, "end_threshold": 0.4},
        {"min_speech_s": -0.1},
        {"min_silence_s": math.inf},
        {"pad_s": math.nan},
    ],
    ids=str,
)
def test_settings_without_a_meaning_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="voice activity"):
        VoiceActivitySpec(**wrong)


def test_neighbours_share_a_window_as_long_as_it_holds_them() -> None:
    windows = pack_windows(
        seconds((1.0, 11.0), (12.0, 22.0), (23.0, 31.0), (32.0, 40.0)), np.zeros(0, np.float32)
    )

    assert bounds(windows) == [(1.0, 31.0), (32.0, 40.0)]


def test_a_window_ends_before_a_long_silence() -> None:
    windows = pack_windows(seconds((0.0, 1.0), (3.0, 4.0), (6.5, 7.0)), np.zeros(0, np.float32))

    assert bounds(windows) == [(0.0, 4.0), (6.5, 7.0)]


@given(dip=st.integers(625, 937))
@example(dip=625)
@example(dip=937)
def test_speech_longer_than_a_window_is_cut_where_speech_is_least_likely(dip: int) -> None:
    heard = runs((0.9, 1500))
    heard[dip] = 0.6
    heard[300] = 0.4

    windows = pack_windows(speech_spans(heard), heard)

    assert [frames(window) for window in windows] == [(0, dip + 0.5), (dip + 0.5, 1500)]


def test_even_speech_is_cut_into_windows_as_long_as_they_may_be() -> None:
    heard = runs((0.9, 3000))

    windows = pack_windows(speech_spans(heard), heard)

    assert all(window.end_s - window.start_s > MAX_WINDOW_S - FRAME_S for window in windows[:-1])


def test_speech_without_probabilities_is_cut_at_the_longest() -> None:
    windows = pack_windows(seconds((0.0, 70.0)), np.zeros(0, np.float32))

    assert bounds(windows) == [(0.0, 30.0), (30.0, 60.0), (60.0, 70.0)]


@settings(max_examples=300)
@given(
    spans=span_lists(),
    heard=probability_runs,
    max_s=st.sampled_from((1.0, 1.5, 7.77, 15.0, MAX_WINDOW_S)),
    max_gap_s=st.sampled_from((0.0, 0.5, MAX_GAP_S, math.inf)),
)
def test_windows_cover_every_span_and_none_is_too_long(
    spans: tuple[SpeechSpan, ...], heard: Probabilities, max_s: float, max_gap_s: float
) -> None:
    windows = pack_windows(spans, heard, max_s=max_s, max_gap_s=max_gap_s)

    cut = [samples(window) for window in windows]
    assert all(0 < end - start <= max_s * SAMPLE_RATE_HZ for start, end in cut)
    assert all(end <= start for (_, end), (start, _) in pairwise(cut))
    for start, end in map(samples, spans):
        covered = sum(max(0, min(end, last) - max(start, first)) for first, last in cut)
        assert covered == end - start
    kept_gaps = [
        after - before
        for (_, before), (after, _) in pairwise(map(samples, spans))
        if any(first <= before and after <= last for first, last in cut)
    ]
    assert all(gap <= max_gap_s * SAMPLE_RATE_HZ for gap in kept_gaps)


@settings(max_examples=100)
@given(spans=span_lists())
def test_windows_begin_and_end_with_speech(spans: tuple[SpeechSpan, ...]) -> None:
    windows = pack_windows(spans, np.zeros(0, np.float32))

    speech = [samples(one) for one in spans]
    for first, last in map(samples, windows):
        assert any(start <= first < end for start, end in speech)
        assert any(start < last <= end for start, end in speech)


@pytest.mark.parametrize(
    "wrong",
    [{"max_s": 0.5}, {"max_s": math.nan}, {"max_s": math.inf}, {"max_gap_s": -1.0}, {"max_gap_s": math.nan}],
    ids=str,
)
def test_windows_without_a_meaning_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="cannot be packed"):
        pack_windows((), np.zeros(0, np.float32), **wrong)


def test_energy_finds_a_tone_in_silence() -> None:
    wave = np.concatenate([silence(3.0), tone(2.0), silence(3.0)])

    heard = EnergyVoiceActivity().probabilities(wave, is_last=True)
    (found,) = speech_spans(heard, UNPADDED)

    assert found.start_s == pytest.approx(3.0, abs=FRAME_S)
    assert found.end_s == pytest.approx(5.0, abs=FRAME_S)


def test_energy_finds_a_tone_above_noise_that_has_lasted() -> None:
    wave = noise(30.0, rms=0.005)
    wave[20 * SAMPLE_RATE_HZ : 22 * SAMPLE_RATE_HZ] += tone(2.0)

    heard = EnergyVoiceActivity().probabilities(wave, is_last=True)
    late = [found for found in speech_spans(heard, UNPADDED) if found.start_s > 12.0]

    assert [round(found.start_s) for found in late] == [20]
    assert [round(found.end_s) for found in late] == [22]


def test_energy_takes_steady_noise_for_speech_no_longer_than_ten_seconds() -> None:
    heard = EnergyVoiceActivity().probabilities(noise(60.0, rms=0.01), is_last=True)

    assert all(found.end_s < 10.5 for found in speech_spans(heard))


@pytest.mark.parametrize("offset", [0.0, 0.2], ids=["digital", "with an offset"])
def test_energy_hears_nothing_in_silence(offset: float) -> None:
    heard = EnergyVoiceActivity().probabilities(silence(20.0) + np.float32(offset), is_last=True)

    assert heard.size == 625
    assert speech_spans(heard) == ()


@given(cuts=st.lists(st.integers(0, 20 * SAMPLE_RATE_HZ), max_size=40))
@example(cuts=list(range(0, 20 * SAMPLE_RATE_HZ, 1600)))
def test_chunks_do_not_change_what_energy_hears(cuts: list[int]) -> None:
    wave = noise(20.1, rms=0.003)
    wave[5 * SAMPLE_RATE_HZ : 8 * SAMPLE_RATE_HZ] += tone(3.0, peak=0.05)
    whole = EnergyVoiceActivity().probabilities(wave, is_last=True)

    detector = EnergyVoiceActivity()
    heard = [detector.probabilities(piece) for piece in pieces(wave, cuts)]
    heard.append(detector.probabilities(silence(0.0), is_last=True))

    np.testing.assert_array_equal(np.concatenate(heard), whole)


def test_energy_tells_a_frame_as_soon_as_it_is_whole() -> None:
    detector = EnergyVoiceActivity()

    sizes = [detector.probabilities(tone(n / SAMPLE_RATE_HZ)).size for n in (511, 1, 1023, 0, 1)]

    assert sizes == [0, 1, 1, 0, 1]


def test_energy_starts_anew_after_the_last_chunk() -> None:
    detector = EnergyVoiceActivity()
    wave = np.concatenate([noise(12.01, rms=0.01), tone(1.0)])

    first, second = (detector.probabilities(wave, is_last=True) for _ in range(2))

    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_samples_that_are_no_numbers_are_refused_and_the_stream_goes_on(value: float) -> None:
    wave = np.concatenate([silence(1.0), tone(1.01)])
    whole = EnergyVoiceActivity().probabilities(wave, is_last=True)
    broken = tone(1.0)
    broken[100] = value
    detector = EnergyVoiceActivity()

    before = detector.probabilities(wave[:20_000])
    with pytest.raises(InputError, match="not finite"):
        detector.probabilities(broken)
    after = detector.probabilities(wave[20_000:], is_last=True)

    np.testing.assert_array_equal(np.concatenate([before, after]), whole)


def test_another_stream_changes_nothing_of_the_first() -> None:
    rng = np.random.default_rng(0)
    wave = rng.standard_normal(100_000).astype(np.float32) * 0.1
    whole = EnergyVoiceActivity().probabilities(wave, is_last=True)
    first = EnergyVoiceActivity()
    before = first.probabilities(wave[:40_000])
    first.another().probabilities(wave[::-1].copy(), is_last=True)
    after = first.probabilities(wave[40_000:], is_last=True)
    np.testing.assert_allclose(np.concatenate([before, after]), whole, atol=1e-6)


def test_two_channels_are_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(2, 16000\)"):
        EnergyVoiceActivity().probabilities(np.zeros((2, 16_000), np.float32))


def test_the_memory_of_energy_does_not_grow_with_the_stream() -> None:
    detector = EnergyVoiceActivity()
    chunk = noise(1.2345, rms=0.01)
    detector.probabilities(chunk)
    tracemalloc.start()
    try:
        for _ in range(300):
            detector.probabilities(chunk)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held < 50_000
