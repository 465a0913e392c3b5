"""The gradients of a step: of a batch of lessons, to what is trained."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from sottovoce.speech.loading import LoadedClip
from sottovoce.train.loop import LoopSpec, Tensors, bf16_where_quick, item_at
from sottovoce.train.variant.lessons import LessonBook
from sottovoce.train.variant.loss import LossWeights
from sottovoce.train.variant.trainable import Trainable


class LessonGradients:
    """Adds the gradients of the batch of a step; see `loop.AddGradients`."""

    def __init__(
        self,
        trainable: Trainable,
        book: LessonBook,
        clips: Sequence[LoadedClip],
        deltas: Tensors,
        spec: LoopSpec,
        weights: LossWeights,
    ) -> None:
        """Prepare the gradients.

        Args:
            trainable: compares the variant with lessons.
            book: of the lessons.
            clips: that train.
            deltas: differences that take the gradients.
            spec: seed and size of batches.
            weights: of the parts of the loss.
        """
        self._trainable = trainable
        self._book = book
        self._clips = clips
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
                found = self._trainable.examine(lesson, self._deltas)
            loss = found.total(self._weights, self._mean_tokens) / size
            loss.backward()
            total += float(loss.detach())
        return total

    @cached_property
    def _mean_tokens(self) -> float:
        return float(np.mean([len(self._book.read(clip).teacher.tokens) for clip in self._clips]))
