"""Measures a variant in the runtime on held-out clips, with other padding states than its own."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sottovoce.optimize.checks.teacher_forcing import Candidate, Comparison, compare
from sottovoce.optimize.sensitivity.model_files import ModelFiles
from sottovoce.runtime.decoding.tokenizer import WhisperTokenizer
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.storage.artifacts import MANIFEST_NAME
from sottovoce.terms import ElasticSpec
from sottovoce.train.lessons import Lesson
from sottovoce.train.padding import Padding, write_encoder


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOutBench:
    """Compares a variant with lessons.

    Attributes:
        variant: its folder.
        elastic: its settings, with the number of padding states that are measured.
        compute: what it computes in.
        lessons: of the held-out clips.
        work: folder for encoders, one at a time.
    """

    variant: Path
    elastic: ElasticSpec
    compute: ComputeSpec
    lessons: Sequence[Lesson]
    work: Path

    def measure_as_it_is(self) -> Comparison:
        """Measure the variant."""
        return self._measure(Encoder.load(self.variant, self.compute))

    def measure(self, padding: Padding) -> Comparison:
        """Measure the variant with other padding states."""
        with TemporaryDirectory(dir=self.work, prefix="encoder-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            shutil.copyfile(self.variant / MANIFEST_NAME, folder / MANIFEST_NAME)
            write_encoder(self.variant, padding, self.elastic, folder)
            return self._measure(Encoder.load(folder, self.compute))

    def _measure(self, encoder: Encoder) -> Comparison:
        decoder = ModelFiles.of(self.variant).load_decoder(self.compute)
        candidate = Candidate(encoder, decoder, WhisperTokenizer.load(self.variant))
        return compare(candidate, [lesson.teacher for lesson in self.lessons])
