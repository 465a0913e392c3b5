"""Options and speech of a distillation."""

from dataclasses import dataclass, field

from sottovoce.speech.clips import ClipSet
from sottovoce.train.loop import LoopSpec

MAX_WER = 0.1
"""Of distil-whisper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilSpec:
    """Options of `distil`.

    Attributes:
        n_layers: of the student's decoder, spaced over the teacher's.
        layers: instead of `n_layers`: their numbers in the teacher's decoder.
        language: of clips that name none.
        max_wer: of the teacher's transcript of a clip with a reference; a clip with more is left out.
        minutes: for everything, at least 50 steps.
        n_steps: instead of `minutes`: the same number gives the same result.
        n_copies: of each clip, with the clip itself; the others are changed (see `augment`).
        threads: None takes all cores.
    """

    n_layers: int = 2
    layers: tuple[int, ...] | None = None
    language: str | None = None
    max_wer: float = MAX_WER
    minutes: float = 30
    n_steps: int | None = None
    n_copies: int = 2
    threads: int | None = None
    loop: LoopSpec = field(
        default_factory=lambda: LoopSpec(
            learning_rate=3e-4, batch_size=8, average=0.98, max_gradient_norm=1.0
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilSpeech:
    """The speech of a distillation.

    Attributes:
        training: sets, with or without transcripts; of those with splits, `train` and `calib` are used.
        general: with transcripts, other speech: how much of its teacher the student has there.
    """

    training: tuple[ClipSet, ...]
    general: ClipSet
