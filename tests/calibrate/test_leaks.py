"""What an evaluation set shares with calibration."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.calibrate.leaks import (
    Fingerprint,
    describe_leaks,
    find_leaks,
    fingerprint_evaluation,
    take_fingerprint,
)
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.speech.clips import Clip
from sottovoce.speech.loading import LoadedClip, load_clips
from sottovoce.speech.properties import normalize_text, sha256_of_text, sha256_of_wave, speaker_of
from tests.support.tones import tone, write_wav

TEXT = "The harbor lights went out one by one."

KEYS = st.sampled_from([None, "a", "b", "c"])
FINGERPRINTS = st.lists(
    st.builds(
        Fingerprint,
        clip_id=st.text("xyz", min_size=1, max_size=3),
        audio_sha256=KEYS,
        speaker=KEYS,
        text_sha256=KEYS,
    ),
    max_size=12,
)


@pytest.fixture
def recorded(tmp_path: Path) -> LoadedClip:
    path = tmp_path / "recorded.wav"
    write_wav(path, tone(2.0, pitch_hz=200))
    clip = Clip(clip_id="recorded", audio=path, text=TEXT, speaker="7", source="corpus")
    (loaded,) = load_clips([clip], wanted=None).loaded
    return loaded


def compare(recorded: LoadedClip, *clips: Clip) -> dict[str, list[str]]:
    """Return the evaluation clips that share audio, speaker and text with the calibration clip."""
    known = take_fingerprint(recorded.clip, sha256_of_wave(recorded.wave))
    leaks = find_leaks([known], fingerprint_evaluation(clips, [recorded]), split="eval")
    return {
        kind: [pair.evaluation for pair in getattr(leaks, kind)]
        for kind in ("same_audio", "same_speaker", "same_text")
    }


def as_flac(wav: Path, flac: Path) -> None:
    samples, rate = soundfile.read(wav, dtype="int16")
    soundfile.write(flac, samples, rate)


def as_copy(wav: Path, copy: Path) -> None:
    copy.write_bytes(wav.read_bytes())


@pytest.mark.parametrize("make", [as_flac, as_copy])
def test_the_same_samples_in_another_file_leak(
    recorded: LoadedClip, tmp_path: Path, make: Callable[[Path, Path], None]
) -> None:
    other = tmp_path / "other.flac"
    assert isinstance(recorded.clip.audio, Path)
    make(recorded.clip.audio, other)
    assert compare(recorded, Clip(clip_id="other", audio=other))["same_audio"] == ["other"]


def test_the_bytes_of_a_clip_leak_as_its_file_does(recorded: LoadedClip) -> None:
    assert isinstance(recorded.clip.audio, Path)
    other = Clip(clip_id="bytes", audio=recorded.clip.audio.read_bytes())
    assert compare(recorded, other)["same_audio"] == ["bytes"]


@pytest.mark.parametrize("duration_s", [2.0, 2.01, 5.0])
def test_other_audio_does_not_leak_whatever_its_length(
    recorded: LoadedClip, tmp_path: Path, duration_s: float
) -> None:
    write_wav(tmp_path / "other.wav", tone(duration_s, pitch_hz=300))
    found = compare(recorded, Clip(clip_id="other", audio=tmp_path / "other.wav"))
    assert found == {"same_audio": [], "same_speaker": [], "same_text": []}


def test_only_clips_as_long_as_a_recorded_one_are_decoded(recorded: LoadedClip, tmp_path: Path) -> None:
    for name, duration_s in (("near", 2.02), ("far", 3.0)):
        write_wav(tmp_path / f"{name}.wav", tone(duration_s, pitch_hz=300))
    clips = [Clip(clip_id=name, audio=tmp_path / f"{name}.wav") for name in ("near", "far")]
    near, far = fingerprint_evaluation(clips, [recorded])
    assert near.audio_sha256 == sha256_of_wave(load_clips(clips[:1], wanted=None).loaded[0].wave)
    assert far.audio_sha256 is None


def test_what_cannot_be_decoded_is_compared_by_its_words_only(recorded: LoadedClip, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    clips = [
        Clip(clip_id="broken", audio=tmp_path / "broken.wav", text=TEXT),
        Clip(clip_id="missing", audio=tmp_path / "missing.wav", text=TEXT.upper()),
    ]
    assert compare(recorded, *clips)["same_audio"] == []
    assert compare(recorded, *clips)["same_text"] == ["broken", "missing"]


def test_a_speaker_is_the_same_only_in_the_same_source(recorded: LoadedClip, tmp_path: Path) -> None:
    same = Clip(clip_id="same", audio=tmp_path / "a", speaker="7", source="corpus")
    clips = (
        same,
        replace(same, clip_id="elsewhere", source="other"),
        replace(same, clip_id="who", speaker=None),
    )
    assert compare(recorded, *clips)["same_speaker"] == ["same"]
    assert speaker_of(clips[2]) is None


@pytest.mark.parametrize(
    "text",
    [
        "the harbor lights went out, one by one",
        "  THE  HARBOR\nLIGHTS WENT OUT — ONE BY ONE!",
        "The hárbor lights went out one by one",
    ],
)
def test_texts_that_differ_in_case_accents_and_punctuation_are_the_same(text: str) -> None:
    assert sha256_of_text(text) == sha256_of_text(TEXT)


@pytest.mark.parametrize("text", [None, "", "Yes.", "turn it on", "!!! ... ---- ,,,, ;;;;"])
def test_a_short_text_has_no_hash(text: str | None) -> None:
    assert sha256_of_text(text) is None


def test_letters_of_every_script_are_kept() -> None:
    assert normalize_text("今天天气很好。") == "今天天气很好"
    assert normalize_text("\uff46\uff55\uff4c\uff4c Straße") == "full strasse"


@given(st.text())
def test_normalizing_twice_changes_nothing(text: str) -> None:
    assert normalize_text(normalize_text(text)) == normalize_text(text)


@given(FINGERPRINTS, FINGERPRINTS)
def test_every_clip_that_shares_something_is_found_and_no_other(
    calibration: list[Fingerprint], evaluation: list[Fingerprint]
) -> None:
    leaks = find_leaks(calibration, evaluation, split="eval")
    for pairs, key in (
        (leaks.same_audio, "audio_sha256"),
        (leaks.same_speaker, "speaker"),
        (leaks.same_text, "text_sha256"),
    ):
        known = {getattr(clip, key) for clip in calibration} - {None}
        assert [pair.evaluation for pair in pairs] == [
            c.clip_id for c in evaluation if getattr(c, key) in known
        ]
    assert leaks.n_clips == len(evaluation)


@given(FINGERPRINTS)
def test_nothing_leaks_from_nothing(evaluation: list[Fingerprint]) -> None:
    assert describe_leaks(find_leaks([], evaluation, split="eval")) == ()


def test_leaks_are_reported_with_their_number_and_the_first_clip() -> None:
    clips = [Fingerprint(clip_id=f"e{i}", audio_sha256="a", speaker="s", text_sha256=None) for i in range(3)]
    audio, speaker = describe_leaks(find_leaks(clips[:1], clips, split="test"))
    assert audio.text.startswith("3 of 3 clips of split test are calibration clips")
    assert "(first: e0)" in audio.text
    assert "speaker" in speaker.text


def test_hashes_of_samples_are_those_of_their_bytes_as_float32() -> None:
    wave = np.linspace(-1, 1, SAMPLE_RATE_HZ, dtype=np.float32)
    assert sha256_of_wave(wave) == hashlib.sha256(wave.tobytes()).hexdigest()
    assert sha256_of_wave(wave) != sha256_of_wave(wave[:-1])
