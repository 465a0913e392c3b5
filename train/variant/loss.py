"""What training makes small: how far a variant is from the baseline on one clip."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sottovoce.optimize.checks.teacher_forcing import SMALLEST_REST
from sottovoce.runtime.decoding.logit_filters import LogitFilters
from sottovoce.runtime.decoding.tokenizer import SpecialTokens, WhisperTokenizer
from sottovoce.train.variant.lessons import Lesson
from sottovoce.train.variant.whisper import ElasticWhisper, PaddingTensors, Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """Weights of the parts of the loss; the divergence of a token in nats has 1.

    Attributes:
        states: of the mean square of the error of the encoder's states, divided by the mean square of the states.
        start: of the divergence after the start-of-transcript token, which gives language and no speech.
    """

    states: float = 1.0
    start: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipLoss:
    """The parts of the loss on one clip, as tensors without dimensions.

    Attributes:
        divergence: sum over the tokens, in nats.
        start: in nats.
        states: relative mean square.
    """

    divergence: Tensor
    start: Tensor
    states: Tensor
    n_tokens: int

    def total(self, weights: LossWeights, mean_tokens: float) -> Tensor:
        """Return the loss: the divergence is divided by the mean number of tokens of all clips, so that tokens count alike."""
        return (
            self.divergence / mean_tokens + weights.start * self.start / mean_tokens
        ) + weights.states * self.states


class Examiner:
    """Compares a Whisper in PyTorch with lessons."""

    def __init__(self, whisper: ElasticWhisper, special: SpecialTokens, n_vocabulary: int) -> None:
        self._whisper = whisper
        self._start = special.start
        self._never = (
            _mask(special, n_vocabulary, at_start=True),
            _mask(special, n_vocabulary, at_start=False),
        )

    @classmethod
    def of(cls, model: Any, variant: Path) -> "Examiner":
        """Examine a checkpoint (`transformers.WhisperForConditionalGeneration`) with the tokens of a variant."""
        special = WhisperTokenizer.load(variant).special
        return cls(ElasticWhisper(model), special, model.config.vocab_size)

    def examine(self, lesson: Lesson, padding: PaddingTensors) -> ClipLoss:
        """Return how far the variant with this padding is from the baseline on a clip."""
        import torch

        teacher = lesson.teacher
        states = self._whisper.encode(torch.from_numpy(lesson.features), padding)
        tokens = torch.tensor([teacher.prompt + teacher.tokens[:-1]])
        logits = self._whisper.decode(states, padding, tokens)
        start = teacher.prompt.index(self._start)
        rows = logits[len(teacher.prompt) - 1 :]
        never = torch.stack([self._never[0], *[self._never[1]] * (len(rows) - 1)])
        expected = torch.from_numpy(lesson.states).float()
        return ClipLoss(
            divergence=row_divergence(
                rows.masked_fill(never, -torch.inf), teacher.likeliest, teacher.log_probabilities
            ).sum(),
            start=row_divergence(
                logits[start : start + 1],
                teacher.start_likeliest[None],
                teacher.start_log_probabilities[None],
            ).sum(),
            states=(states - expected).square().mean() / expected.square().mean(),
            n_tokens=len(teacher.tokens),
        )


def row_divergence(logits: Tensor, likeliest: Any, log_probabilities: Any) -> Tensor:
    """Return the divergence from the baseline at each position; see `teacher_forcing.kl_divergence`.

    Args:
        logits: the variant's, filtered, float32, shape (n, n_vocabulary).
        likeliest: the baseline's likeliest tokens, int64, shape (n, 64).
        log_probabilities: the baseline's, float32, shape (n, 64).

    Returns:
        Nats, float32, shape (n,).
    """
    import torch

    tokens, logs = torch.from_numpy(likeliest), torch.from_numpy(log_probabilities)
    is_possible = logs.isfinite()
    expected = torch.where(is_possible, logs.exp(), 0.0)
    total = logits.logsumexp(1, keepdim=True)
    found = torch.where(is_possible, logits.gather(1, tokens) - total, 0.0)
    among = (expected * (torch.where(is_possible, logs, 0.0) - found)).sum(1)
    others = logits.scatter(1, tokens, -torch.inf).logsumexp(1) - total[:, 0]
    rest = (1.0 - expected.double().sum(1)).clamp(min=SMALLEST_REST).float()
    floor = float(np.log(SMALLEST_REST))
    of_rest = rest * (rest.log() - others.clamp(min=floor))
    return among + torch.where(rest > SMALLEST_REST, of_rest, 0.0)


def _mask(special: SpecialTokens, n_vocabulary: int, *, at_start: bool) -> Tensor:
    """Mark the tokens that decoding leaves out: bool, shape (n_vocabulary,)."""
    import torch

    row = np.zeros(n_vocabulary, dtype=np.float32)
    LogitFilters(special, with_timestamps=False).apply(row, () if at_start else (0,))
    return torch.from_numpy(np.isinf(row))
