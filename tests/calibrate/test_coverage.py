"""What recorded clips are said to be like, held against numpy and scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.calibrate.coverage import RecordedClip, Topic, find_gaps, summarize_coverage
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.speech.properties import estimate_snr_db, loudness_dbfs
from tests.support.tones import tone

CLIPS = st.builds(
    RecordedClip,
    clip_id=st.text(min_size=1, max_size=4),
    language=st.sampled_from([None, "en", "de", "ja"]),
    speaker=st.sampled_from([None, "a/1", "a/2"]),
    source=st.sampled_from([None, "a"]),
    audio_s=st.floats(0.1, 30),
    loudness_dbfs=st.floats(-96, 0),
    snr_db=st.floats(0, 90),
    n_steps=st.integers(0, 444),
    audio_sha256=st.just("0" * 64),
    text_sha256=st.none(),
)


def clip(number: int = 0, **changed: object) -> RecordedClip:
    values: dict[str, object] = {
        "clip_id": f"clip-{number}",
        "language": "en",
        "speaker": f"corpus/{number}",
        "source": "corpus",
        "audio_s": 8.0,
        "loudness_dbfs": -25.0,
        "snr_db": 30.0,
        "n_steps": 20,
        "audio_sha256": f"{number:064x}",
        "text_sha256": None,
    }
    return RecordedClip.model_validate(values | changed)


def varied(**changed: object) -> list[RecordedClip]:
    """Make clips of every kind that is looked for."""
    kinds: tuple[dict[str, object], ...] = (
        {"audio_s": 20.0, "n_steps": 80, "language": "de"},
        {"audio_s": 1.5, "loudness_dbfs": -40.0, "n_steps": 5},
        {"snr_db": 8.0, "language": "fr"},
        {},
    )
    return [clip(i, **(kinds[i % len(kinds)] | changed)) for i in range(40)]


def topics(clips: list[RecordedClip], *, is_multilingual: bool = True) -> list[Topic]:
    return [finding.topic for finding in find_gaps(clips, is_multilingual=is_multilingual)]


def with_pauses(level: float, rng: np.random.Generator) -> Wave:
    """Make bursts of a tone with pauses as long, in white noise of a level."""
    speech = tone(8.0, noise=0.0)
    speech[np.arange(speech.size) // (SAMPLE_RATE_HZ // 2) % 2 == 1] = 0
    return np.asarray(speech + level * rng.standard_normal(speech.size), dtype=np.float32)


@pytest.mark.parametrize(("amplitude", "level"), [(1.0, 0.0), (0.5, -6.02), (0.1, -20.0), (0.0, -96.0)])
def test_a_square_wave_is_as_loud_as_its_amplitude(amplitude: float, level: float) -> None:
    square = np.where(np.arange(1600) % 40 < 20, amplitude, -amplitude).astype(np.float32)
    assert loudness_dbfs(square) == pytest.approx(level, abs=0.01)


def test_a_sine_is_three_decibels_below_a_square_wave() -> None:
    sine = np.sin(2 * np.pi * 100 * np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ).astype(np.float32)
    assert loudness_dbfs(sine) == pytest.approx(-3.01, abs=0.01)


@pytest.mark.parametrize("level", [0.1, 0.03, 0.01, 0.003])
def test_the_snr_of_speech_with_pauses_in_noise_is_found(level: float) -> None:
    wave = with_pauses(level, np.random.default_rng(0))
    loudest = np.quantile(tone(8.0, noise=0.0)[: 8 * SAMPLE_RATE_HZ].reshape(-1, 320).var(axis=1), 0.95)
    assert estimate_snr_db(wave) == pytest.approx(10 * np.log10(loudest / level**2), abs=1.5)


def test_ten_decibels_more_noise_are_ten_decibels_less_snr() -> None:
    quiet, loud = (estimate_snr_db(with_pauses(level, np.random.default_rng(0))) for level in (0.003, 0.03))
    assert quiet - loud == pytest.approx(20, abs=1)


def test_steady_noise_has_hardly_any_snr() -> None:
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ).astype(np.float32) * 0.1
    assert 0 <= estimate_snr_db(noise) < 3


@given(st.integers(1, 2000), st.floats(0.001, 1))
def test_snr_is_finite_and_not_negative_and_does_not_depend_on_volume(n_samples: int, volume: float) -> None:
    wave = np.random.default_rng(n_samples).standard_normal(n_samples).astype(np.float32)
    found = estimate_snr_db(wave)
    assert 0 <= found < 100
    assert estimate_snr_db((volume * wave).astype(np.float32)) == pytest.approx(found, abs=1e-3)


@given(st.lists(CLIPS, min_size=1, max_size=30))
def test_every_clip_is_counted_once_in_each_histogram(clips: list[RecordedClip]) -> None:
    coverage = summarize_coverage(clips)
    assert sum(coverage.languages.values()) == coverage.n_clips == len(clips)
    for found in (coverage.length, coverage.loudness, coverage.snr, coverage.steps):
        assert sum(found.counts) == len(clips)
        assert len(found.edges) == len(found.counts) + 1
        assert found.minimum <= found.p10 <= found.median <= found.p90 <= found.maximum


def test_quantiles_and_bins_are_those_of_numpy() -> None:
    lengths = [1.0, 2.0, 4.0, 7.0, 16.0, 29.0]
    found = summarize_coverage([clip(i, audio_s=s) for i, s in enumerate(lengths)]).length
    assert found.counts == (2, 1, 1, 0, 1, 1)
    assert (found.median, found.p90) == (np.median(lengths), np.percentile(lengths, 90))


def test_a_varied_record_has_no_gaps() -> None:
    assert topics(varied()) == []


def test_english_clips_alone_for_a_multilingual_model_are_reported() -> None:
    (finding,) = find_gaps(varied(language="en"), is_multilingual=True)
    assert finding.topic is Topic.LANGUAGE
    assert "multilingual and all 40 clips are en" in finding.text


def test_an_english_model_may_be_calibrated_with_english_only() -> None:
    assert topics(varied(language="en"), is_multilingual=False) == []


def test_one_clip_of_another_language_does_not_make_a_record_multilingual() -> None:
    clips = [*varied(language="en"), clip(99, language="de")]
    (finding,) = find_gaps(clips, is_multilingual=True)
    assert "40 of 41 clips are en" in finding.text


def test_clips_of_unknown_language_are_counted() -> None:
    (finding,) = find_gaps(varied(language=None), is_multilingual=True)
    assert "the language of 40 of 40 clips is unknown" in finding.text


@pytest.mark.parametrize(
    ("changed", "topic", "text"),
    [
        ({"audio_s": 8.0}, Topic.LENGTH, "no clip longer than 15 s"),
        ({"audio_s": 20.0}, Topic.LENGTH, "no clip shorter than 3 s"),
        ({"loudness_dbfs": -20.0}, Topic.LOUDNESS, "no clip quieter than -30 dBFS"),
        ({"snr_db": 40.0}, Topic.NOISE, "no clip with an SNR under 20 dB"),
        ({"n_steps": 20}, Topic.STEPS, "no clip of more than 50 tokens"),
        ({"speaker": "a/1"}, Topic.SPEAKERS, "only 1 speaker"),
        ({"source": "sottovoce-demo"}, Topic.SPEAKERS, "all speech is synthetic"),
    ],
)
def test_a_rare_kind_of_clip_is_reported(changed: dict[str, object], topic: Topic, text: str) -> None:
    findings = find_gaps(varied(**changed), is_multilingual=True)
    assert any(finding.topic is topic and text in finding.text for finding in findings)


def test_a_single_clip_of_a_kind_is_still_thin() -> None:
    clips = [*varied(audio_s=8.0), clip(99, audio_s=20.0)]
    assert "only 1 of 41 clips longer than 15 s" in [f.text for f in find_gaps(clips, is_multilingual=True)]


def test_long_transcripts_are_looked_for_only_where_all_clips_were_transcribed() -> None:
    clips = [*varied(n_steps=20)[:8], *varied(n_steps=None)[8:]]
    assert Topic.STEPS not in topics(clips)
    assert summarize_coverage(clips).n_transcribed_clips == 8


def test_a_transcript_that_ran_into_a_loop_is_named() -> None:
    clips = [*varied(), clip(99, n_steps=444, audio_s=4.0)]
    (finding,) = find_gaps(clips, is_multilingual=True)
    assert finding.text.startswith("clip-99 gave 444 tokens for 4.0 s")
