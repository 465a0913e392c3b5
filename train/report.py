"""What a training found, in the variant's folder and as `--json`."""

from collections.abc import Sequence

import numpy as np

from sottovoce.optimize.checks.teacher_forcing import Comparison
from sottovoce.statistics.intervals import Interval, make_blocks, rate_delta_interval
from sottovoce.storage.documents import Document
from sottovoce.train.loop import Evaluation

REPORT_NAME = "heal.json"

WORSE_START = 1.1
"""Most that the divergence after the start-of-transcript token may grow: it is small, and noisy."""


class Figures(Document):
    """How near a variant is to the baseline on the held-out clips, in the runtime."""

    divergence: float
    """KL divergence of the tokens' probabilities, nats a token."""
    top1_disagreement: float
    """Share of the tokens where another is likeliest."""
    start_divergence: float
    """KL divergence after the start-of-transcript token (languages, no speech), nats, mean over the clips."""

    @classmethod
    def of(cls, comparison: Comparison) -> "Figures":
        """Return the figures of a comparison with the baseline."""
        return cls(
            divergence=comparison.kl_divergence,
            top1_disagreement=comparison.top1_disagreement,
            start_divergence=comparison.start_divergence,
        )


class HealReport(Document):
    """A training of padding states."""

    variant: str
    name: str
    """Of the trained variant."""
    kept: bool
    """Whether it is nearer to the baseline than the variant, and was written."""
    seed: int
    n_padding_states: int
    speech: tuple[str, ...]
    audio_s: float
    """Of the clips that trained."""
    n_clips: int
    n_held_out_clips: int
    n_steps: int
    """Planned; training ends earlier where held-out speakers gain nothing."""
    best_step: int
    before: Figures
    after: Figures
    divergence_delta: Interval
    """Divergence after minus before, nats a token; the interval draws whole speakers where ten are held out, else clips."""
    history: tuple[Evaluation, ...]


def is_better(before: Figures, after: Figures) -> bool:
    """Return whether a trained variant is nearer to the baseline."""
    keeps_start = after.start_divergence <= WORSE_START * before.start_divergence
    return after.divergence < before.divergence and keeps_start


def divergence_delta(before: Comparison, after: Comparison, speakers: Sequence[str | None]) -> Interval:
    """Estimate the divergence after a training minus that before, nats a token.

    Args:
        before: of at least one clip.
        after: of the same clips.
        speakers: of each clip.
    """
    blocks = make_blocks(speakers)
    old, new = (blocks.sums([clip.kl_divergence for clip in each.clips]) for each in (before, after))
    n_tokens = blocks.sums([clip.n_tokens for clip in before.clips])
    return rate_delta_interval(old, new, n_tokens, rng=np.random.default_rng(0))
