"""What a variant may be trained in: its padding states, or the numbers of its quantized graphs."""

from pathlib import Path
from typing import Protocol

from sottovoce.train.loop import Tensors
from sottovoce.train.variant.lessons import Lesson
from sottovoce.train.variant.loss import ClipLoss


class Trainable(Protocol):
    """Numbers of a variant that are trained, as differences from where they start."""

    def no_deltas(self) -> Tensors:
        """Return differences of zero that take gradients: float32 leaf tensors by name."""
        ...

    def examine(self, lesson: Lesson, deltas: Tensors) -> ClipLoss:
        """Return how far the variant with these differences is from the baseline on a clip; gradients reach them."""
        ...

    def write(self, deltas: Tensors, into: Path) -> None:
        """Write the files that differ into a copy of the variant's folder."""
        ...
