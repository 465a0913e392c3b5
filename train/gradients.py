"""The gradients of a step of `heal`: of a batch of lessons, to differences of the padding."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from sottovoce.speech.loading import LoadedClip
from sottovoce.train.lessons import LessonBook
from sottovoce.train.loop import LoopSpec, Tensors, bf16_where_quick, item_at
from sottovoce.train.loss import Examiner, LossWeights
from sottovoce.train.parameters import Start


class LessonGradients:
    """Adds the gradients of the batch of a step; see `loop.AddGradients`."""

    def __init__(
        self,
        examiner: Examiner,
        book: LessonBook,
        clips: Sequence[LoadedClip],
        start: Start,
        deltas: Tensors,
        spec: LoopSpec,
        weights: LossWeights,
    ) -> None:
        """Prepare the gradients.

        Args:
            examiner: compares the model with lessons.
            book: of the lessons.
            clips: that train.
            start: of the padding.
            deltas: differences that take the gradients.
            spec: seed and size of batches.
            weights: of the parts of the loss.
        """
        self._examiner = examiner
        self._book = book
        self._clips = clips
        self._start = start
        self._deltas = deltas
        self._spec = spec
        self._weights = weights

    def __call__(self, step: int) -> float:
        """Add the gradients of a step, and return its mean loss."""
        size = self._spec.batch_size
        total = 0.0
        for place in range(step * size, (step + 1) * size):
            lesson = self._book.read(item_at(self._clips, place, self._spec.seed))
            with bf16_where_quick():
                found = self._examiner.examine(lesson, self._start.moved(self._deltas))
            loss = found.total(self._weights, self._mean_tokens) / size
            loss.backward()
            total += float(loss.detach())
        return total

    @cached_property
    def _mean_tokens(self) -> float:
        return float(np.mean([len(self._book.read(clip).teacher.tokens) for clip in self._clips]))
