"""What a training of a variant has: its options, what was checked, and what is trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from sottovoce.machine.resources import usable_cores
from sottovoce.optimize.checkpoint.resolve import Checkpoint
from sottovoce.progress import Reporter
from sottovoce.runs import Run, Variant
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.train.loop import LoopSpec
from sottovoce.train.speech import Division
from sottovoce.train.variant.loss import LossWeights
from sottovoce.train.variant.report import Outcome, VariantReport
from sottovoce.train.variant.trainable import Trainable

ReportT_co = TypeVar("ReportT_co", bound=VariantReport, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSpec:
    """Options that `heal` and `qat` share.

    Attributes:
        variant: to train; None for the quantized variant of the run's recipe, or the only one that can be trained.
        name: of the trained variant; None for the variant's with a suffix.
        minutes: for everything, at least 50 steps; a step takes as long as the machine needs.
        n_steps: instead of `minutes`: the same number gives the same result.
        checkpoint: that the run was made from; None looks for it in the cache and on the hub.
        threads: of training and inference; None takes all cores.
        weights: of the parts of the loss.
    """

    variant: str | None = None
    name: str | None = None
    minutes: float = 30.0
    n_steps: int | None = None
    checkpoint: str | None = None
    threads: int | None = None
    weights: LossWeights = field(default_factory=LossWeights)
    loop: LoopSpec = field(default_factory=LoopSpec)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """What a training has, checked.

    Attributes:
        variant_sha256: of its manifest.
        out: folder of the trained variant.
        speech: names of the sets.
        began: of this process, monotonic seconds.
    """

    run: Run
    variant: Variant
    variant_sha256: str
    out: Path
    checkpoint: Checkpoint
    speech: tuple[str, ...]
    division: Division
    spec: TrainingSpec
    began: float

    @property
    def compute(self) -> ComputeSpec:
        """What the variant computes in."""
        return replace(self.variant.facts.compute, threads=self.threads)

    @property
    def threads(self) -> int:
        """Of training and inference."""
        return self.spec.threads or usable_cores()


class Method(Protocol, Generic[ReportT_co]):
    """A way to train a variant: what is trained, and what is said about it.

    Attributes:
        command: of the command line.
        report_name: of the file in the folder of the trained variant.
    """

    command: str
    report_name: str

    def settings(self) -> Mapping[str, str]:
        """Return settings of its own that must be the same to resume."""
        ...

    def trainable(self, work: Work, reporter: Reporter) -> Trainable:
        """Prepare what is trained."""
        ...

    def report(self, outcome: Outcome) -> ReportT_co:
        """Describe what training gained."""
        ...
