"""Word errors before and after a training."""

from collections.abc import Sequence

import numpy as np

from sottovoce.statistics.accuracy import WordErrors, add_errors, normalize, word_errors
from sottovoce.statistics.intervals import Interval, make_blocks, rate_delta_interval
from sottovoce.storage.documents import Document


class Accuracy(Document):
    """Word errors of a set; of characters in languages written without spaces."""

    speech: str
    n_clips: int
    before: WordErrors
    after: WordErrors
    delta: Interval
    """WER after minus before; the interval draws whole speakers where there are ten, else clips."""

    @classmethod
    def of(
        cls,
        speech: str,
        before: Sequence[WordErrors],
        after: Sequence[WordErrors],
        speakers: Sequence[str | None],
    ) -> "Accuracy":
        """Add up the word errors of each clip.

        Args:
            speech: name of the set.
            before: of at least one clip with words.
            after: of the same clips.
            speakers: of each clip.
        """
        return cls(
            speech=speech,
            n_clips=len(before),
            before=add_errors(before),
            after=add_errors(after),
            delta=wer_difference(before, after, speakers),
        )


def text_errors(reference: str, text: str, language: str) -> WordErrors:
    """Count the word errors of a text; of characters in languages written without spaces."""
    return word_errors(normalize(reference, language), normalize(text, language))


def wer_difference(
    before: Sequence[WordErrors], after: Sequence[WordErrors], speakers: Sequence[str | None]
) -> Interval:
    """Return the WER after minus that before, with an interval that draws whole speakers where there are ten, else clips.

    Args:
        before: of at least one clip with words.
        after: of the same clips.
        speakers: of each clip.
    """
    blocks = make_blocks(speakers)
    old, new = (blocks.sums([each.errors for each in errors]) for errors in (before, after))
    words = blocks.sums([each.reference_words for each in before])
    return rate_delta_interval(old, new, words, rng=np.random.default_rng(0))
