"""`optimize` records the clips that it plans to record."""

from dataclasses import replace
from pathlib import Path

import pytest

from sottovoce.calibrate.record import load_calibration
from sottovoce.errors import InputError, SpecError
from sottovoce.optimize.plan import RunPlan, describe, plan, settings_of, summarize
from sottovoce.progress import Silent
from sottovoce.recipes.load import load_recipe
from sottovoce.speech.clips import Clip, ClipSet
from sottovoce.speech.sets import read_speech
from tests.support.checkpoints import tiny_checkpoint
from tests.support.tones import tone, write_tone_set, write_wav

N_CLIPS = 4


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny.en", multilingual=False)


@pytest.fixture
def mixed(tmp_path: Path) -> ClipSet:
    """Return tones that are in turns English, German, too long by their set, and missing."""
    clips = read_speech(str(write_tone_set(tmp_path / "speech", n_clips=24, splits=()))).clips
    return ClipSet(name="mixed", clips=tuple(changed(clip, i) for i, clip in enumerate(clips)))


def changed(clip: Clip, i: int) -> Clip:
    match i % 4:
        case 1:
            return replace(clip, language="de")
        case 2:
            return replace(clip, duration_s=31.0)
        case 3:
            return replace(clip, audio=Path("nowhere") / clip.clip_id)
        case _:
            return clip


def planned(model: Path, speech: ClipSet, out: Path) -> RunPlan:
    recipe = load_recipe("int8", [f"calibration.n_clips={N_CLIPS}"])
    return plan(str(model), recipe, speech, out, force=False)


def test_the_planned_clips_are_recorded(english: Path, mixed: ClipSet, tmp_path: Path) -> None:
    made = planned(english, mixed, tmp_path / "run")
    recorded = load_calibration(made.calibration, Silent()).loaded.loaded
    assert made.calibration.expected == tuple(clip.clip for clip in recorded)
    assert len(made.calibration.expected) == N_CLIPS
    assert f"record: {N_CLIPS} of 24 calibration clips of mixed" in describe(made)


def test_the_plan_says_how_many_clips_are_transcribed(english: Path, mixed: ClipSet, tmp_path: Path) -> None:
    recipe = load_recipe("int8-fast", ["calibration.n_clips=4", "calibration.n_transcribed_clips=3"])
    made = plan(str(english), recipe, mixed, tmp_path / "run", force=False)
    assert "record: 4 of 24 calibration clips of mixed, 3 of them transcribed" in describe(made)
    assert summarize(made)["n_transcribed_clips"] == 3
    every = recipe.model_copy(
        update={"calibration": load_recipe("int8", ["calibration.n_clips=4"]).calibration}
    )
    whole = plan(str(english), every, mixed, tmp_path / "run", force=False)
    assert made.forecast.recording.time.recording_s < whole.forecast.recording.time.recording_s


def test_a_recipe_that_needs_the_tokens_of_all_clips_is_refused_with_fewer(
    english: Path, mixed: ClipSet, tmp_path: Path
) -> None:
    recipe = load_recipe("int8", ["calibration.n_clips=4", "calibration.n_transcribed_clips=3"])
    with pytest.raises(
        SpecError, match=r"n_transcribed_clips is 3, but int8 is quantized by the tokens of all 4"
    ):
        plan(str(english), recipe, mixed, tmp_path / "run", force=False)


def test_other_audio_of_a_clip_that_is_recorded_is_another_plan(
    english: Path, mixed: ClipSet, tmp_path: Path
) -> None:
    before = planned(english, mixed, tmp_path / "run")
    before_sha256, last = settings_of(before)["speech"], before.calibration.expected[-1].audio
    assert isinstance(last, Path)
    write_wav(last, tone(1.0, pitch_hz=999))
    assert settings_of(planned(english, mixed, tmp_path / "run"))["speech"] != before_sha256


def with_all(speech: ClipSet, **changes: object) -> ClipSet:
    return replace(speech, clips=tuple(replace(clip, **changes) for clip in speech.clips))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"language": "de"}, r"mixed has no English clips of split calib \(it has de\)"),
        ({"split": "train"}, "mixed has no clips of split calib; it has train"),
        ({"duration_s": 31.0}, "mixed has no calibration clip of at most 30 s"),
        (
            {"audio": Path("nowhere") / "a.wav"},
            "tone-.. does not exist; none of the 12 calibration clips of mixed exists",
        ),
    ],
)
def test_speech_that_cannot_be_recorded_is_refused_before_any_work(
    english: Path, mixed: ClipSet, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        planned(english, with_all(mixed, **changes), tmp_path / "run")
