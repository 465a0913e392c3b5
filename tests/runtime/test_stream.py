"""Audio as blocks: a long wave in pieces, too long a one refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.errors import InputError
from sottovoce.runtime.audio.decode import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.features import WINDOW_SAMPLES
from sottovoce.runtime.audio.stream import BlockStream, blocks_of
from sottovoce.runtime.clock import PhaseClock


@given(n_samples=st.sampled_from([0, 1, WINDOW_SAMPLES - 1, WINDOW_SAMPLES, WINDOW_SAMPLES + 1, 3_000_001]))
def test_blocks_of_a_wave_are_the_wave(n_samples: int) -> None:
    wave = np.linspace(-1, 1, n_samples, dtype=np.float32)
    stream = BlockStream(blocks_of(wave, None), PhaseClock())
    np.testing.assert_array_equal(stream.read(), wave)
    assert stream.n_samples == n_samples


def test_no_block_of_a_wave_is_longer_than_a_window() -> None:
    assert max(len(block) for block in blocks_of(np.zeros(3_000_001, np.float32), None)) <= WINDOW_SAMPLES


def test_a_wave_beyond_the_longest_that_is_allowed_is_refused() -> None:
    wave = np.zeros(90 * SAMPLE_RATE_HZ, np.float32)
    with pytest.raises(InputError, match="the wave given is 90 s long, more than the 60 s allowed"):
        list(blocks_of(wave, None, max_s=60))
    assert sum(len(block) for block in blocks_of(wave, None, max_s=90)) == len(wave)
