"""`finetune` on the tiny model: it learns a text, forgets others, resumes, and writes what transformers and we load."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from safetensors.numpy import load_file

from sottovoce.errors import InputError
from sottovoce.optimize.checkpoint.check import check_checkpoint
from sottovoce.progress import Silent
from sottovoce.runtime.decoding.tokenizer import MAX_TOKENS, Tokens
from sottovoce.speech.clips import Clip, ClipSet
from sottovoce.speech.sets import read_speech
from sottovoce.storage.resumable import resumable_path
from sottovoce.train.decoder.model import Method, TrainableWhisper
from sottovoce.train.finetune.card import model_card
from sottovoce.train.finetune.finetune import finetune
from sottovoce.train.finetune.report import FinetuneReport
from sottovoce.train.finetune.spec import FinetuneSpec, FinetuneSpeech
from sottovoce.train.loop import LoopSpec
from sottovoce.train.speech import Division, load_division
from tests.support.interrupts import CtrlC
from tests.support.notes import Notes
from tests.support.tones import write_tone_set

N_STEPS = 16
LOOP = LoopSpec(batch_size=4, learning_rate=0.02, n_evaluations=2, average=0.5)
SPEC = FinetuneSpec(method=Method.FULL, n_steps=N_STEPS, threads=1, loop=LOOP, terms=("steady",))
TEXT = "a steady tone"

pytestmark = pytest.mark.usefixtures("_little_speech")


def speech_of(training: ClipSet, general: ClipSet) -> FinetuneSpeech:
    return FinetuneSpeech(training=(training,), general=general)


@pytest.fixture(scope="module")
def general(tmp_path_factory: pytest.TempPathFactory) -> ClipSet:
    return read_speech(str(write_tone_set(tmp_path_factory.mktemp("general"), n_clips=2)))


@pytest.fixture(scope="module")
def one_text(speech: ClipSet) -> ClipSet:
    """Give all clips the same transcript, which is soon learnt."""
    clips = tuple(replace(clip, text=TEXT) for clip in speech.clips)
    return ClipSet(name="one text", clips=clips)


@pytest.fixture(scope="module")
def tuned(
    tiny: Path, one_text: ClipSet, general: ClipSet, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, FinetuneReport]:
    out = tmp_path_factory.mktemp("tuned") / "mine"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sottovoce.train.speech.MIN_AUDIO_S", 10.0)
        return out, finetune(str(tiny), speech_of(one_text, general), out, SPEC, Silent())


def test_held_out_speakers_have_fewer_word_errors(tuned: tuple[Path, FinetuneReport]) -> None:
    _, report = tuned
    assert report.kept
    before, after = report.held_out.before, report.held_out.after
    assert (before.substitutions, after.substitutions) == (6, 0)
    assert after.insertions < before.insertions  # a random model hardly ever ends a text
    assert report.history[-1].held_out < 0.5 * report.history[0].held_out
    assert report.terms is not None
    assert report.terms.n_terms == report.terms.missed_before == 2
    assert report.terms.missed_after == 0


def test_what_is_forgotten_is_in_the_report_and_on_the_card(tuned: tuple[Path, FinetuneReport]) -> None:
    folder, report = tuned
    assert report.general.n_clips == 2
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card == model_card(report)
    assert (
        f"| other speech | {100 * report.general.before.wer:.2f} | {100 * report.general.after.wer:.2f} | 2 |"
        in card
    )


def test_the_card_has_the_steps_that_were_trained(tuned: tuple[Path, FinetuneReport]) -> None:
    planned = tuned[1].model_copy(update={"n_steps": 5000})
    assert f", {N_STEPS} steps." in model_card(planned)


def test_capitals_and_long_transcripts_are_noted_and_do_not_train(
    tiny: Path, one_text: ClipSet, general: ClipSet, tmp_path: Path
) -> None:
    first, *others = (replace(clip, text=TEXT.upper()) for clip in one_text.clips)
    long = replace(first, text="TONE " * MAX_TOKENS)
    notes = Notes()
    speech = speech_of(replace(one_text, clips=(long, *others)), general)
    report = finetune(str(tiny), speech, tmp_path / "mine", replace(SPEC, n_steps=1), notes)
    assert "the transcripts of one text are all capitals; trained in lower case" in notes.texts
    assert f"left out 1 clips of more than {MAX_TOKENS} tokens, such as tone-0" in notes.texts
    assert report.n_clips == 5
    assert report.audio_s == pytest.approx(10.25, abs=0.1)


def test_the_folder_is_a_checkpoint_whose_encoder_is_unchanged(
    tuned: tuple[Path, FinetuneReport], tiny: Path
) -> None:
    folder, _ = tuned
    check_checkpoint(folder)
    before, after = (load_file(each / "model.safetensors") for each in (tiny, folder))
    changed = {name for name in after if (before[name] != after[name]).any()}
    assert changed
    assert all(name.startswith("model.decoder.layers.") for name in changed)


def test_an_interrupted_training_ends_with_the_same_model(
    tuned: tuple[Path, FinetuneReport],
    tiny: Path,
    one_text: ClipSet,
    general: ClipSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sottovoce.train.loop.SAVE_S", 0.0)
    out = tmp_path / "mine"
    with pytest.raises(KeyboardInterrupt):
        finetune(str(tiny), speech_of(one_text, general), out, SPEC, CtrlC(5))
    assert resumable_path(out).is_dir()
    calls = Mock()
    transcribe = TrainableWhisper.transcribe

    def counted(*given: Any) -> Tokens:
        calls()
        return transcribe(*given)

    monkeypatch.setattr(TrainableWhisper, "transcribe", counted)
    report = finetune(str(tiny), speech_of(one_text, general), out, SPEC, Silent())
    assert report == tuned[1]
    assert calls.call_count == report.held_out.n_clips + report.general.n_clips  # those before are kept
    assert (out / "model.safetensors").read_bytes() == (tuned[0] / "model.safetensors").read_bytes()
    assert not resumable_path(out).exists()


def test_a_training_is_not_resumed_with_other_speech(
    tiny: Path, one_text: ClipSet, general: ClipSet, tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    with pytest.raises(KeyboardInterrupt):
        finetune(str(tiny), speech_of(one_text, general), out, SPEC, CtrlC(1))
    changes: tuple[dict[str, Any], ...] = ({"language": "de"}, {"text": "another tone"}, {"speaker": "s9"})
    for changed in changes:
        *others, last = one_text.clips
        training = replace(one_text, clips=(*others, replace(last, **changed)))
        with pytest.raises(InputError, match=r"unfinished training with other settings \(speech"):
            finetune(str(tiny), speech_of(training, general), out, SPEC, Silent())


def rehearsing(one_text: ClipSet, general: ClipSet, *clips: Clip) -> FinetuneSpeech:
    return replace(speech_of(one_text, general), rehearsed=(ClipSet(name="others", clips=clips),))


def test_speech_of_one_speaker_cannot_be_rehearsed(
    tiny: Path, one_text: ClipSet, general: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainableWhisper, "encode", Mock(side_effect=AssertionError("refused too late")))
    speech = rehearsing(one_text, general, *(replace(clip, speaker="s0") for clip in one_text.clips))
    with pytest.raises(InputError, match="--rehearse has 8 usable clips, want those of at least 2 speakers"):
        finetune(str(tiny), speech, tmp_path / "mine", SPEC, Silent())


def test_transcripts_that_loop_cannot_be_rehearsed(
    tiny: Path, one_text: ClipSet, general: ClipSet, tmp_path: Path
) -> None:
    """A random model never ends by itself, so that none of its transcripts can."""
    speech = rehearsing(one_text, general, *one_text.clips[:4])
    with pytest.raises(InputError, match="--rehearse has 0 usable clips, want those of at least 2 speakers"):
        finetune(str(tiny), speech, tmp_path / "mine", SPEC, Silent())
    assert list(tmp_path.iterdir()) == []


def test_no_more_is_taken_of_a_training_than_rehearsed_speech_allows(
    tuned: tuple[Path, FinetuneReport],
    one_text: ClipSet,
    general: ClipSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same recordings are to be transcribed in another way: each step away from the checkpoint forgets."""
    # The tiny model gives the text that it was tuned to, but hardly ever ends it.
    monkeypatch.setattr(
        "sottovoce.train.finetune.finetune.with_own_transcripts", lambda clips, *_: tuple(clips)
    )
    other = ClipSet(
        name="other", clips=tuple(replace(clip, text="some loud words") for clip in one_text.clips)
    )
    speech = FinetuneSpeech(training=(other,), general=general, rehearsed=(one_text,))
    spec = replace(SPEC, n_steps=4, max_forgetting=0.0)
    report = finetune(str(tuned[0]), speech, tmp_path / "mine", spec, Silent())
    checkpoint, *_, trained = report.averages
    assert (checkpoint.share, trained.share) == (0.0, 1.0)
    assert trained.rehearsed > checkpoint.rehearsed
    assert trained.held_out < checkpoint.held_out
    assert report.share == 0.0
    assert report.held_out.after == report.held_out.before
    assert not report.kept


