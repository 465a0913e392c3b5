"""How live audio is transcribed."""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypedDict

from sottovoce.errors import SpecError
from sottovoce.languages import parse_language
from sottovoce.runtime.transcript import Task

MAX_BUFFER_S = 29.0


class CommitPolicy(StrEnum):
    """When a word counts as final.

    `alignment`: the word ends some time before the audio does, and either the model is sure of it or the last hypothesis
    has it too. `agreement`: two hypotheses in a row have it (LocalAgreement-2; Liu et al., "Low-Latency Sequence-to-Sequence
    Speech Recognition and Translation by Partial Hypothesis Selection", 2020).
    """

    ALIGNMENT = "alignment"
    AGREEMENT = "agreement"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRule:
    """A policy, and the guard of `alignment` in seconds; see `LiveOptions`."""

    policy: CommitPolicy
    guard_s: float = 0.4

    def __post_init__(self) -> None:
        object.__setattr__(self, "policy", CommitPolicy(self.policy))
        _check_seconds("guard_s", self.guard_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """How live audio is transcribed; times are seconds of audio.

    Attributes:
        language: code, locale or English name; `auto` detects it at the start of each utterance. None takes the one that a
            fine-tuned model names, and else detects it.
        task: transcribe, or translate to English. None takes the one that a fine-tuned model names, and else transcribes.
        hotwords: words to expect.
        policy: when a word counts as final; None takes what `sottovoce tune-live` measured for the variant, else alignment
            where the decoder has enough layers to align well. The words of a translation do not follow the speech: there
            always `agreement`.
        hop_s: between two hypotheses; more where computing one takes longer.
        guard_s: by which a word ends before the audio does, to be committed by its alignment; None takes what was
            measured for the variant, else 0.4.
        min_probability: of a word that is committed without a second hypothesis.
        min_shown_probability: of the last word that is shown before it is committed.
        max_delay_s: words that end so long before the audio are committed whatever their probability.
        pre_roll_s: audio before the first frame of speech that is decoded with it.
        silence_s: that ends an utterance.
        buffer_s: speech without a pause is cut behind a committed word when it is this long.
    """

    language: str | None = None
    task: Task | None = None
    hotwords: str | None = None
    policy: CommitPolicy | None = None
    hop_s: float = 0.5
    guard_s: float | None = None
    min_probability: float = 0.9
    min_shown_probability: float = 0.8
    max_delay_s: float = 3.0
    pre_roll_s: float = 0.5
    silence_s: float = 0.5
    buffer_s: float = 19.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", self.task and Task(self.task))
        if self.policy is not None:
            object.__setattr__(self, "policy", CommitPolicy(self.policy))
        if self.language is not None:
            object.__setattr__(self, "language", parse_language(self.language))
        for name in ("hop_s", "guard_s", "max_delay_s", "pre_roll_s", "silence_s"):
            value = getattr(self, name)
            if value is not None:
                _check_seconds(name, value)
        for name in ("min_probability", "min_shown_probability"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise SpecError(f"{name} is {value:g}, want 0 to 1")
        if not 2 * self.pre_roll_s + 2.0 <= self.buffer_s <= MAX_BUFFER_S:
            raise SpecError(
                f"buffer_s is {self.buffer_s:g}, want {2 * self.pre_roll_s + 2.0:g} to {MAX_BUFFER_S:g}"
            )


def commit_rule(options: LiveOptions, measured: CommitRule | None, *, aligns_well: bool) -> CommitRule:
    """Return when words of a session count as final.

    Args:
        measured: for the variant; None where it was not measured.
        aligns_well: the variant's decoder has enough layers to end words by their alignment alone.
    """
    rule = measured or CommitRule(policy=CommitPolicy.ALIGNMENT if aligns_well else CommitPolicy.AGREEMENT)
    if options.task is Task.TRANSLATE:
        rule = replace(rule, policy=CommitPolicy.AGREEMENT)
    elif options.policy is not None:
        rule = replace(rule, policy=options.policy)
    return rule if options.guard_s is None else replace(rule, guard_s=options.guard_s)


class LiveOptionValues(TypedDict, total=False):
    """The options of `LiveOptions` as keywords of a call."""

    language: str | None
    task: Task | None
    hotwords: str | None
    policy: CommitPolicy | None
    hop_s: float
    guard_s: float | None
    min_probability: float
    min_shown_probability: float
    max_delay_s: float
    pre_roll_s: float
    silence_s: float
    buffer_s: float


def _check_seconds(name: str, value: float) -> None:
    if not 0.0 <= value < math.inf:
        raise SpecError(f"{name} is {value:g}, want seconds of at least 0")
