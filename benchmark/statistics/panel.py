"""Compare transcripts under several normalizers, to see whether the verdict depends on one of them."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from sottovoce.benchmark.schema.comparisons import Normalizer, PanelRow
from sottovoce.benchmark.statistics.noninferiority import judge_accuracy
from sottovoce.statistics.accuracy import (
    MAX_TEXTS,
    WordErrors,
    add_errors,
    normalize,
    normalize_basic,
    word_errors,
)
from sottovoce.statistics.intervals import Blocks, rate_delta_interval

Text = tuple[str, str, str, str | None]
"""Reference, transcript of the baseline, transcript of the variant, language."""


def make_panel(
    texts: Sequence[Text], cut: Blocks, *, margin: float, rng: np.random.Generator
) -> tuple[PanelRow, ...]:
    """Count errors and judge them under each normalizer.

    Args:
        texts: one for each clip, not normalized.
        cut: the block of each clip.
        margin: largest tolerated increase, a fraction of the words or characters.
        rng: draws the resamples.
    """
    return tuple(_row(normalizer, texts, cut, margin=margin, rng=rng) for normalizer in Normalizer)


def disagrees(panel: Sequence[PanelRow]) -> bool:
    """Return True if the verdict depends on the normalizer."""
    return len({row.verdict for row in panel}) > 1


def _row(
    normalizer: Normalizer, texts: Sequence[Text], cut: Blocks, *, margin: float, rng: np.random.Generator
) -> PanelRow:
    before, after = [], []
    for reference, baseline, variant, language in texts:
        before.append(_errors(normalizer, reference, baseline, language))
        after.append(_errors(normalizer, reference, variant, language))
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


@lru_cache(MAX_TEXTS)
def _errors(normalizer: Normalizer, reference: str, hypothesis: str, language: str | None) -> WordErrors:
    """Count the errors of a transcript, once for all comparisons that it is in."""
    return word_errors(
        normalize_as(normalizer, reference, language), normalize_as(normalizer, hypothesis, language)
    )


@lru_cache(MAX_TEXTS)
def normalize_as(normalizer: Normalizer, text: str, language: str | None) -> str:
    """Normalize a text; white space separates its words, which are single characters for `characters`."""
    match normalizer:
        case Normalizer.RAW:
            return text
        case Normalizer.WHISPER:
            return normalize(text, language)
        case Normalizer.WHISPER_BASIC:
            return normalize_basic(text)
        case Normalizer.CHARACTERS:
            return " ".join(normalize(text, language).replace(" ", ""))
