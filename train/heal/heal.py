"""The stage `heal`: a run and speech without transcripts in, a variant with trained padding states out.

An elastic variant replaces the padding of a window by a few keys, values and states, cluster means at first. They are
trained until the variant gives the probabilities that the float32 baseline gives for 30 s. Weights do not change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sottovoce.calibrate.store import CalibrationStore
from sottovoce.optimize.openvino.export import TorchWhisper
from sottovoce.progress import Reporter
from sottovoce.runs import Run, Variant
from sottovoce.runtime.model.elastic import PaddingStates
from sottovoce.speech.clips import ClipSet
from sottovoce.terms import ElasticSpec
from sottovoce.train.heal.parameters import Deltas, Start
from sottovoce.train.variant.lessons import Lesson
from sottovoce.train.variant.loss import ClipLoss, Examiner
from sottovoce.train.variant.padding import measured_padding, write_encoder
from sottovoce.train.variant.report import HEAL_REPORT, QAT_REPORT, HealReport, Outcome
from sottovoce.train.variant.stage import choose_variant, prepare, train_variant
from sottovoce.train.variant.work import TrainingSpec, Work

SUFFIX = "-healed"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealSpec(TrainingSpec):
    """Options of `heal`.

    Attributes:
        n_padding_states: keys of each head, and states; None for as many as the variant has.
    """

    n_padding_states: int | None = None


def heal(
    run: Run,
    speech: Sequence[ClipSet],
    spec: HealSpec,
    reporter: Reporter,
    *,
    force: bool = False,
    restart: bool = False,
) -> HealReport:
    """Train the padding states of a run's variant, or resume an interrupted training.

    Args:
        speech: sets; of those with splits, `train` and `calib` are used.
        force: replace a variant of the same name.
        restart: delete what an interrupted command left.

    Returns:
        The report; the variant is written only where the report says `kept`.

    Raises:
        SpecError: the variant has no padding states or was trained already, or the checkpoint cannot be found.
        InputError: the run has no such variant or no record, the name is taken, or there is too little speech.
        StageError: training fails.
    """
    variant = choose_variant(
        run,
        spec.variant,
        lambda each: _clusters(each) is not None,
        needed="padding states",
        made_by="int8-fast",
        not_after=(HEAL_REPORT, QAT_REPORT),
    )
    work = prepare(run, variant, speech, spec, reporter, suffix=SUFFIX, force=force)
    return train_variant(work, _PaddingStates(spec, variant), reporter, force=force, restart=restart)


def _clusters(variant: Variant) -> ElasticSpec | None:
    padding = PaddingStates.load(variant.folder)
    return None if padding is None or padding.spec.silence_centroids is None else padding.spec


class _PaddingStates:
    """The training of padding states; see `stage.Method`."""

    command = "heal"
    report_name = HEAL_REPORT

    def __init__(self, spec: HealSpec, variant: Variant) -> None:
        measured = _clusters(variant)
        if measured is None:
            raise AssertionError("the variant was chosen because it has padding states")
        self._n = spec.n_padding_states or measured.silence_centroids or 0
        self._elastic = replace(measured, silence_centroids=self._n)

    def settings(self) -> Mapping[str, str]:
        """Name the number of padding states."""
        return {"padding states": str(self._n)}

    def trainable(self, work: Work, reporter: Reporter) -> "TrainablePadding":
        """Measure the padding states that training starts with."""
        store = CalibrationStore(work.run.calibration_folder)
        with reporter.progress("encode padding", 1) as advance:
            start = Start.of(measured_padding(work.run.baseline.folder, store, self._n))
            advance()
        examiner = Examiner.of(TorchWhisper(work.checkpoint.folder).model, work.variant.folder)
        return TrainablePadding(work.variant.folder, self._elastic, start, examiner)

    def report(self, outcome: Outcome) -> HealReport:
        """Describe a training of padding states."""
        return HealReport(n_padding_states=self._n, **outcome.facts())


class TrainablePadding:
    """The padding states of a variant; see `trainable.Trainable`."""

    def __init__(self, variant: Path, elastic: ElasticSpec, start: Start, examiner: Examiner) -> None:
        """Start with padding states.

        Args:
            variant: folder of the variant.
            elastic: its settings, with the number of padding states that are trained.
            start: of the padding.
            examiner: compares the checkpoint with lessons.
        """
        self._variant = variant
        self._elastic = elastic
        self._start = start
        self._examiner = examiner

    def no_deltas(self) -> Deltas:
        """Return differences of zero."""
        return self._start.no_deltas()

    def examine(self, lesson: Lesson, deltas: Deltas) -> ClipLoss:
        """Compare the variant with a lesson."""
        return self._examiner.examine(lesson, self._start.moved(deltas))

    def write(self, deltas: Deltas, into: Path) -> None:
        """Write the encoder and the padding states."""
        write_encoder(self._variant, self._start.padding_of(deltas), self._elastic, into)
