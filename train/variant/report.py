"""What a training found, in the variant's folder and as `--json`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from sottovoce.optimize.checks.teacher_forcing import ClipComparison, Comparison
from sottovoce.statistics.accuracy import WordErrors
from sottovoce.statistics.intervals import Interval, make_blocks, rate_delta_interval
from sottovoce.storage.documents import Document
from sottovoce.train.loop import Evaluation, Progress

HEAL_REPORT, QAT_REPORT = "heal.json", "qat.json"
REPORT_NAMES = (HEAL_REPORT, QAT_REPORT)
"""In the folder of a trained variant."""


class Trained(StrEnum):
    """What `qat` trains."""

    ALL = "all"
    """Weights, ranges, biases, LayerNorms, and padding states if there are any."""
    RANGES = "ranges"
    """The same without weights."""


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


class HeldOutWords(Document):
    """Word errors on held-out clips with transcripts; of characters in languages written without spaces."""

    n_clips: int
    baseline: WordErrors
    before: WordErrors
    after: WordErrors
    delta: Interval
    """WER after minus before; the interval draws whole speakers where there are ten, else clips."""


class VariantReport(Document):
    """A training of a variant."""

    variant: str
    name: str
    """Of the trained variant."""
    kept: bool
    """Whether it is nearer to the baseline than the variant, and was written."""
    seed: int
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
    words: HeldOutWords | None
    """None where no held-out clip has a transcript."""
    history: tuple[Evaluation, ...]


class HealReport(VariantReport):
    """A training of padding states."""

    n_padding_states: int


class QatReport(VariantReport):
    """A training of the numbers of quantized graphs."""

    trained: Trained
    n_parameters: int
    """Numbers that were trained."""
    learning_rate: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What a training found; see `VariantReport`.

    Attributes:
        speakers: of the held-out clips.
        before: the variant against the baseline.
        after: the trained variant.
        words: of both; None without transcripts.
    """

    variant: str
    name: str
    seed: int
    speech: tuple[str, ...]
    audio_s: float
    n_clips: int
    speakers: tuple[str | None, ...]
    n_steps: int
    before: Comparison
    after: Comparison
    words: HeldOutWords | None
    progress: Progress

    def facts(self) -> dict[str, Any]:
        """Return the fields of `VariantReport`."""
        deltas = Differences(before=self.before, after=self.after, speakers=self.speakers)
        shared = ("variant", "name", "seed", "speech", "audio_s", "n_clips", "n_steps", "words")
        return {name: getattr(self, name) for name in shared} | {
            "kept": is_better(deltas.divergence, deltas.start),
            "n_held_out_clips": len(self.speakers),
            "best_step": self.progress.best_step,
            "before": Figures.of(self.before),
            "after": Figures.of(self.after),
            "divergence_delta": deltas.divergence,
            "start_delta": deltas.start,
            "history": self.progress.history,
        }


def is_better(divergence_delta: Interval, start_delta: Interval) -> bool:
    """Return whether a variant is nearer to the baseline, and no further after the start-of-transcript token beyond chance."""
    return divergence_delta.value < 0 and start_delta.low <= 0


def loss_of(comparison: Comparison) -> float:
    """Return what training makes small on held-out clips: the start-of-transcript token counts as one more token; nats."""
    start = sum(clip.start_divergence for clip in comparison.clips)
    return comparison.kl_divergence + start / max(1, comparison.n_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
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
        if np.array_equal(old, new):
            return Interval(value=0.0, low=0.0, high=0.0)
        weights = blocks.sums([weight(clip) for clip in self.before.clips])
        return rate_delta_interval(old, new, weights, rng=np.random.default_rng(0))
