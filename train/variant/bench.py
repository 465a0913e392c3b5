"""Measures a variant in the runtime on held-out clips, with other numbers than its own."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sottovoce.optimize.checks.teacher_forcing import Candidate, Comparison, compare
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.train.loop import Tensors
from sottovoce.train.variant.lessons import Lesson
from sottovoce.train.variant.report import REPORT_NAMES
from sottovoce.train.variant.trainable import Trainable


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcripts:
    """Texts of the same clips, greedy and without timestamps.

    Attributes:
        baseline: of float32 over 30 s.
        before: of the variant.
        after: of the trained variant.
    """

    baseline: Sequence[str]
    before: Sequence[str]
    after: Sequence[str]


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
        with self._changed(trainable, deltas) as folder:
            return self._measure(folder)

    def transcribe(self, trainable: Trainable, deltas: Tensors) -> Transcripts:
        """Transcribe with the variant as it is, and with differences."""
        original = Candidate.load(self.variant, self.compute)
        baseline = [original.text_of(lesson.teacher.tokens) for lesson in self.lessons]
        before = self._transcribe(original)
        with self._changed(trainable, deltas) as folder:
            after = self._transcribe(Candidate.load(folder, self.compute))
        return Transcripts(baseline=baseline, before=before, after=after)

    @contextmanager
    def _changed(self, trainable: Trainable, deltas: Tensors) -> Iterator[Path]:
        """Write the variant with differences for as long as it is measured."""
        with TemporaryDirectory(dir=self.work, prefix="variant-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            copy_variant(self.variant, folder)
            trainable.write(deltas, folder)
            yield folder

    def _measure(self, folder: Path) -> Comparison:
        candidate = Candidate.load(folder, self.compute)
        return compare(candidate, [lesson.teacher for lesson in self.lessons])

    def _transcribe(self, candidate: Candidate) -> list[str]:
        return [candidate.transcribe(lesson.teacher) for lesson in self.lessons]


def copy_variant(variant: Path, into: Path) -> None:
    """Copy the files of a variant, without reports of its own training, into an existing folder."""
    shutil.copytree(variant, into, ignore=shutil.ignore_patterns(*REPORT_NAMES), dirs_exist_ok=True)
