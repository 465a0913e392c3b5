"""Ways to commit the words of a live transcription: what each of them costs, and which is best."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sottovoce.errors import StageError
from sottovoce.runtime.live.options import CommitPolicy, CommitRule
from sottovoce.runtime.transcript import Word
from sottovoce.statistics.accuracy import word_errors
from sottovoce.statistics.word_alignment import match, normalized_words

RULES = (
    CommitRule(policy=CommitPolicy.ALIGNMENT, guard_s=0.2),
    CommitRule(policy=CommitPolicy.ALIGNMENT, guard_s=0.4),
    CommitRule(policy=CommitPolicy.ALIGNMENT, guard_s=0.6),
    CommitRule(policy=CommitPolicy.AGREEMENT),
)

MARGIN = 0.005
"""A rule may make so many more word errors a word than the one that makes fewest: chance makes that difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveWord:
    """A committed word, and the end of the audio that had been fed then, in seconds."""

    text: str
    committed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a rule does on some speech.

    Attributes:
        n_words: that the variant transcribes of the same speech as files.
        n_errors: words that differ from those.
        delays_s: of each word that does not, from its end until it is committed.
    """

    rule: CommitRule
    n_words: int
    n_errors: int
    delays_s: tuple[float, ...]

    @property
    def error_rate(self) -> float:
        """Words that differ from those of the file, per word of the file."""
        return self.n_errors / max(1, self.n_words)

    @property
    def mean_delay_s(self) -> float:
        """Mean delay in seconds."""
        return float(np.mean(self.delays_s))


def compare_with_file(
    rule: CommitRule, live: Sequence[LiveWord], file: Sequence[Word], language: str | None
) -> Outcome:
    """Compare committed words with those of the same speech as a file.

    Args:
        live: in the order in which they were committed.
        file: with times from alignment.
        language: of both.
    """
    said = normalized_words([word.text for word in file], language)
    shown = normalized_words([word.text for word in live], language)
    texts, shown_texts = [text for text, _ in said], [text for text, _ in shown]
    same = match(texts, shown_texts)
    errors = word_errors(" ".join(texts), " ".join(shown_texts)) if texts else None
    return Outcome(
        rule=rule,
        n_words=len(texts),
        n_errors=len(shown_texts) if errors is None else errors.errors,
        delays_s=tuple(
            live[shown[other][1]].committed_s - file[said[place][1]].end_s for place, other in same.items()
        ),
    )


def add_outcomes(parts: Sequence[Outcome]) -> Outcome:
    """Add up what one rule does on several clips."""
    return Outcome(
        rule=parts[0].rule,
        n_words=sum(part.n_words for part in parts),
        n_errors=sum(part.n_errors for part in parts),
        delays_s=tuple(delay for part in parts for delay in part.delays_s),
    )


def choose_rule(outcomes: Sequence[Outcome]) -> Outcome:
    """Choose the rule that commits words soonest, among those that make about as few errors as the best.

    Raises:
        StageError: no rule commits a word of the file.
    """
    usable = [outcome for outcome in outcomes if outcome.delays_s]
    if not usable:
        raise StageError("no words were recognized in the speech; give speech in a language of the model")
    least = min(outcome.error_rate for outcome in usable)
    fit = [outcome for outcome in usable if outcome.error_rate <= least + MARGIN]
    return min(fit, key=lambda outcome: outcome.mean_delay_s)
