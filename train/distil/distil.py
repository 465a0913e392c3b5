"""The stage `distil`: a checkpoint and speech in, a student with fewer decoder layers in Hugging Face's layout out.

The encoder is shared and stays, so that each clip is encoded once. The teacher's decoder runs beside the student's.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sottovoce import __version__
from sottovoce.errors import InputError
from sottovoce.machine.resources import usable_cores
from sottovoce.optimize.checkpoint.resolve import Checkpoint, resolve_checkpoint
from sottovoce.optimize.openvino.export import TorchWhisper
from sottovoce.progress import Reporter
from sottovoce.runtime.decoding.tokenizer import WhisperTokenizer
from sottovoce.runtime.transcript import Task
from sottovoce.speech.conditions import speech_spectrum
from sottovoce.speech.loading import LoadedClip
from sottovoce.speech.properties import speaker_of
from sottovoce.statistics.accuracy import WordErrors
from sottovoce.storage.documents import write_text
from sottovoce.train.accuracy import text_errors
from sottovoce.train.decoder.evaluation import general_clips
from sottovoce.train.decoder.examples import CopySpec, ExampleBook
from sottovoce.train.decoder.folders import (
    check_new_checkpoint,
    new_checkpoint,
    sha256_of_speech,
    unfinished_training,
)
from sottovoce.train.decoder.labels import LabelledClip, label_clips
from sottovoce.train.decoder.model import FrozenWhisper, Method, Tensor, TrainableWhisper, count_weights
from sottovoce.train.decoder.transcripts import MOST_OWN_TOKENS, kept_transcripts, own_text, transcripts
from sottovoce.train.distil.card import write_card
from sottovoce.train.distil.lessons import lesson_loss, taught_clips
from sottovoce.train.distil.report import ENOUGH_HOURS, REPORT_NAME, Comparison, DistilReport
from sottovoce.train.distil.spec import DistilSpec, DistilSpeech
from sottovoce.train.distil.student import check_layers, make_student, spaced_layers
from sottovoce.train.loop import Progress, Training, bf16_where_quick, item_at, planned_steps, torch_threads
from sottovoce.train.speech import Division, audio_s, load_division

EXAMPLES_NAME = "examples"
PLAN_NAME = "plan.json"
TRANSCRIPTS_NAME = "teacher.jsonl"
TOKENIZER_FOLDER = "tokenizer"

MAX_EPOCHS = 16
"""Over all clips and copies."""

SPECTRUM_CLIPS = 50


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Work:
    """What a distillation has, checked.

    Attributes:
        layers: of the teacher's decoder that are copied.
        general: clips of other speech.
        general_name: of that speech.
        began: monotonic seconds.
    """

    checkpoint: Checkpoint
    layers: tuple[int, ...]
    division: Division
    general: tuple[LoadedClip, ...]
    general_name: str
    speech: tuple[str, ...]
    spec: DistilSpec
    began: float


def distil(
    model: str,
    speech: DistilSpeech,
    out: Path,
    spec: DistilSpec,
    reporter: Reporter,
    *,
    force: bool = False,
    restart: bool = False,
) -> DistilReport:
    """Distil a checkpoint, or resume an interrupted distillation.

    Args:
        model: the teacher, as `resolve_checkpoint` takes it.
        speech: to learn from and to measure on.
        out: the new folder, in Hugging Face's layout.
        spec: options.
        reporter: follows the work.
        force: replace `out`, if an earlier `distil` wrote it.
        restart: delete what an interrupted command left.

    Raises:
        InputError: no such checkpoint, too little speech, layers that it has not, or `out` exists.
        StageError: training fails.
    """
    began = time.monotonic()
    check_new_checkpoint(out, REPORT_NAME, force=force)
    checkpoint = resolve_checkpoint(model)
    whisper = TorchWhisper(checkpoint.folder)
    layers = _layers(spec, whisper.config.decoder_layers)
    english_only = not whisper.model.generation_config.is_multilingual
    division = load_division(
        speech.training, english_only=english_only, seed=spec.loop.seed, reporter=reporter
    )
    work = _Work(
        checkpoint=checkpoint,
        layers=layers,
        division=division,
        general=general_clips(speech.general, division.clips, english_only=english_only, seed=spec.loop.seed),
        general_name=speech.general.name,
        speech=tuple(each.name for each in speech.training),
        spec=spec,
        began=began,
    )
    with unfinished_training(
        out, REPORT_NAME, _settings(work), reporter, force=force, restart=restart
    ) as unfinished:
        with torch_threads(spec.threads or usable_cores()):
            report, student = _Distillation(work, whisper, unfinished, reporter).run()
        with new_checkpoint(out, unfinished) as into:
            student.save_pretrained(into)
            whisper.processor.save_pretrained(into)
            write_text(into / REPORT_NAME, report.model_dump_json(indent=2) + "\n")
            write_card(into, report)
    return report


def _layers(spec: DistilSpec, n_layers: int) -> tuple[int, ...]:
    return (
        spaced_layers(n_layers, spec.n_layers) if spec.layers is None else check_layers(spec.layers, n_layers)
    )


def _settings(work: _Work) -> dict[str, str]:
    """Return everything that must be the same to resume."""
    spec = work.spec
    return {
        "model": f"{work.checkpoint.origin.name} {work.checkpoint.origin.sha256}",
        "speech": sha256_of_speech(work.division.training, work.division.held_out, work.general),
        "layers": str(work.layers),
        "length": f"{spec.minutes:g} minutes" if spec.n_steps is None else f"{spec.n_steps} steps",
        "copies": str(spec.n_copies),
        "language": str(spec.language),
        "most word errors": str(spec.max_wer),
        "seed": str(spec.loop.seed),
        "settings of training": repr(spec.loop),
        "version": __version__,
    }


class _Distillation:
    """One distillation in the folder of an unfinished one."""

    def __init__(self, work: _Work, whisper: TorchWhisper, folder: Path, reporter: Reporter) -> None:
        self._work = work
        self._spec = work.spec
        self._folder = folder
        self._reporter = reporter
        whisper.processor.save_pretrained(folder / TOKENIZER_FOLDER)
        whisper.model.generation_config.save_pretrained(folder / TOKENIZER_FOLDER)
        self._tokenizer = WhisperTokenizer.load(folder / TOKENIZER_FOLDER)
        self._teacher = FrozenWhisper(whisper.model)
        self._n_teacher_weights = count_weights(list(whisper.model.parameters()))
        student = make_student(whisper.model, work.layers)
        self._n_weights = count_weights(list(student.parameters()))
        self._student = TrainableWhisper(student, Method.FULL)
        self._book = ExampleBook(
            folder / EXAMPLES_NAME,
            CopySpec(
                n_mels=whisper.config.num_mel_bins,
                seed=self._spec.loop.seed,
                spectrum=speech_spectrum(clip.wave for clip in work.division.training[:SPECTRUM_CLIPS]),
            ),
        )
        self._training: tuple[LabelledClip, ...] = ()
        self._held_out: tuple[LabelledClip, ...] = ()

    def run(self) -> tuple[DistilReport, Any]:
        """Train, and return the report and the student, a `WhisperForConditionalGeneration`."""
        work = self._work
        self._encode()
        clips = (*work.division.clips, *work.general)
        texts = kept_transcripts(clips, self._teacher_text, self._folder / TRANSCRIPTS_NAME, self._reporter)
        by_clip = dict(zip((clip.audio_sha256 for clip in clips), texts, strict=True))
        self._training = self._taught(work.division.training, by_clip)
        self._held_out = self._taught(work.division.held_out, by_clip)
        self._describe()
        training = Training(self._folder, self._spec.loop, self._student.parameters, self._add_gradients)
        n_steps = self._n_steps(training)
        best, progress = training.run(n_steps, partial(self._loss_with, self._held_out), self._reporter)
        report = self._report(best, progress, n_steps, by_clip)
        return report, self._student.merged(best)

    def _encode(self) -> None:
        division = self._work.division
        with bf16_where_quick():
            for clips, n_copies in (
                (division.training, self._spec.n_copies),
                ((*division.held_out, *self._work.general), 1),
            ):
                self._book.write_missing(clips, n_copies, self._teacher.encode, self._reporter)

    def _taught(self, clips: Sequence[LoadedClip], by_clip: Mapping[str, str]) -> tuple[LabelledClip, ...]:
        """Return clips with the tokens of the teacher's transcripts.

        Raises:
            InputError: none is left.
        """
        texts = [by_clip[clip.audio_sha256] for clip in clips]
        taught = taught_clips(clips, texts, max_wer=self._spec.max_wer, language=self._spec.language or "en")
        if not taught:
            raise InputError(
                f"{self._work.checkpoint.name} has more than {100 * self._spec.max_wer:.0f} % word errors on each of {len(clips)} clips, "
                "or its transcript is empty or loops, so that there is nothing to learn; give other speech, or a higher --max-wer"
            )
        return label_clips(taught, self._tokenizer, language=self._spec.language).clips

    def _describe(self) -> None:
        layers = ", ".join(map(str, self._work.layers))
        taught_s = audio_s([each.clip for each in self._training])
        self._reporter.note(
            f"the student has the encoder and decoder layers {layers}: {self._n_weights / 1e6:.0f} of "
            f"{self._n_teacher_weights / 1e6:.0f} million weights"
        )
        self._reporter.note(
            f"learns from {len(self._training)} clips, {taught_s / 60:.0f} minutes; left out {self._n_left_out} on which the teacher has more "
            f"than {100 * self._spec.max_wer:.0f} % word errors, loops or finds no words; with few of many layers, a student of general use "
            f"needs {ENOUGH_HOURS} hours and more"
        )

    @property
    def _n_left_out(self) -> int:
        return len(self._work.division.training) - len(self._training)

    def _teacher_text(self, clip: LoadedClip) -> str:
        tokens = self._teacher.transcribe(self._book.read(clip, 0), self._prompt(clip), MOST_OWN_TOKENS)
        return own_text(tokens, self._tokenizer)

    def _student_text(self, clip: LoadedClip) -> str:
        return self._tokenizer.text(
            self._student.transcribe(self._book.read(clip, 0), self._prompt(clip), MOST_OWN_TOKENS)
        )

    def _prompt(self, clip: LoadedClip) -> tuple[int, ...]:
        return self._tokenizer.prompt(
            language=self._language(clip), task=Task.TRANSCRIBE, with_timestamps=False
        )

    def _language(self, clip: LoadedClip) -> str:
        return clip.clip.language or self._spec.language or "en"

    def _add_gradients(self, step: int) -> float:
        """Add the gradients of one batch, and return its mean loss in nats a token."""
        size, seed = self._spec.loop.batch_size, self._spec.loop.seed
        examples = [(each, number) for number in range(self._spec.n_copies) for each in self._training]
        batch = [item_at(examples, place, seed) for place in range(step * size, (step + 1) * size)]
        n_tokens = sum(len(each.labels) for each, _ in batch)
        total = 0.0
        for each, number in batch:
            loss = self._loss(each, number) / n_tokens
            loss.backward()
            total += float(loss.detach())
        return total

    def _loss(self, each: LabelledClip, number: int) -> Tensor:
        import torch

        states = self._book.read(each.clip, number)
        with bf16_where_quick():
            with torch.no_grad():
                teacher = self._teacher.logits(states, each.prompt, each.labels)
            student = self._student.logits(states, each.prompt, each.labels)
        return lesson_loss(student, teacher, torch.tensor(each.labels))

    def _loss_with(self, clips: Sequence[LabelledClip], values: Mapping[str, Tensor]) -> float:
        """Return the loss on clips that do not teach, nats a token."""
        import torch

        n_tokens = sum(len(each.labels) for each in clips)
        with self._student.using(values), torch.inference_mode():
            return sum(float(self._loss(each, 0)) for each in clips) / n_tokens

    def _n_steps(self, training: Training) -> int:
        return planned_steps(self._folder / PLAN_NAME, self._spec.n_steps, lambda: self._forecast(training))

    def _forecast(self, training: Training) -> int:
        """Return how many steps fit the time that is left, up to 16 epochs."""
        spec = self._spec
        spent_s = time.monotonic() - self._work.began
        measured_s = time.monotonic()
        self._loss_with(self._held_out, self._student.parameters)
        evaluation_s = (spec.loop.n_evaluations + 3) * (time.monotonic() - measured_s)
        left_s = 60 * spec.minutes - spent_s - evaluation_s
        most = MAX_EPOCHS * spec.n_copies * len(self._training) // spec.loop.batch_size
        return min(most, round(left_s / training.time_a_step()))

    def _report(
        self, best: Mapping[str, Tensor], progress: Progress, n_steps: int, by_clip: Mapping[str, str]
    ) -> DistilReport:
        work = self._work
        compare = partial(self._compare, best, by_clip)
        return DistilReport(
            model=work.checkpoint.name,
            layers=work.layers,
            n_layers=self._teacher.n_decoder_layers,
            n_weights=self._n_weights,
            n_teacher_weights=self._n_teacher_weights,
            n_trained_weights=count_weights(list(self._student.parameters.values())),
            seed=self._spec.loop.seed,
            speech=work.speech,
            audio_s=audio_s([each.clip for each in self._training]),
            n_clips=len(self._training),
            n_left_out=self._n_left_out,
            n_copies=self._spec.n_copies,
            n_steps=n_steps,
            best_step=progress.best_step,
            held_out=compare(" + ".join(work.speech), work.division.held_out),
            general=compare(work.general_name, work.general),
            history=progress.history,
        )

    def _compare(
        self, best: Mapping[str, Tensor], by_clip: Mapping[str, str], name: str, clips: Sequence[LoadedClip]
    ) -> Comparison:
        """Count the word errors of teacher and student: against transcripts where all clips have one, else against the teacher."""
        has_transcripts = all(clip.clip.text for clip in clips)
        taught = [by_clip[clip.audio_sha256] for clip in clips]
        if not has_transcripts:
            clips = [
                replace(clip, clip=replace(clip.clip, text=text))
                for clip, text in zip(clips, taught, strict=True)
                if text.strip()
            ]
            taught = [clip.clip.text or "" for clip in clips]
        with self._student.using(best):
            texts = transcripts(clips, self._student_text, self._reporter)
        return Comparison.of(
            name,
            "transcripts" if has_transcripts else "teacher",
            self._errors(clips, taught),
            self._errors(clips, texts),
            [speaker_of(clip.clip) for clip in clips],
        )

    def _errors(self, clips: Sequence[LoadedClip], texts: Sequence[str]) -> list[WordErrors]:
        return [
            text_errors(clip.clip.text or "", text, self._language(clip))
            for clip, text in zip(clips, texts, strict=True)
        ]
