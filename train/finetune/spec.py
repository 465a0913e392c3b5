"""Options and speech of a fine-tuning."""

from dataclasses import dataclass

from sottovoce.speech.clips import ClipSet
from sottovoce.train.decoder.model import LEARNING_RATES, Method
from sottovoce.train.loop import LoopSpec

MAX_FORGETTING = 0.02
"""About half a point of word errors on other speech (docs/lab-notes.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneSpec:
    """Options of `finetune`.

    Attributes:
        method: which weights of the decoder change.
        rank: of the adapters of `lora`.
        language: of clips that name none.
        minutes: for everything, at least 50 steps.
        n_steps: instead of `minutes`: the same number gives the same result.
        n_copies: of each clip, with the clip itself; the others are changed (see `augment`).
        max_forgetting: most that the loss on rehearsed speech may rise, nats a token.
        terms: words or phrases that count for themselves.
        threads: None takes all cores.
        loop: None takes the settings of the method.
    """

    method: Method = Method.LORA
    rank: int = 16
    language: str | None = None
    minutes: float = 30
    n_steps: int | None = None
    n_copies: int = 2
    max_forgetting: float = MAX_FORGETTING
    terms: tuple[str, ...] = ()
    threads: int | None = None
    loop: LoopSpec | None = None

    @property
    def training(self) -> LoopSpec:
        """Settings of the training."""
        return self.loop or LoopSpec(
            learning_rate=LEARNING_RATES[self.method], batch_size=8, average=0.98, max_gradient_norm=1.0
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneSpeech:
    """The speech of a fine-tuning.

    Attributes:
        training: sets with transcripts; of those with splits, `train` and `calib` are used.
        general: with transcripts, not of the domain: what is forgotten is measured on it.
        rehearsed: not of the domain, transcripts are not used: half of each batch is of it, with the model's own transcripts.
    """

    training: tuple[ClipSet, ...]
    general: ClipSet
    rehearsed: tuple[ClipSet, ...] = ()
