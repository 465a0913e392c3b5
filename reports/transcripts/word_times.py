"""When the words of a normalized transcript are said."""

import math
from collections.abc import Iterator, Sequence

from sottovoce.benchmark.schema.clips import SpokenWord

_PUNCTUATION = ".,!?;:\"'()[]\u3002\u3001\uff0c"


def start_times(
    words: Sequence[str], spoken: Sequence[SpokenWord], *, by_character: bool
) -> tuple[float | None, ...]:
    """Find where each word starts, seconds from the start of the clip.

    Normalizing changes words ("twenty two" to "22"), and the times come from another decoding. So the words
    are aligned; one that has no counterpart takes the time of the word before it, or else after it.

    Args:
        words: of a normalized transcript.
        spoken: with their times, as they were said.
        by_character: whether each character of a language without spaces is a word.

    Returns:
        One for each word; None where no word has a time.
    """
    from rapidfuzz.distance import Levenshtein

    pieces = list(_pieces(spoken, by_character=by_character))
    starts: list[float | None] = [None] * len(words)
    for block in Levenshtein.opcodes(list(words), [text for text, _ in pieces]):
        if block.tag in {"equal", "replace"}:
            starts[block.src_start : block.src_end] = [
                start for _, start in pieces[block.dest_start : block.dest_end]
            ]
    return _filled(starts)


def _pieces(spoken: Sequence[SpokenWord], *, by_character: bool) -> Iterator[tuple[str, float]]:
    for word in spoken:
        text = word.text.strip().strip(_PUNCTUATION).casefold()
        if not math.isfinite(word.start_s) or not math.isfinite(word.end_s):
            continue
        if not by_character:
            yield text, word.start_s
            continue
        step_s = (word.end_s - word.start_s) / max(len(text), 1)
        yield from ((character, word.start_s + place * step_s) for place, character in enumerate(text))


def _filled(starts: Sequence[float | None]) -> tuple[float | None, ...]:
    last = next((start for start in starts if start is not None), None)
    filled = []
    for start in starts:
        last = last if start is None else start
        filled.append(last)
    return tuple(filled)
