"""The stage `finetune`: a checkpoint and speech with transcripts in, a checkpoint in Hugging Face's layout out.

The decoder learns the words of a domain; the encoder stays, so that each clip is encoded once. What the model forgets of
other speech is measured beside what it learns.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sottovoce import __version__
from sottovoce.machine.resources import usable_cores
from sottovoce.optimize.checkpoint.resolve import Checkpoint, resolve_checkpoint
from sottovoce.optimize.openvino.export import TorchWhisper
from sottovoce.progress import Reporter
from sottovoce.runtime.decoding.tokenizer import MAX_TOKENS, WhisperTokenizer
from sottovoce.runtime.transcript import Task
from sottovoce.speech.clips import ClipSet
from sottovoce.speech.conditions import speech_spectrum
from sottovoce.speech.loading import LoadedClip
from sottovoce.speech.properties import speaker_of
from sottovoce.storage.artifacts import canonical_sha256
from sottovoce.storage.documents import write_text
from sottovoce.train.accuracy import Accuracy
from sottovoce.train.decoder.evaluation import errors_of, general_clips, missed_terms, most_tokens
from sottovoce.train.decoder.examples import CopySpec, ExampleBook
from sottovoce.train.decoder.folders import (
    check_new_checkpoint,
    new_checkpoint,
    sha256_of_speech,
    unfinished_training,
)
from sottovoce.train.decoder.labels import Labelled, LabelledClip, label_clips, without_capitals
from sottovoce.train.decoder.model import Tensor, TrainableWhisper, count_weights
from sottovoce.train.decoder.transcripts import MOST_OWN_TOKENS, kept_transcripts, own_text, transcripts
from sottovoce.train.finetune.averaging import Average, best_share, measure_averages
from sottovoce.train.finetune.card import write_card
from sottovoce.train.finetune.rehearsal import divide_rehearsed, rehearsed_clips, with_own_transcripts
from sottovoce.train.finetune.report import REPORT_NAME, FinetuneReport, TermErrors
from sottovoce.train.finetune.spec import FinetuneSpec, FinetuneSpeech
from sottovoce.train.loop import (
    Progress,
    Training,
    bf16_where_quick,
    item_at,
    planned_steps,
    torch_threads,
)
from sottovoce.train.speech import Division, audio_s, load_division

EXAMPLES_NAME = "examples"
PLAN_NAME = "plan.json"
REHEARSAL_NAME = "rehearsal.jsonl"
BEFORE_NAME = "before.jsonl"
TOKENIZER_FOLDER = "tokenizer"

MAX_EPOCHS = 8
"""Over all clips and copies: more of `--minutes` gains nothing on an hour of speech."""

SPECTRUM_CLIPS = 50


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Work:
    """What a fine-tuning has, checked.

    Attributes:
        general: clips of speech that is not of the domain.
        general_name: of that speech.
        rehearsed: clips whose transcripts by the model itself are trained too.
        began: monotonic seconds.
    """

    checkpoint: Checkpoint
    division: Division
    general: tuple[LoadedClip, ...]
    general_name: str
    rehearsed: tuple[LoadedClip, ...]
    speech: tuple[str, ...]
    spec: FinetuneSpec
    began: float


def finetune(
    model: str,
    speech: FinetuneSpeech,
    out: Path,
    spec: FinetuneSpec,
    reporter: Reporter,
    *,
    force: bool = False,
    restart: bool = False,
) -> FinetuneReport:
    """Fine-tune a checkpoint, or resume an interrupted fine-tuning.

    Args:
        model: as `resolve_checkpoint` takes it.
        speech: to train and to measure on.
        out: the new folder, in Hugging Face's layout.
        spec: options.
        reporter: follows the work.
        force: replace `out`, if an earlier `finetune` wrote it.
        restart: delete what an interrupted command left.

    Returns:
        The report; the folder is written only where the report says `kept`.

    Raises:
        InputError: no such checkpoint, too little speech, transcripts that are missing or in another script, or `out` exists.
        StageError: training fails.
    """
    began = time.monotonic()
    check_new_checkpoint(out, REPORT_NAME, force=force)
    checkpoint = resolve_checkpoint(model)
    whisper = TorchWhisper(checkpoint.folder)
    english_only = not whisper.model.generation_config.is_multilingual
    division = load_division(
        [_without_capitals(each, reporter) for each in speech.training],
        english_only=english_only,
        seed=spec.training.seed,
        reporter=reporter,
    )
    rehearsed = rehearsed_clips(speech.rehearsed, english_only=english_only, seed=spec.training.seed)
    work = _Work(
        checkpoint=checkpoint,
        division=division,
        general=general_clips(
            without_capitals(speech.general),
            division.clips + rehearsed,
            english_only=english_only,
            seed=spec.training.seed,
        ),
        general_name=speech.general.name,
        rehearsed=rehearsed,
        speech=tuple(each.name for each in speech.training),
        spec=spec,
        began=began,
    )
    with unfinished_training(
        out, REPORT_NAME, _settings(work), reporter, force=force, restart=restart
    ) as unfinished:
        with torch_threads(spec.threads or usable_cores()):
            report, tuned = _Finetuning(work, whisper, unfinished, reporter).run()
        if report.kept:
            with new_checkpoint(out, unfinished) as into:
                tuned.save_pretrained(into)
                whisper.processor.save_pretrained(into)
                write_text(into / REPORT_NAME, report.model_dump_json(indent=2) + "\n")
                write_card(into, report)
    return report


def _without_capitals(speech: ClipSet, reporter: Reporter) -> ClipSet:
    found = without_capitals(speech)
    if found is not speech:
        reporter.note(f"the transcripts of {speech.name} are all capitals; trained in lower case")
    return found


def _settings(work: _Work) -> dict[str, str]:
    """Return everything that must be the same to resume."""
    spec = work.spec
    return {
        "model": f"{work.checkpoint.origin.name} {work.checkpoint.origin.sha256}",
        "speech": sha256_of_speech(
            work.division.training, work.division.held_out, work.general, work.rehearsed
        ),
        "method": f"{spec.method} of rank {spec.rank}",
        "length": f"{spec.minutes:g} minutes" if spec.n_steps is None else f"{spec.n_steps} steps",
        "copies": str(spec.n_copies),
        "language": str(spec.language),
        "terms": canonical_sha256(list(spec.terms)),
        "most forgetting": str(spec.max_forgetting),
        "seed": str(spec.training.seed),
        "settings of training": repr(spec.training),
        "version": __version__,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Texts:
    """Transcripts of the clips that are measured."""

    held_out: Sequence[str]
    general: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What a training gives: transcripts of measured clips before and after, and its course."""

    before: _Texts
    after: _Texts
    progress: Progress
    n_steps: int
    averages: tuple[Average, ...]
    share: float


