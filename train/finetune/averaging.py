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


def measure_averages(measure: Callable[[float], tuple[float, float]]) -> tuple[Average, ...]:
    """Measure averages from the checkpoint to what was trained, in tenths.

    Args:
        measure: returns the losses on held-out speakers and on rehearsed speech with a share of the trained weights.
    """
    found = [(share, *measure(share)) for share in SHARES]
    return tuple(
        Average(share=share, held_out=held_out, rehearsed=rehearsed) for share, held_out, rehearsed in found
    )


def best_share(averages: Sequence[Average], max_forgetting: float) -> float:
    """Return the share that is best on held-out speakers of those that forget little; without averages 1.

    Args:
        averages: the checkpoint (share 0) first.
        max_forgetting: most that the loss on rehearsed speech may rise, nats a token.
    """
    if not averages:
        return 1.0
    most = averages[0].rehearsed + max_forgetting
    return min((each for each in averages if each.rehearsed <= most), key=lambda each: each.held_out).share