@pytest.mark.large
def test_adapters_are_merged_into_the_weights(
    tiny: Path, one_text: ClipSet, general: ClipSet, tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    report = finetune(
        str(tiny), speech_of(one_text, general), out, replace(SPEC, method=Method.LORA, rank=4), Silent()
    )
    assert report.kept
    assert report.n_trained_weights < 20_000
    assert set(load_file(out / "model.safetensors")) == set(load_file(tiny / "model.safetensors"))


def test_a_model_that_does_not_gain_is_not_written(
    tiny: Path, one_text: ClipSet, general: ClipSet, tmp_path: Path
) -> None:
    spec = replace(SPEC, n_steps=1, loop=replace(LOOP, learning_rate=0.0))
    report = finetune(str(tiny), speech_of(one_text, general), tmp_path / "mine", spec, Silent())
    assert not report.kept
    assert list(tmp_path.iterdir()) == []


def test_a_fine_tuned_folder_is_replaced_with_force_as_often_as_one_likes(
    tuned: tuple[Path, FinetuneReport], tiny: Path, one_text: ClipSet, general: ClipSet, tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    shutil.copytree(tuned[0], out)
    for seed in (1, 2):
        (out / "old").touch()
        spec = replace(SPEC, n_steps=8, loop=replace(LOOP, seed=seed))
        report = finetune(str(tiny), speech_of(one_text, general), out, spec, Silent(), force=True)
        assert FinetuneReport.model_validate_json((out / "finetune.json").read_bytes()) == report
        assert report.seed == seed
        assert not (out / "old").exists()
        assert list(tmp_path.iterdir()) == [out]


def test_a_folder_that_exists_is_refused_before_the_work(tmp_path: Path) -> None:
    nothing = speech_of(ClipSet(name="none", clips=()), ClipSet(name="none", clips=()))
    (tmp_path / "finetune.json").write_text('{"rank": 16}', encoding="utf-8")
    with pytest.raises(InputError, match=r"exists already\. Choose another --out, or pass --force"):
        finetune("no-model", nothing, tmp_path, SPEC, Silent())
    with pytest.raises(InputError, match=r"has no finetune\.json of an earlier training"):
        finetune("no-model", nothing, tmp_path, SPEC, Silent(), force=True)


def test_a_folder_that_another_process_wrote_meanwhile_is_refused_before_the_training(
    tiny: Path, one_text: ClipSet, general: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "mine"

    def slow(*given: Any, **options: Any) -> Division:
        out.mkdir()
        return load_division(*given, **options)

    monkeypatch.setattr("sottovoce.train.finetune.finetune.load_division", slow)
    with pytest.raises(InputError, match="exists already"):
        finetune(str(tiny), speech_of(one_text, general), out, SPEC, Silent())
    assert list(tmp_path.iterdir()) == [out]


def test_a_command_that_is_refused_leaves_nothing_and_the_corrected_one_runs(
    tiny: Path, one_text: ClipSet, general: ClipSet, tmp_path: Path
) -> None:
    spec = replace(SPEC, n_steps=1)
    first, *others = one_text.clips
    incomplete = ClipSet(name="one text", clips=(replace(first, text=None), *others))
    with pytest.raises(InputError, match="1 of 6 clips have no transcript"):
        finetune(str(tiny), speech_of(incomplete, general), tmp_path / "mine", spec, Silent())
    assert list(tmp_path.iterdir()) == []
    finetune(str(tiny), speech_of(one_text, general), tmp_path / "mine", spec, Silent())


def test_general_speech_without_transcripts_is_refused(tiny: Path, one_text: ClipSet, tmp_path: Path) -> None:
    silent = ClipSet(name="others", clips=(Clip(clip_id="a", audio=b""),))
    with pytest.raises(
        InputError, match="others has no transcripts to measure on; give other speech with --general"
    ):
        finetune(str(tiny), speech_of(one_text, silent), tmp_path / "mine", SPEC, Silent())
