"""Audio as a stream of blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ, WINDOW_SAMPLES
from sottovoce.runtime.audio.decode import DecodeOptions
from sottovoce.runtime.audio.stream import BlockStream, read_blocks
from sottovoce.runtime.clock import PhaseClock


@given(n_samples=st.sampled_from([0, 1, WINDOW_SAMPLES - 1, WINDOW_SAMPLES, WINDOW_SAMPLES + 1, 3_000_001]))
def test_the_blocks_of_a_wave_join_to_the_wave(n_samples: int) -> None:
    wave = np.linspace(-1, 1, n_samples, dtype=np.float32)
    stream = BlockStream(read_blocks(wave, None, DecodeOptions()), PhaseClock())
    np.testing.assert_array_equal(stream.read(), wave)
    assert stream.n_samples == n_samples


def test_no_block_of_a_wave_is_longer_than_a_window() -> None:
    assert (
        max(len(block) for block in read_blocks(np.zeros(3_000_001, np.float32), None, DecodeOptions()))
        <= WINDOW_SAMPLES
    )


def test_a_wave_longer_than_the_limit_is_refused() -> None:
    wave = np.zeros(90 * SAMPLE_RATE_HZ, np.float32)
    with pytest.raises(InputError, match="the wave given is 90 s long, more than the 60 s allowed"):
        list(read_blocks(wave, None, DecodeOptions(max_s=60)))
    assert sum(len(block) for block in read_blocks(wave, None, DecodeOptions(max_s=90))) == len(wave)
