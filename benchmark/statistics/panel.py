"""The same transcripts under several normalizers: a verdict that hangs on one of them is no verdict."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from pydantic import Field

from sottovoce.benchmark.statistics.noninferiority import AccuracyVerdict, judge_accuracy
from sottovoce.statistics.accuracy import WordErrors, add_errors, normalize, normalize_basic, word_errors
from sottovoce.statistics.intervals import Blocks, Interval, rate_delta_interval
from sottovoce.storage.documents import Document


class Normalizer(StrEnum):
    """How texts are made comparable before words are counted."""

    WHISPER = "whisper"
    WHISPER_BASIC = "whisper-basic"
    RAW = "raw"
    CHARACTERS = "characters"


class PanelRow(Document):
    """A comparison with the baseline under one normalizer."""

    normalizer: Normalizer = Field(
        description="whisper: English for English, basic else, characters where words are not spaced; "
        "whisper-basic: in lower case without punctuation; raw: as it is, split at white space; characters: "
        "character error rate after the first."
    )
    baseline: WordErrors
    variant: WordErrors
    delta: Interval = Field(description="Error rate of the variant minus the baseline's, a fraction.")
    verdict: AccuracyVerdict


Text = tuple[str, str, str, str | None]
"""Reference, what the baseline heard, what the variant heard, language."""


def make_panel(
    texts: Sequence[Text], cut: Blocks, *, margin: float, rng: np.random.Generator
) -> tuple[PanelRow, ...]:
    """Count errors and judge them under each normalizer.

    Args:
        texts: of each clip, as they were said.
        cut: which block each clip belongs to.
        margin: largest tolerated increase, a fraction of the words, or of the characters.
        rng: draws the resamples.
    """
    return tuple(_row(normalizer, texts, cut, margin=margin, rng=rng) for normalizer in Normalizer)


def disagrees(panel: Sequence[PanelRow]) -> bool:
    """Tell whether the verdict depends on the normalizer."""
    return len({row.verdict for row in panel}) > 1


def _row(
    normalizer: Normalizer, texts: Sequence[Text], cut: Blocks, *, margin: float, rng: np.random.Generator
) -> PanelRow:
    before, after = [], []
    for reference, baseline, variant, language in texts:
        expected = normalize_as(normalizer, reference, language)
        before.append(word_errors(expected, normalize_as(normalizer, baseline, language)))
        after.append(word_errors(expected, normalize_as(normalizer, variant, language)))
    delta = rate_delta_interval(
        cut.sums([errors.errors for errors in before]),
        cut.sums([errors.errors for errors in after]),
        cut.sums([errors.reference_words for errors in before]),
        rng=rng,
    )
    return PanelRow(
        normalizer=normalizer,
        baseline=add_errors(before),
        variant=add_errors(after),
        delta=delta,
        verdict=judge_accuracy(delta, margin=margin, n_blocks=cut.n_blocks),
    )


def normalize_as(normalizer: Normalizer, text: str, language: str | None) -> str:
    """Make a text comparable; its words are what white space parts, and for `characters` each is one character."""
    match normalizer:
        case Normalizer.RAW:
            return text
        case Normalizer.WHISPER:
            return normalize(text, language)
        case Normalizer.WHISPER_BASIC:
            return normalize_basic(text)
        case Normalizer.CHARACTERS:
            return " ".join(normalize(text, language).replace(" ", ""))