class _Finetuning:
    """One fine-tuning in the folder of an unfinished one."""

    def __init__(self, work: _Work, whisper: TorchWhisper, folder: Path, reporter: Reporter) -> None:
        self._work = work
        self._spec = work.spec
        self._folder = folder
        self._reporter = reporter
        whisper.processor.save_pretrained(folder / TOKENIZER_FOLDER)
        whisper.model.generation_config.save_pretrained(folder / TOKENIZER_FOLDER)
        self._tokenizer = WhisperTokenizer.load(folder / TOKENIZER_FOLDER)
        self._model = TrainableWhisper(
            whisper.model, self._spec.method, rank=self._spec.rank, seed=self._spec.training.seed
        )
        self._book = ExampleBook(
            folder / EXAMPLES_NAME,
            CopySpec(
                n_mels=whisper.config.num_mel_bins,
                seed=self._spec.training.seed,
                spectrum=speech_spectrum(clip.wave for clip in work.division.training[:SPECTRUM_CLIPS]),
            ),
        )
        self._training = self._label(work.division.training)
        self._held_out = self._label(work.division.held_out).clips
        self._general = self._label(work.general).clips
        self._rehearsed: tuple[LabelledClip, ...] = ()
        self._rehearsed_held_out: tuple[LabelledClip, ...] = ()
        self._describe()

    def run(self) -> tuple[FinetuneReport, Any]:
        """Train, and return the report and the trained `WhisperForConditionalGeneration`."""
        self._encode()
        before = self._by_set(
            kept_transcripts(self._measured, self._transcript, self._folder / BEFORE_NAME, self._reporter)
        )
        self._rehearsed, self._rehearsed_held_out = self._label_own_transcripts()
        training = Training(self._folder, self._spec.training, self._model.parameters, self._add_gradients)
        n_steps = self._n_steps(training)
        best, progress = training.run(n_steps, partial(self._loss_with, self._held_out), self._reporter)
        averages = self._measure_averages(best)
        share = best_share(averages, self._spec.max_forgetting)
        tuned = self._model.averaged(best, share)
        with self._model.using(tuned):
            after = self._by_set(transcripts(self._measured, self._transcript, self._reporter))
        outcome = _Outcome(
            before=before,
            after=after,
            progress=progress,
            n_steps=n_steps,
            averages=averages,
            share=share,
        )
        return self._report(outcome), self._model.merged(tuned)

    @property
    def _audio_s(self) -> float:
        return audio_s([each.clip for each in self._training.clips])

    @property
    def _measured(self) -> tuple[LabelledClip, ...]:
        return (*self._held_out, *self._general)

    def _by_set(self, texts: Sequence[str]) -> _Texts:
        n_held_out = len(self._held_out)
        return _Texts(held_out=texts[:n_held_out], general=texts[n_held_out:])

    def _measure_averages(self, trained: Mapping[str, Tensor]) -> tuple[Average, ...]:
        """Measure weights between the checkpoint's and the trained ones, where speech was rehearsed."""
        if not self._rehearsed_held_out:
            return ()

        def measure(share: float) -> tuple[float, float]:
            values = self._model.averaged(trained, share)
            return self._loss_with(self._held_out, values), self._loss_with(self._rehearsed_held_out, values)

        return measure_averages(measure)

    def _label(self, clips: Sequence[LoadedClip]) -> Labelled:
        return label_clips(clips, self._tokenizer, language=self._spec.language)

    def _describe(self) -> None:
        self._reporter.note(
            f"trains on {len(self._training.clips)} clips, {self._audio_s / 60:.0f} minutes; measures on "
            f"{len(self._held_out)} clips of other speakers, and on {len(self._general)} of {self._work.general_name}"
        )
        if self._training.too_long:
            self._reporter.note(
                f"left out {len(self._training.too_long)} clips of more than {MAX_TOKENS} tokens, such as "
                f"{self._training.too_long[0]}"
            )

    def _encode(self) -> None:
        training = [each.clip for each in self._training.clips]
        measured = [each.clip for each in (*self._held_out, *self._general)] + list(self._work.rehearsed)
        with bf16_where_quick():
            self._book.write_missing(training, self._spec.n_copies, self._model.encode, self._reporter)
            self._book.write_missing(measured, 1, self._model.encode, self._reporter)

    def _add_gradients(self, step: int) -> float:
        """Add the gradients of one batch, and return its mean loss in nats a token."""
        size, seed = self._spec.training.batch_size, self._spec.training.seed
        examples = [(each, number) for number in range(self._spec.n_copies) for each in self._training.clips]
        own = [(each, 0) for each in self._rehearsed]
        batch = [
            item_at(own if own and place % 2 else examples, place // 2 if own else place, seed)
            for place in range(step * size, (step + 1) * size)
        ]
        n_tokens = sum(len(each.labels) for each, _ in batch)
        total = 0.0
        for each, number in batch:
            with bf16_where_quick():
                loss = self._loss(each, number) / n_tokens
            loss.backward()
            total += float(loss.detach())
        return total

    def _label_own_transcripts(self) -> tuple[tuple[LabelledClip, ...], tuple[LabelledClip, ...]]:
        """Return rehearsed clips that train, and those of other speakers that do not, with the model's own transcripts."""
        if not self._work.rehearsed:
            return (), ()
        own = kept_transcripts(
            self._work.rehearsed, self._own_transcript, self._folder / REHEARSAL_NAME, self._reporter
        )
        division = divide_rehearsed(with_own_transcripts(self._work.rehearsed, own), self._spec.training.seed)
        return self._label(division.training).clips, self._label(division.held_out).clips

    def _own_transcript(self, clip: LoadedClip) -> str:
        """Return the model's transcript of a clip; nothing where it loops."""
        language = clip.clip.language or self._spec.language or "en"
        prompt = self._tokenizer.prompt(language=language, task=Task.TRANSCRIBE, with_timestamps=False)
        tokens = self._model.transcribe(self._book.read(clip, 0), prompt, MOST_OWN_TOKENS)
        return own_text(tokens, self._tokenizer)

    def _loss(self, each: LabelledClip, number: int) -> Tensor:
        return self._model.loss(self._book.read(each.clip, number), each.prompt, each.labels)

    def _loss_with(self, clips: Sequence[LabelledClip], values: Mapping[str, Tensor]) -> float:
        """Return the loss on clips that did not train, nats a token."""
        import torch

        n_tokens = sum(len(each.labels) for each in clips)
        with self._model.using(values), torch.inference_mode(), bf16_where_quick():
            return sum(float(self._loss(each, 0)) for each in clips) / n_tokens

    def _transcript(self, each: LabelledClip) -> str:
        n_most = most_tokens(each.labels, MAX_TOKENS - len(each.prompt))
        return self._tokenizer.text(
            self._model.transcribe(self._book.read(each.clip, 0), each.prompt, n_most)
        )

    def _n_steps(self, training: Training) -> int:
        return planned_steps(self._folder / PLAN_NAME, self._spec.n_steps, lambda: self._forecast(training))

    def _forecast(self, training: Training) -> int:
        """Return how many steps fit the time that is left, up to 8 epochs."""
        spec = self._spec
        spent_s = time.monotonic() - self._work.began
        measured_s = time.monotonic()
        self._loss_with(self._held_out, self._model.parameters)
        evaluation_s = (spec.training.n_evaluations + 3) * (time.monotonic() - measured_s)
        left_s = 60 * spec.minutes - spent_s - evaluation_s
        most = MAX_EPOCHS * spec.n_copies * len(self._training.clips) // spec.training.batch_size
        return min(most, round(left_s / training.time_a_step()))

    def _report(self, outcome: _Outcome) -> FinetuneReport:
        work, spec = self._work, self._spec
        before, after = outcome.before, outcome.after
        held_out = _accuracy(" + ".join(work.speech), self._held_out, before.held_out, after.held_out)
        general = _accuracy(work.general_name, self._general, before.general, after.general)
        return FinetuneReport(
            model=work.checkpoint.name,
            kept=held_out.after.errors < held_out.before.errors,
            method=spec.method,
            n_trained_weights=count_weights(list(self._model.parameters.values())),
            seed=spec.training.seed,
            speech=work.speech,
            audio_s=self._audio_s,
            n_clips=len(self._training.clips),
            n_copies=spec.n_copies,
            n_steps=outcome.n_steps,
            best_step=outcome.progress.best_step,
            share=outcome.share,
            averages=outcome.averages,
            held_out=held_out,
            general=general,
            terms=self._term_errors(outcome) if spec.terms else None,
            history=outcome.progress.history,
        )

    def _term_errors(self, outcome: _Outcome) -> TermErrors:
        (n_terms, missed_before), (_, missed_after) = (
            missed_terms(self._held_out, texts.held_out, self._spec.terms)
            for texts in (outcome.before, outcome.after)
        )
        return TermErrors(n_terms=n_terms, missed_before=missed_before, missed_after=missed_after)


def _accuracy(
    name: str, clips: Sequence[LabelledClip], before: Sequence[str], after: Sequence[str]
) -> Accuracy:
    return Accuracy.of(
        name,
        errors_of(clips, before),
        errors_of(clips, after),
        [speaker_of(each.clip.clip) for each in clips],
    )
