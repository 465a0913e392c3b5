"""Little memory: the same transcripts, and options that say what they cannot do."""

from pathlib import Path

import numpy as np
import pytest

from sottovoce.errors import SpecError
from sottovoce.runtime import TranscribeOptions, load
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.transcript import Phase
from tests.support.tones import tone

GREEDY = TranscribeOptions(language="en", temperature=0.0, vad_filter=False)


def test_little_memory_gives_the_same_text(tiny_run: Path) -> None:
    clips = [tone(2.0), tone(3.0, pitch_hz=300.0)]
    normal, low = (
        load(tiny_run / "fp32-stateful", memory=memory).transcribe_batch(clips, GREEDY)
        for memory in ("normal", "low")
    )
    assert [each.text for each in low] == [each.text for each in normal]
    assert any(each.text for each in low)


def test_long_audio_is_decoded_window_by_window(tiny_run: Path) -> None:
    wave = np.concatenate([tone(20.0, pitch_hz=pitch) for pitch in (220.0, 400.0)])
    assert len(wave) > 30 * SAMPLE_RATE_HZ
    options = TranscribeOptions(language="en", temperature=0.0, vad_filter=False, without_timestamps=True)
    normal, low = (
        load(tiny_run / "fp32-stateful", memory=memory).transcribe(wave, options)
        for memory in ("normal", "low")
    )
    assert [each.tokens for each in low.segments] == [each.tokens for each in normal.segments]
    assert low.timings.calls[Phase.PREFILL] > normal.timings.calls[Phase.PREFILL]


def test_another_word_is_refused(tiny_run: Path) -> None:
    with pytest.raises(SpecError, match="memory is little, want normal or low"):
        load(tiny_run / "fp32", memory="little")
