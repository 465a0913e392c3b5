"""The matched-pairs test of two transcripts of the same speech (MAPSSWE).

Source: Gillick and Cox 1989, "Some statistical issues in the comparison of speech recognition algorithms"
(ICASSP), section 4, as in NIST's `sc_stats`. A segment contains errors of either transcript and is bounded by at least
two words that are correct in both, so that segments are independent. If both are equally good, the difference of
errors in a segment has mean 0; with enough segments, the mean is normally distributed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import numpy as np

from sottovoce.benchmark.schema.comparisons import MatchedPairs
from sottovoce.statistics.accuracy import MAX_TEXTS

N_BOUNDING_WORDS = 2
"""Correct in both transcripts, between two segments, as in `sc_stats`."""

MIN_SEGMENTS = 30
"""With fewer, the mean of the differences is not assumed to be normal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistakes:
    """The errors of a transcript, by the words of the reference.

    Attributes:
        wrong: for each reference word, whether it is substituted or deleted.
        inserted: words inserted before each reference word, and after the last one: one more than `wrong`.
    """

    wrong: tuple[bool, ...]
    inserted: tuple[int, ...]


@lru_cache(MAX_TEXTS)
def find_mistakes(reference: str, hypothesis: str) -> Mistakes:
    """Align two normalized texts, split at white space, and mark each reference word."""
    import jiwer

    n_words = len(reference.split())
    wrong, inserted = [False] * n_words, [0] * (n_words + 1)
    for chunk in jiwer.process_words(reference, hypothesis).alignments[0]:
        if chunk.type == "insert":
            inserted[chunk.ref_start_idx] += chunk.hyp_end_idx - chunk.hyp_start_idx
        elif chunk.type != "equal":
            for index in range(chunk.ref_start_idx, chunk.ref_end_idx):
                wrong[index] = True
    return Mistakes(wrong=tuple(wrong), inserted=tuple(inserted))


def segment_differences(baseline: Mistakes, variant: Mistakes) -> Iterator[int]:
    """Yield the difference of errors for each segment of a clip, variant minus baseline."""
    events = list(_events(baseline, variant))
    open_difference, n_right, is_open = 0, 0, False
    for before, after in events:
        if before == after == 0:
            n_right += 1
            if n_right >= N_BOUNDING_WORDS and is_open:
                yield open_difference
                open_difference, is_open = 0, False
            continue
        open_difference += after - before
        n_right, is_open = 0, True
    if is_open:
        yield open_difference


def _events(baseline: Mistakes, variant: Mistakes) -> Iterator[tuple[int, int]]:
    """Yield errors of both, in the order of the reference; (0, 0) is a word that is correct in both."""
    n_words = len(baseline.wrong)
    for index in range(n_words + 1):
        inserted = (baseline.inserted[index], variant.inserted[index])
        if any(inserted):
            yield inserted
        if index < n_words:
            yield int(baseline.wrong[index]), int(variant.wrong[index])


def matched_pairs(pairs: Iterable[tuple[Mistakes, Mistakes]]) -> MatchedPairs:
    """Test whether two transcripts are equally good, from the mistakes of baseline and variant in each clip."""
    return judge_differences([each for pair in pairs for each in segment_differences(*pair)])


def judge_differences(differences: Sequence[int]) -> MatchedPairs:
    """Test whether the mean of the segments' differences, variant minus baseline, is 0."""
    from scipy.stats import norm

    n = len(differences)
    mean = float(np.mean(differences)) if n else 0.0
    spread = float(np.std(differences, ddof=1)) / sqrt(n) if n >= MIN_SEGMENTS else 0.0
    if spread == 0:
        return MatchedPairs(n_segments=n, mean_difference=mean, statistic=None, p_value=None)
    statistic = mean / spread
    return MatchedPairs(
        n_segments=n, mean_difference=mean, statistic=statistic, p_value=float(2 * norm.sf(abs(statistic)))
    )
