"""What a training found, in the variant's folder and as `--json`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sottovoce.optimize.checks.teacher_forcing import ClipComparison, Comparison
from sottovoce.statistics.intervals import Interval, make_blocks, rate_delta_interval
from sottovoce.storage.documents import Document
from sottovoce.train.loop import Evaluation

REPORT_NAME = "heal.json"


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
    start_delta: Interval
    """The same of the divergence after the start-of-transcript token, nats a clip."""
    history: tuple[Evaluation, ...]


def is_better(divergence_delta: Interval, start_delta: Interval) -> bool:
    """Return whether a variant is nearer to the baseline, and no further after the start-of-transcript token beyond chance."""
    return divergence_delta.value < 0 and start_delta.low <= 0


def loss_of(comparison: Comparison) -> float:
    """Return what training makes small on held-out clips: the start-of-transcript token counts as one more token; nats."""
    start = sum(clip.start_divergence for clip in comparison.clips)
    return comparison.kl_divergence + start / max(1, comparison.n_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deltas:
    """Two comparisons of the same clips, at least one: after a training minus before."""

    before: Comparison
    after: Comparison
    speakers: Sequence[str | None]

    @property
    def divergence(self) -> Interval:
        """Of the tokens, nats a token."""
        return self._of(lambda clip: clip.kl_divergence, lambda clip: clip.n_tokens)

    @property
    def start(self) -> Interval:
        """Of the start-of-transcript token, nats a clip."""
        return self._of(lambda clip: clip.start_divergence, lambda _: 1.0)

    def _of(
        self, value: Callable[[ClipComparison], float], weight: Callable[[ClipComparison], float]
    ) -> Interval:
        blocks = make_blocks(self.speakers)
        old, new = (blocks.sums([value(clip) for clip in each.clips]) for each in (self.before, self.after))
        weights = blocks.sums([weight(clip) for clip in self.before.clips])
        return rate_delta_interval(old, new, weights, rng=np.random.default_rng(0))
