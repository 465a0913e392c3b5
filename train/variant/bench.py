"""Measures a variant in the runtime on held-out clips, with other numbers than its own."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sottovoce.optimize.checks.teacher_forcing import Candidate, Comparison, compare
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.train.loop import Tensors
from sottovoce.train.variant.lessons import Lesson
from sottovoce.train.variant.report import REPORT_NAMES
from sottovoce.train.variant.trainable import Trainable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOutBench:
    """Compares a variant with lessons.

    Attributes:
        variant: its folder.
        compute: what it computes in.
        lessons: of the held-out clips.
        work: folder for changed variants, one at a time.
    """

    variant: Path
    compute: ComputeSpec
    lessons: Sequence[Lesson]
    work: Path

    def measure_as_it_is(self) -> Comparison:
        """Measure the variant."""
        return self._measure(self.variant)

    def measure(self, trainable: Trainable, deltas: Tensors) -> Comparison:
        """Measure the variant with differences."""
        with TemporaryDirectory(dir=self.work, prefix="variant-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            copy_variant(self.variant, folder)
            trainable.write(deltas, folder)
            return self._measure(folder)

    def _measure(self, folder: Path) -> Comparison:
        candidate = Candidate.load(folder, self.compute)
        return compare(candidate, [lesson.teacher for lesson in self.lessons])


def copy_variant(variant: Path, into: Path) -> None:
    """Copy the files of a variant, without reports of its own training, into an existing folder."""
    shutil.copytree(variant, into, ignore=shutil.ignore_patterns(*REPORT_NAMES), dirs_exist_ok=True)
