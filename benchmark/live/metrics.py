"""Delays of live transcription, from the words of a reference with their times and the words that a reader saw."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sottovoce.benchmark.live.replay import FinalWord
from sottovoce.benchmark.live.words import ReferenceWord
from sottovoce.benchmark.schema.live import QUANTILE_STEP, Delays
from sottovoce.statistics.word_alignment import match, nearest_reference, normalized_words

LEAST_PAUSE_S = 0.7
"""Between two words: it ends an utterance after 0.5 s, in spite of what alignment is off by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """Words of the reference from one pause to the next, as places in it, and their times."""

    places: range
    start_s: float
    end_s: float
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WordDelays:
    """Delays in one recording, in seconds.

    Attributes:
        committed: from the end of each word that is timed and right.
        shown: the same, until it was shown first.
        first_word: of each stretch of speech between pauses, from its start until its first right word was shown.
        finalization: of each stretch, from its end until its last word was committed.
        laal: of each stretch, see `laal`.
        right: place in the reference of those words, the final word, and when it was shown first.
    """

    committed: tuple[float, ...]
    shown: tuple[float, ...]
    first_word: tuple[float, ...]
    finalization: tuple[float, ...]
    laal: tuple[float, ...]
    right: tuple[tuple[int, FinalWord, float], ...]


def word_delays(
    reference: Sequence[ReferenceWord], words: Sequence[FinalWord], language: str | None
) -> WordDelays:
    """Compare when words were spoken with when they were shown and committed."""
    texts = [word.text for word in reference]
    tokens = normalized_words([word.text for word in words], language)
    found = match(texts, [text for text, _ in tokens])
    right = {
        place: words[tokens[other][1]] for place, other in found.items() if reference[place].end_s is not None
    }
    parts = list(between_pauses(reference))
    ends_s = {place: reference[place].end_s or 0.0 for place in right}
    shown_s = {place: word.shown_s(reference[place].start_s or 0.0) for place, word in right.items()}
    return WordDelays(
        committed=tuple(word.committed_s - ends_s[place] for place, word in right.items()),
        shown=tuple(at_s - ends_s[place] for place, at_s in shown_s.items()),
        first_word=tuple(
            min(shown_s[place] for place in part.places if place in right) - part.start_s
            for part in parts
            if any(place in right for place in part.places)
        ),
        finalization=tuple(right[part.last].committed_s - part.end_s for part in parts if part.last in right),
        laal=tuple(_laals(parts, texts, tokens, words)),
        right=tuple((place, word, shown_s[place]) for place, word in right.items()),
    )


def between_pauses(reference: Sequence[ReferenceWord]) -> Iterator[Spoken]:
    """Cut a reference at its pauses; words without times belong to the stretch before them."""
    places = [place for place, word in enumerate(reference) if word.end_s is not None]
    if not places:
        return
    cuts = [
        after
        for before, after in pairwise(places)
        if (reference[after].start_s or 0.0) - (reference[before].end_s or 0.0) >= LEAST_PAUSE_S
    ]
    for first, end in zip((0, *cuts), (*cuts, len(reference)), strict=True):
        timed = [place for place in places if first <= place < end]
        yield Spoken(
            places=range(first, end),
            start_s=reference[timed[0]].start_s or 0.0,
            end_s=reference[timed[-1]].end_s or 0.0,
            last=timed[-1],
        )


def _laals(
    parts: Sequence[Spoken],
    texts: Sequence[str],
    tokens: Sequence[tuple[str, int]],
    words: Sequence[FinalWord],
) -> Iterator[float]:
    delays: dict[int, list[float]] = defaultdict(list)
    stands_for = nearest_reference(texts, [text for text, _ in tokens])
    for place, (_, index) in zip(stands_for, tokens, strict=True):
        delays[place].append(words[index].committed_s)
    for part in parts:
        found = [at - part.start_s for place in part.places for at in delays[place]]
        if found and part.end_s > part.start_s:
            yield laal(found, part.end_s - part.start_s, len(part.places))


def laal(delays_s: Sequence[float], audio_s: float, n_reference: int) -> float:
    """Return the length-adaptive average lagging of a sentence, in seconds.

    Source: Papi et al. 2022, "Over-Generation Cannot Be Rewarded: Length-Adaptive Average Lagging for Simultaneous Speech
    Translation"; per sentence of a stream: Papi et al. 2024, "StreamAtt".

    Args:
        delays_s: when each word of the hypothesis was emitted, from the start of the sentence; at least one.
        audio_s: length of the sentence, above 0.
        n_reference: words of the reference.
    """
    word_s = audio_s / max(len(delays_s), n_reference)
    n_counted = next((n for n, delay in enumerate(delays_s, 1) if delay >= audio_s), len(delays_s))
    return sum(delay - number * word_s for number, delay in enumerate(delays_s[:n_counted])) / n_counted


def summarize_delays(seconds: Sequence[float]) -> Delays | None:
    """Summarize delays; None without any."""
    if not seconds:
        return None
    p50, p90, p95, p99 = (float(value) for value in np.percentile(seconds, (50, 90, 95, 99)))
    steps = np.percentile(seconds, range(0, 101, QUANTILE_STEP))
    return Delays(
        n=len(seconds), p50=p50, p90=p90, p95=p95, p99=p99, quantiles=tuple(float(value) for value in steps)
    )
