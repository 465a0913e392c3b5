"""`distil` on the tiny model, tuned to a text: the student learns it, resumes, and is a checkpoint like others."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file

from sottovoce.errors import InputError
from sottovoce.optimize.checkpoint.check import check_checkpoint
from sottovoce.optimize.openvino.export import TorchWhisper
from sottovoce.progress import Silent
from sottovoce.speech.clips import Clip, ClipSet
from sottovoce.speech.sets import read_speech
from sottovoce.storage.resumable import resumable_path
from sottovoce.train.decoder.model import Method
from sottovoce.train.distil.card import model_card
from sottovoce.train.distil.distil import distil
from sottovoce.train.distil.report import DistilReport
from sottovoce.train.distil.spec import DistilSpec, DistilSpeech
from sottovoce.train.finetune.finetune import finetune
from sottovoce.train.finetune.spec import FinetuneSpec, FinetuneSpeech
from sottovoce.train.loop import LoopSpec
from tests.support.interrupts import CtrlC
from tests.support.tones import write_tone_set

LOOP = LoopSpec(batch_size=4, learning_rate=0.02, n_evaluations=2, average=0.5)
SPEC = DistilSpec(n_layers=1, n_steps=16, threads=1, loop=LOOP)
TEXT = "a steady tone"

pytestmark = pytest.mark.usefixtures("_little_speech")


@pytest.fixture(scope="module")
def general(tmp_path_factory: pytest.TempPathFactory) -> ClipSet:
    return read_speech(str(write_tone_set(tmp_path_factory.mktemp("general"), n_clips=2)))


@pytest.fixture(scope="module")
def one_text(speech: ClipSet) -> ClipSet:
    return ClipSet(name="one text", clips=tuple(replace(clip, text=TEXT) for clip in speech.clips))


@pytest.fixture(scope="module")
def teacher(
    tiny: Path, one_text: ClipSet, general: ClipSet, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model that gives the text and ends. The tiny one has zeros for the end, which it cannot learn."""
    folder = tmp_path_factory.mktemp("teacher")
    whisper = TorchWhisper(tiny)
    with torch.no_grad():
        tokens = whisper.model.model.decoder.embed_tokens.weight
        tokens[whisper.config.eos_token_id] = tokens[1] * 0.5 - tokens[2]
    whisper.model.save_pretrained(folder / "with-end")
    whisper.processor.save_pretrained(folder / "with-end")
    out = folder / "teacher"
    spec = FinetuneSpec(method=Method.FULL, n_steps=32, threads=1, loop=LOOP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sottovoce.train.speech.MIN_AUDIO_S", 10.0)
        report = finetune(
            str(folder / "with-end"),
            FinetuneSpeech(training=(one_text,), general=general),
            out,
            spec,
            Silent(),
        )
    assert report.held_out.after.errors == 0
    return out


@pytest.fixture(scope="module")
def distilled(
    teacher: Path, one_text: ClipSet, general: ClipSet, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, DistilReport]:
    out = tmp_path_factory.mktemp("student") / "student"
    speech = DistilSpeech(training=(one_text,), general=general)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sottovoce.train.speech.MIN_AUDIO_S", 10.0)
        return out, distil(str(teacher), speech, out, SPEC, Silent())


def test_the_student_says_what_its_teacher_says(distilled: tuple[Path, DistilReport]) -> None:
    _, report = distilled
    assert (report.layers, report.n_layers) == ((0,), 2)
    assert report.n_weights < report.n_teacher_weights
    assert report.history[-1].held_out < 0.5 * report.history[0].held_out
    assert report.held_out.references == "transcripts"
    assert report.held_out.student.errors == report.held_out.teacher.errors == 0


def test_the_student_is_a_checkpoint_with_the_encoder_of_its_teacher(
    distilled: tuple[Path, DistilReport], teacher: Path
) -> None:
    folder, report = distilled
    check_checkpoint(folder)
    assert TorchWhisper(folder).config.decoder_layers == 1
    before, after = (load_file(each / "model.safetensors") for each in (teacher, folder))
    same = {name for name in after if name.startswith("model.encoder.")}
    assert same
    assert all((before[name] == after[name]).all() for name in same)
    assert (folder / "README.md").read_text(encoding="utf-8") == model_card(report)
    assert ", 16 steps." in model_card(report.model_copy(update={"n_steps": 5000}))


def test_an_interrupted_distillation_ends_with_the_same_student(
    distilled: tuple[Path, DistilReport],
    teacher: Path,
    one_text: ClipSet,
    general: ClipSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sottovoce.train.loop.SAVE_S", 0.0)
    out, speech = tmp_path / "student", DistilSpeech(training=(one_text,), general=general)
    with pytest.raises(KeyboardInterrupt):
        distil(str(teacher), speech, out, SPEC, CtrlC(5))
    assert resumable_path(out).is_dir()
    assert distil(str(teacher), speech, out, SPEC, Silent()) == distilled[1]
    assert (out / "model.safetensors").read_bytes() == (distilled[0] / "model.safetensors").read_bytes()
    assert not resumable_path(out).exists()


def test_without_transcripts_the_student_is_compared_with_its_teachers_words(
    teacher: Path, one_text: ClipSet, general: ClipSet, tmp_path: Path
) -> None:
    silent = ClipSet(name="recordings", clips=tuple(replace(clip, text=None) for clip in one_text.clips))
    report = distil(
        str(teacher), DistilSpeech(training=(silent,), general=general), tmp_path / "student", SPEC, Silent()
    )
    assert report.held_out.references == "teacher"
    assert report.held_out.teacher.errors == 0
    assert report.n_left_out == 0


def test_a_teacher_with_errors_on_all_clips_is_refused(
    teacher: Path, one_text: ClipSet, general: ClipSet, tmp_path: Path
) -> None:
    other = ClipSet(
        name="other", clips=tuple(replace(clip, text="four other words here") for clip in one_text.clips)
    )
    with pytest.raises(
        InputError, match=r"has more than 10 % word errors on each of 6 clips, .* nothing to learn"
    ):
        distil(str(teacher), DistilSpeech(training=(other,), general=general), tmp_path / "s", SPEC, Silent())
    assert list(tmp_path.iterdir()) == []


def test_a_student_is_replaced_with_force(
    distilled: tuple[Path, DistilReport], teacher: Path, one_text: ClipSet, general: ClipSet, tmp_path: Path
) -> None:
    out = tmp_path / "student"
    shutil.copytree(distilled[0], out)
    spec, speech = replace(SPEC, n_steps=2), DistilSpeech(training=(one_text,), general=general)
    report = distil(str(teacher), speech, out, spec, Silent(), force=True)
    assert DistilReport.model_validate_json((out / "distil.json").read_bytes()) == report
    assert report.n_steps == 2
    assert list(tmp_path.iterdir()) == [out]


def test_another_folder_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    nothing = ClipSet(name="none", clips=())
    with pytest.raises(InputError, match=r"has no distil\.json of an earlier training"):
        distil(
            "no-model",
            DistilSpeech(training=(nothing,), general=nothing),
            tmp_path,
            SPEC,
            Silent(),
            force=True,
        )


def test_layers_that_the_teacher_has_not_are_refused_before_any_work(
    teacher: Path, general: ClipSet, tmp_path: Path
) -> None:
    nothing = ClipSet(name="nothing", clips=(Clip(clip_id="a", audio=b""),))
    with pytest.raises(InputError, match="the decoder has 2 layers"):
        distil(
            str(teacher),
            DistilSpeech(training=(nothing,), general=general),
            tmp_path / "s",
            replace(SPEC, n_layers=2),
            Silent(),
        )
