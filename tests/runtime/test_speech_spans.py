"""Spans of speech from probabilities, and windows from spans."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sottovoce.errors import SpecError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ, WINDOW_S
from sottovoce.runtime.vad.frames import FRAME_S, FRAME_SAMPLES, Probabilities
from sottovoce.runtime.vad.speech_spans import MAX_GAP_S, SpeechSpan, VadOptions, pack_windows, speech_spans

UNPADDED = VadOptions(speech_pad_s=0.0)


def runs(*levels: tuple[float, int]) -> Probabilities:
    """Repeat each probability for a number of frames."""
    values, counts = zip(*levels, strict=True)
    return np.repeat(np.asarray(values, np.float32), counts)


def samples(span: SpeechSpan) -> tuple[int, int]:
    start, end = span.start_s * SAMPLE_RATE_HZ, span.end_s * SAMPLE_RATE_HZ
    assert start == pytest.approx(round(start), abs=1e-6)
    assert end == pytest.approx(round(end), abs=1e-6)
    return round(start), round(end)


def frames(span: SpeechSpan) -> tuple[float, float]:
    start, end = samples(span)
    return start / FRAME_SAMPLES, end / FRAME_SAMPLES


def span_of(start: int, end: int) -> SpeechSpan:
    return SpeechSpan(start_s=start / SAMPLE_RATE_HZ, end_s=end / SAMPLE_RATE_HZ)


def seconds(*bounds_s: tuple[float, float]) -> tuple[SpeechSpan, ...]:
    return tuple(SpeechSpan(start_s=start, end_s=end) for start, end in bounds_s)


def bounds(windows: Sequence[SpeechSpan]) -> list[tuple[float, float]]:
    return [(window.start_s, window.end_s) for window in windows]


levels = st.tuples(st.sampled_from((0.0, 0.1, 0.34, 0.35, 0.4, 0.5, 0.6, 0.9, 1.0)), st.integers(1, 120))
probability_runs = st.lists(levels, min_size=1, max_size=30).map(lambda parts: runs(*parts))
lengths_s = st.sampled_from((0.0, 0.032, 0.05, 0.1, 0.25, 0.3, 1.0, 3.0))
vad_options = st.builds(
    VadOptions,
    threshold=st.sampled_from((0.5, 0.6, 0.9)),
    neg_threshold=st.sampled_from((0.05, 0.35, 0.5)),
    min_speech_s=lengths_s,
    min_silence_s=lengths_s,
    speech_pad_s=lengths_s,
    short_speech_s=lengths_s,
)


@st.composite
def span_lists(draw: st.DrawFn) -> tuple[SpeechSpan, ...]:
    """Draw spans on the grid of samples, some of which touch and some of which are minutes long."""
    lengths = st.integers(1, 100 * SAMPLE_RATE_HZ)
    gaps = st.integers(0, 5 * SAMPLE_RATE_HZ)
    spans, end = [], 0
    for gap, length in draw(st.lists(st.tuples(gaps, lengths), max_size=12)):
        spans.append(span_of(end + gap, end + gap + length))
        end += gap + length
    return tuple(spans)


def test_speech_starts_at_the_threshold_and_ends_where_it_stays_below_the_lower_one() -> None:
    probabilities = runs((0.1, 10), (0.4, 5), (0.5, 20), (0.4, 40), (0.34, 30))

    (found,) = speech_spans(probabilities, UNPADDED)

    assert frames(found) == (15, 75)


def test_a_short_silence_does_not_end_speech_and_a_longer_one_does() -> None:
    for n_quiet, n_spans in ((9, 1), (10, 1), (11, 2)):
        probabilities = runs((1.0, 20), (0.0, n_quiet), (1.0, 20))
        assert len(speech_spans(probabilities, UNPADDED)) == n_spans, n_quiet


def test_speech_of_one_or_two_frames_is_dropped() -> None:
    for n_loud, n_spans in ((2, 0), (3, 1)):
        probabilities = runs((0.0, 20), (1.0, n_loud), (0.0, 20))
        assert len(speech_spans(probabilities)) == n_spans, n_loud


@pytest.mark.parametrize(
    ("before", "probability", "n_loud", "n_spans"),
    [
        (20, 0.94, 20, 0),
        (20, 0.96, 20, 1),
        (20, 0.94, 31, 0),
        (20, 0.94, 32, 1),
        (7, 0.6, 3, 1),
        (8, 0.6, 3, 0),
    ],
    ids=["unsure", "sure", "not quite a second", "a second", "at the start", "behind the start"],
)
def test_short_speech_must_be_sure_unless_the_audio_starts_with_it(
    before: int, probability: float, n_loud: int, n_spans: int
) -> None:
    probabilities = runs((0.0, before), (probability, n_loud), (0.0, 20))
    assert len(speech_spans(probabilities)) == n_spans


def test_padding_is_shared_where_silence_is_too_short_for_it() -> None:
    options = VadOptions(speech_pad_s=10 * FRAME_S)
    probabilities = runs((0.0, 30), (1.0, 20), (0.0, 16), (1.0, 20), (0.0, 5))

    assert [frames(found) for found in speech_spans(probabilities, options)] == [(20, 58), (58, 91)]


def test_speech_up_to_the_end_ends_with_the_audio_and_not_with_its_last_frame() -> None:
    probabilities = runs((0.0, 20), (1.0, 20))

    (found,) = speech_spans(probabilities, duration_s=1.25)

    assert found.end_s == 1.25


def test_no_frames_give_no_speech() -> None:
    assert speech_spans(np.zeros(0, np.float32)) == ()
    assert pack_windows((), np.zeros(0, np.float32)) == ()


@settings(max_examples=300)
@given(probabilities=probability_runs, options=vad_options, cut_off=st.integers(0, 3 * FRAME_SAMPLES))
def test_spans_are_ordered_disjoint_and_within_the_audio(
    probabilities: Probabilities, options: VadOptions, cut_off: int
) -> None:
    n_samples = max(0, probabilities.size * FRAME_SAMPLES - cut_off)

    found = [
        samples(one) for one in speech_spans(probabilities, options, duration_s=n_samples / SAMPLE_RATE_HZ)
    ]

    assert all(0 <= start < end <= n_samples for start, end in found)
    assert all(end <= start for (_, end), (start, _) in pairwise(found))


@settings(max_examples=300)
@given(probabilities=probability_runs, options=vad_options)
def test_every_long_run_of_frames_at_the_threshold_is_in_a_span(
    probabilities: Probabilities, options: VadOptions
) -> None:
    found = [frames(one) for one in speech_spans(probabilities, options)]
    is_loud = np.concatenate([[False], probabilities.astype(np.float64) >= options.threshold, [False]])
    edges = np.flatnonzero(np.diff(is_loud)).reshape(-1, 2)
    least_s = max(options.min_speech_s, options.short_speech_s)
    for start, end in edges[(edges[:, 1] - edges[:, 0]) * FRAME_S > least_s]:
        assert any(first <= start and end <= last for first, last in found)


@settings(max_examples=300)
@given(probabilities=probability_runs, options=vad_options)
def test_padding_widens_spans_and_neither_adds_nor_joins_any(
    probabilities: Probabilities, options: VadOptions
) -> None:
    bare_options = replace(options, speech_pad_s=0.0)

    bare = [samples(one) for one in speech_spans(probabilities, bare_options)]
    padded = [samples(one) for one in speech_spans(probabilities, options)]

    pad = round(options.speech_pad_s * SAMPLE_RATE_HZ)
    for inner, outer in zip(bare, padded, strict=True):
        assert inner[0] - pad <= outer[0] <= inner[0]
        assert inner[1] <= outer[1] <= inner[1] + pad
    assert all(end - start > options.min_speech_s * SAMPLE_RATE_HZ for start, end in bare)
    assert all(
        start - end >= options.min_silence_s * SAMPLE_RATE_HZ for (_, end), (start, _) in pairwise(bare)
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 1.0},
        {"threshold": math.nan},
        {"neg_threshold": 0.0},
        {"threshold": 0.3, "neg_threshold": 0.4},
        {"min_speech_s": -0.1},
        {"short_speech_s": math.nan},
        {"short_threshold": 0.4},
        {"short_threshold": 1.0},
        {"min_silence_s": math.inf},
        {"speech_pad_s": math.nan},
    ],
    ids=str,
)
def test_invalid_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="voice activity"):
        VadOptions(**wrong)


def test_neighbours_share_a_window_if_they_fit() -> None:
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
def test_speech_longer_than_a_window_is_split_where_speech_is_least_likely(dip: int) -> None:
    probabilities = runs((0.9, 1500))
    probabilities[dip] = 0.6
    probabilities[300] = 0.4

    windows = pack_windows(speech_spans(probabilities), probabilities)

    assert [frames(window) for window in windows] == [(0, dip + 0.5), (dip + 0.5, 1500)]


def test_uniform_speech_is_split_into_windows_of_maximum_length() -> None:
    probabilities = runs((0.9, 3000))

    windows = pack_windows(speech_spans(probabilities), probabilities)

    assert all(window.end_s - window.start_s > WINDOW_S - FRAME_S for window in windows[:-1])


def test_speech_without_probabilities_is_split_after_the_maximum_length() -> None:
    windows = pack_windows(seconds((0.0, 70.0)), np.zeros(0, np.float32))

    assert bounds(windows) == [(0.0, 30.0), (30.0, 60.0), (60.0, 70.0)]


@settings(max_examples=300)
@given(
    spans=span_lists(),
    probabilities=probability_runs,
    max_s=st.sampled_from((1.0, 1.5, 7.77, 15.0, WINDOW_S)),
    max_gap_s=st.sampled_from((0.0, 0.5, MAX_GAP_S, math.inf)),
)
def test_windows_cover_every_span_and_none_is_too_long(
    spans: tuple[SpeechSpan, ...], probabilities: Probabilities, max_s: float, max_gap_s: float
) -> None:
    windows = pack_windows(spans, probabilities, max_s=max_s, max_gap_s=max_gap_s)

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
def test_invalid_window_lengths_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="cannot be packed"):
        pack_windows((), np.zeros(0, np.float32), **wrong)
