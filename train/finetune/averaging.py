"""Average the weights of the checkpoint and the trained ones: less is forgotten, and little of what was learnt is lost.

Source: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (WiSE-FT), arXiv 2109.01903.
"""

from collections.abc import Callable, Sequence

from sottovoce.storage.documents import Document

SHARES = tuple(tenth / 10 for tenth in range(11))


class Average(Document):
    """The losses of averaged weights, nats a token."""

    share: float
    """Of the trained weights: 0 is the checkpoint, 1 what was trained."""
    held_out: float
    """Of the domain's held-out speakers."""
    rehearsed: float
    """Of rehearsed speech that did not train, on the checkpoint's own transcripts."""

    @property
    def loss(self) -> float:
        """Both together: a batch of the training has as much of the one as of the other."""
        return self.held_out + self.rehearsed


def measure_averages(measure: Callable[[float], tuple[float, float]]) -> tuple[Average, ...]:
    """Measure averages from the checkpoint to what was trained, in tenths.

    Args:
        measure: returns the losses on held-out speakers and on rehearsed speech with a share of the trained weights.
    """
    found = [(share, *measure(share)) for share in SHARES]
    return tuple(
        Average(share=share, held_out=held_out, rehearsed=rehearsed) for share, held_out, rehearsed in found
    )


def best_share(averages: Sequence[Average]) -> float:
    """Return the share with the smallest loss; without averages all of the trained weights."""
    return min(averages, key=lambda each: each.loss).share if averages else 1.0
