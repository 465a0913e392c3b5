"""Streams cut into windows: speech is in one window each, whatever the blocks."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.vad.frames import FRAME_SAMPLES, Framer, Probabilities
from sottovoce.runtime.vad.segmenter import (
    SEGMENTED_SAMPLES,
    AudioWindow,
    FixedSegmenter,
    Segmenter,
    SpeechSegmenter,
    WindowReader,
    windows_of,
)
from tests.support.activity import LoudIsSpeech


class Loud:
    """Takes every frame for speech that is not silent."""

    def __init__(self) -> None:
        self._framer = Framer()

    name = "loud"

    def probabilities(self, chunk: Wave, *, is_last: bool = False) -> Probabilities:
        loud = [
            (np.abs(frames).max(axis=1) > 0).astype(np.float32)
            for frames in self._framer.blocks(chunk, is_last=is_last)
        ]
        return np.concatenate([np.zeros(0, np.float32), *loud])

    def reset(self) -> None:
        self._framer.reset()

    def new_stream(self) -> "Loud":
        return Loud()


def speech(*spans_s: tuple[float, float], total_s: float) -> Wave:
    """Make a wave whose samples count up in spans and are zero elsewhere."""
    wave = np.zeros(round(total_s * SAMPLE_RATE_HZ), dtype=np.float32)
    for start_s, end_s in spans_s:
        begin, end = round(start_s * SAMPLE_RATE_HZ), round(end_s * SAMPLE_RATE_HZ)
        wave[begin:end] = np.arange(1, end - begin + 1) / SAMPLE_RATE_HZ
    return wave


def blocks_of(wave: Wave, size: int) -> Iterator[Wave]:
    return (wave[i : i + size] for i in range(0, len(wave), size))


def check_place(window: AudioWindow, wave: Wave) -> None:
    begin = round(window.start_s * SAMPLE_RATE_HZ)
    np.testing.assert_array_equal(window.wave, wave[begin : begin + len(window.wave)])


@pytest.mark.parametrize("size", [FRAME_SAMPLES, 4_001, 1_000_000])
def test_windows_are_the_stream_at_their_places_whatever_the_blocks(size: int) -> None:
    wave = speech((1, 5), (8, 31), (60, 130), (300, 310), (505, 509.9), total_s=510)
    windows = list(windows_of(blocks_of(wave, size), SpeechSegmenter(Loud())))
    for window in windows:
        check_place(window, wave)
    assert sum(np.count_nonzero(window.wave) for window in windows) == np.count_nonzero(wave)
    assert all(len(window.wave) <= 30 * SAMPLE_RATE_HZ for window in windows)


@pytest.mark.parametrize("kind", ["speech", "fixed"])
@settings(max_examples=20)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 160, 4_001, 262_144, 500_000, 4_200_000]), min_size=1, max_size=6)
)
def test_windows_do_not_depend_on_how_the_stream_is_fed(kind: str, sizes: list[int]) -> None:
    wave = speech((1, 5), (8, 31), (60, 130), (300, 310), total_s=330)

    def fed(segmenter: Segmenter, sizes: list[int]) -> list[AudioWindow]:
        windows, taken = [], 0
        for size in sizes:
            windows += segmenter.feed(wave[taken : taken + size])
            taken += size
        return windows + segmenter.feed(wave[taken:]) + segmenter.finish()

    def made() -> Segmenter:
        return SpeechSegmenter(Loud()) if kind == "speech" else FixedSegmenter()

    expected = list(windows_of([wave], made()))
    found = fed(made(), sizes)
    assert [window.start_s for window in found] == [window.start_s for window in expected]
    for window, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(window.wave, other.wave)
        check_place(window, wave)


def test_a_window_is_given_as_soon_as_it_is_settled() -> None:
    segmenter = FixedSegmenter()
    second = np.ones(SAMPLE_RATE_HZ, np.float32)
    given_after_s = [i for i in range(1, 65) if segmenter.feed(second)]
    assert given_after_s == [30, 60]
    assert [(window.start_s, window.end_s) for window in segmenter.finish()] == [(60.0, 64.0)]


@settings(max_examples=12)
@given(
    gaps_s=st.lists(st.floats(0.4, 90.0), min_size=1, max_size=8),
    lengths_s=st.lists(st.floats(0.4, 70.0), min_size=8, max_size=8),
)
def test_all_speech_is_in_one_window(gaps_s: list[float], lengths_s: list[float]) -> None:
    spans, time_s = [], 0.0
    for gap_s, length_s in zip(gaps_s, lengths_s, strict=False):
        spans.append((time_s + gap_s, time_s + gap_s + length_s))
        time_s += gap_s + length_s
    wave = speech(*spans, total_s=time_s + 1)
    windows = list(windows_of(blocks_of(wave, 100_000), SpeechSegmenter(Loud())))
    starts = [window.start_s for window in windows]
    assert starts == sorted(starts)
    for window in windows:
        check_place(window, wave)
    assert sum(np.count_nonzero(window.wave) for window in windows) == np.count_nonzero(wave)


@pytest.mark.parametrize("n_minutes", [10, 30])
def test_speech_before_a_long_silence_is_not_held_back(n_minutes: int) -> None:
    wave = speech((1, 5), total_s=60 * n_minutes)
    n_read = 0

    def counted() -> Iterator[Wave]:
        nonlocal n_read
        for block in blocks_of(wave, SAMPLE_RATE_HZ):
            n_read += len(block)
            yield block

    windows = windows_of(counted(), SpeechSegmenter(Loud()))
    check_place(next(windows), wave)
    assert n_read < SEGMENTED_SAMPLES + 60 * SAMPLE_RATE_HZ
    assert list(windows) == []


@pytest.mark.parametrize("silence_s", [0.5, 1.9, 2.5, 4.9, 5.1, 30.0])
def test_speech_after_the_cut_of_a_stretch_is_where_it_is_without_one(silence_s: float) -> None:
    end_s = SEGMENTED_SAMPLES / SAMPLE_RATE_HZ - silence_s
    wave = speech((end_s - 4, end_s), (end_s + silence_s, end_s + silence_s + 3), total_s=300)
    windows = list(windows_of(blocks_of(wave, 8_000), SpeechSegmenter(Loud())))
    for window in windows:
        check_place(window, wave)
    assert sum(np.count_nonzero(window.wave) for window in windows) == np.count_nonzero(wave)


def test_silence_has_no_windows() -> None:
    assert list(windows_of([np.zeros(SEGMENTED_SAMPLES * 2, np.float32)], SpeechSegmenter(Loud()))) == []
    assert list(windows_of([], SpeechSegmenter(Loud()))) == []


def test_a_reader_gives_thirty_seconds_from_where_it_stands() -> None:
    wave = speech((0, 70), total_s=70)
    reader = WindowReader(blocks_of(wave, 7_777))
    np.testing.assert_array_equal(reader.window().wave, wave[: 30 * SAMPLE_RATE_HZ])
    reader.advance(12 * SAMPLE_RATE_HZ)
    assert reader.position_s == 12.0
    np.testing.assert_array_equal(reader.window().wave, wave[12 * SAMPLE_RATE_HZ : 42 * SAMPLE_RATE_HZ])
    reader.advance(30 * SAMPLE_RATE_HZ)
    np.testing.assert_array_equal(reader.window().wave, wave[42 * SAMPLE_RATE_HZ :])
    reader.advance(28 * SAMPLE_RATE_HZ)
    assert reader.window().wave.size == 0


def tone(level_dbfs: float, duration_s: float) -> Wave:
    """Make a tone of an RMS level."""
    times_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return np.asarray(10 ** (level_dbfs / 20) * 2**0.5 * np.sin(2 * np.pi * 200 * times_s), np.float32)


def speech_found(wave: Wave) -> list[AudioWindow]:
    return list(windows_of([wave], SpeechSegmenter(LoudIsSpeech())))


@pytest.mark.parametrize("level_dbfs", [-20.0, -55.0, -75.0])
def test_speech_is_found_at_any_level(level_dbfs: float) -> None:
    silence = np.zeros(8 * SAMPLE_RATE_HZ, np.float32)
    wave = np.concatenate([silence, tone(level_dbfs, 10), silence])
    (window,) = speech_found(wave)
    assert window.start_s == pytest.approx(7.6, abs=0.1)
    assert window.end_s == pytest.approx(18.4, abs=0.1)
    assert not window.is_faint
    check_place(window, wave)


def test_quiet_speech_after_loud_speech_is_found_and_marked_as_faint() -> None:
    silence = np.zeros(5 * SAMPLE_RATE_HZ, np.float32)
    wave = np.concatenate([tone(-20, 10), silence, tone(-60, 10), silence])
    loud, quiet = speech_found(wave)
    assert (loud.is_faint, quiet.is_faint) == (False, True)
    assert quiet.start_s == pytest.approx(14.6, abs=0.1)
    check_place(quiet, wave)


def test_a_short_pause_after_loud_speech_is_not_searched_for_faint_speech() -> None:
    wave = np.concatenate([tone(-20, 10), tone(-60, 3.5), tone(-20, 10)])
    assert [round(window.end_s - window.start_s, 1) for window in speech_found(wave)] == [10.4, 10.4]
