"""Clips decoded together say what each says alone."""

from pathlib import Path

import numpy as np
import pytest

from sottovoce.errors import InputError
from sottovoce.runtime import TranscribeOptions, Transcriber, Transcript, load
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from tests.support.tones import tone

GREEDY = TranscribeOptions(language="en", temperature=0.0, batch_size=2, vad_filter=False)


@pytest.fixture(scope="module")
def transcriber(baseline: Path) -> Transcriber:
    return load(baseline, threads=1)


def texts(transcripts: tuple[Transcript, ...]) -> list[str]:
    return [transcript.text for transcript in transcripts]


def test_each_clip_says_what_it_says_alone_in_the_order_given(transcriber: Transcriber) -> None:
    waves = [tone(1.0, pitch_hz=300.0), tone(4.0, pitch_hz=500.0), tone(2.0, pitch_hz=700.0)]
    alone = [transcriber.transcribe(wave, GREEDY) for wave in waves]
    together = transcriber.transcribe_batch(waves, GREEDY)
    assert texts(together) == texts(tuple(alone))
    assert any(texts(together))
    for one, other in zip(alone, together, strict=True):
        assert [segment.tokens for segment in one.segments] == [segment.tokens for segment in other.segments]
        assert [segment.start_s for segment in one.segments] == pytest.approx(
            [segment.start_s for segment in other.segments]
        )
        assert one.duration_s == other.duration_s


def test_languages_are_detected_clip_by_clip(transcriber: Transcriber) -> None:
    waves = [tone(1.0, pitch_hz=300.0), tone(3.0, pitch_hz=3000.0)]
    transcripts = transcriber.transcribe_batch(waves, TranscribeOptions(temperature=0.0))
    assert [transcript.language for transcript in transcripts] == [
        transcriber.detect_language(wave).language for wave in waves
    ]


def test_silence_among_the_clips_stays_empty(transcriber: Transcriber) -> None:
    silence = np.zeros(SAMPLE_RATE_HZ, dtype=np.float32)
    transcripts = transcriber.transcribe_batch([silence, tone(2.0), silence[:10]], GREEDY)
    assert [bool(transcript.text) for transcript in transcripts] == [False, True, False]
    assert transcriber.transcribe_batch([], GREEDY) == ()


def test_a_first_temperature_counts_in_batches_too(transcriber: Transcriber) -> None:
    waves = [tone(1.0, pitch_hz=300.0), tone(2.0, pitch_hz=700.0)]
    drawn = TranscribeOptions(language="en", temperature=(0.7,), vad_filter=False)
    together = transcriber.transcribe_batch(waves, drawn)
    assert {segment.temperature for each in together for segment in each.segments} == {0.7}
    assert texts(together) == [transcriber.transcribe(wave, drawn).text for wave in waves]


def test_a_clip_that_is_no_clip_is_named(transcriber: Transcriber) -> None:
    with pytest.raises(InputError, match=r"wave 1 is 31\.0 s long"):
        transcriber.transcribe_batch([tone(1.0), tone(31.0)], GREEDY)
    with pytest.raises(InputError, match="wave 0 holds samples that are not finite"):
        transcriber.transcribe_batch([np.full(16_000, np.nan, dtype=np.float32)], GREEDY)
