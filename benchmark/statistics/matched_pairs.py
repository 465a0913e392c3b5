"""The matched-pairs test of two transcripts of the same speech, segment by segment.

Source: Gillick and Cox 1989, "Some statistical issues in the comparison of speech recognition algorithms"
(ICASSP), section 4, as NIST's `sc_stats` applies it (MAPSSWE): a segment is a stretch in which one of the two
errs, bounded by at least two words that both have right, so that the errors of one segment say nothing of those
of the next. The difference of errors in a segment has mean 0 where both are equally good; with enough segments
the mean is normal.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from pydantic import Field

from sottovoce.storage.documents import Document

N_BOUNDING_WORDS = 2
"""Right in both transcripts, between two segments: what `sc_stats` takes."""

MIN_SEGMENTS = 30
"""Fewer, and the mean of their differences is not taken for normal."""


class MatchedPairs(Document):
    """The matched-pairs test of a variant against the baseline."""

    n_segments: int = Field(description="Stretches in which one of the two errs.")
    mean_difference: float = Field(description="Errors of a segment, variant minus baseline.")
    statistic: float | None = Field(
        description="Of the normal distribution; null with fewer than 30 segments, or where all differ alike."
    )
    p_value: float | None = Field(
        description="Two-tailed: how likely a difference this large is where both err alike; null where `statistic` is."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistakes:
    """Where a transcript errs, by the words of the reference.

    Attributes:
        wrong: of each reference word, whether it was substituted or deleted.
        inserted: words inserted before each reference word, and behind the last: one more than `wrong`.
    """

    wrong: tuple[bool, ...]
    inserted: tuple[int, ...]


def find_mistakes(reference: str, hypothesis: str) -> Mistakes:
    """Align two normalized texts, split at white space, and mark each reference word."""
    import jiwer

    n_words = len(reference.split())
    wrong, inserted = [False] * n_words, [0] * (n_words + 1)
    for chunk in jiwer.process_words(reference, hypothesis).alignments[0]:
        if chunk.type == "insert":
            inserted[chunk.ref_start_idx] += chunk.hyp_end_idx - chunk.hyp_start_idx
        elif chunk.type != "equal":
            for place in range(chunk.ref_start_idx, chunk.ref_end_idx):
                wrong[place] = True
    return Mistakes(wrong=tuple(wrong), inserted=tuple(inserted))


def segment_differences(baseline: Mistakes, variant: Mistakes) -> Iterator[int]:
    """Yield the difference of errors of each segment of a clip, variant minus baseline."""
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
    """Yield errors of both, in the order of the reference; a word that both have right is (0, 0)."""
    n_words = len(baseline.wrong)
    for place in range(n_words + 1):
        inserted = (baseline.inserted[place], variant.inserted[place])
        if any(inserted):
            yield inserted
        if place < n_words:
            yield int(baseline.wrong[place]), int(variant.wrong[place])


def matched_pairs(pairs: Iterable[tuple[Mistakes, Mistakes]]) -> MatchedPairs:
    """Test whether two transcripts of the same clips err alike.

    Args:
        pairs: of each clip, the baseline's mistakes and the variant's.
    """
    return judge_differences([each for pair in pairs for each in segment_differences(*pair)])


def judge_differences(differences: Sequence[int]) -> MatchedPairs:
    """Test whether the mean of the segments' differences is 0.

    Args:
        differences: of each segment, errors of the variant minus those of the baseline.
    """
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
