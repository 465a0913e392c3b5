"""Segments out of placed words: sentences, none of them longer than a subtitle is shown."""

from collections.abc import Sequence

from sottovoce.runtime.timestamps.words import CLOSING_MARKS, SENTENCE_ENDS, Span

LONGEST_S = 7.0
"""A longer sentence is cut: what subtitlers show a cue for at most (Netflix' and the BBC's guidelines)."""

SHORTEST_S = 1.0
"""A shorter sentence joins the one behind it, or at the end the one before."""

LONGEST_PAUSE_S = 1.0
"""A longer one ends a stretch, whatever the words say."""

LEAST_SHARE = 0.25
"""Of a sentence that is cut: neither part is shorter, where there is another place for the cut."""

CLAUSE_ENDS = frozenset(",;:，；：、—–")  # noqa: RUF001 - full-width marks of Chinese and Japanese, and dashes

ABBREVIATIONS = frozenset(
    {"mr", "mrs", "ms", "dr", "st", "prof", "sr", "jr", "vs", "gen", "col", "capt", "lt", "sgt", "rev", "hon"}
)
"""Titles and the like, behind which a name starts with a capital as a sentence does."""

_CLOSING = "".join(CLOSING_MARKS - SENTENCE_ENDS - CLAUSE_ENDS)

Spans = tuple[Span, ...]


def cut_into_sentences(spans: Sequence[Span]) -> tuple[Spans, ...]:
    """Cut the words of a window into stretches to be shown or printed one at a time.

    A sentence is one stretch, where no pause is longer than `LONGEST_PAUSE_S`. Those under `SHORTEST_S` are joined to a
    neighbour where both together are no longer than `LONGEST_S`; those over `LONGEST_S` are cut behind commas and the
    like, else at pauses, else in their middle.

    Args:
        spans: words in order of time.

    Returns:
        The same words in stretches of at least one; a stretch is longer than `LONGEST_S` only where one word is.
    """
    sentences = _join_short(_sentences(spans))
    return tuple(part for sentence in sentences for part in _cut_long(sentence))


def _sentences(spans: Sequence[Span]) -> list[Spans]:
    sentences: list[Spans] = []
    first = 0
    for behind in range(1, len(spans) + 1):
        if behind == len(spans) or _is_cut(spans[behind - 1], spans[behind]):
            sentences.append(tuple(spans[first:behind]))
            first = behind
    return sentences


def _is_cut(before: Span, after: Span) -> bool:
    return after.start_s - before.end_s > LONGEST_PAUSE_S or _ends_sentence(before.text, after.text)


def _ends_sentence(text: str, following: str) -> bool:
    """Tell whether a word ends a sentence: "i.e. so", "Mr. Hill" and "J. Hill" do not."""
    word = text.strip().rstrip(_CLOSING)
    if not word or word[-1] not in SENTENCE_ENDS or following.lstrip()[:1].islower():
        return False
    bare = word[:-1].lower()
    is_short = bare in ABBREVIATIONS or (len(bare) == 1 and bare.isascii() and bare.isalpha() and bare != "i")
    return not (word[-1] == "." and is_short)


def _join_short(sentences: list[Spans]) -> list[Spans]:
    joined: list[Spans] = []
    for sentence in sentences:
        if joined and (_duration_s(joined[-1]) < SHORTEST_S) and _fit(joined[-1], sentence):
            joined[-1] += sentence
        else:
            joined.append(sentence)
    if len(joined) > 1 and _duration_s(joined[-1]) < SHORTEST_S and _fit(*joined[-2:]):
        joined[-2:] = [joined[-2] + joined[-1]]
    return joined


def _fit(one: Spans, other: Spans) -> bool:
    is_near = other[0].start_s - one[-1].end_s <= LONGEST_PAUSE_S
    return is_near and _duration_s(one + other) <= LONGEST_S


def _cut_long(spans: Spans) -> list[Spans]:
    duration_s = _duration_s(spans)
    if duration_s <= LONGEST_S or len(spans) == 1:
        return [spans]
    least_s = LEAST_SHARE * duration_s
    places = range(1, len(spans))
    balanced = [
        place for place in places if min(_duration_s(spans[:place]), _duration_s(spans[place:])) >= least_s
    ]
    best = max(balanced or places, key=lambda place: _fitness(spans, place))
    return _cut_long(spans[:best]) + _cut_long(spans[best:])


def _fitness(spans: Spans, place: int) -> tuple[bool, float, float]:
    """Rate a place for a cut: behind a mark, at a long pause, in the middle; tenths of a second are no pause's length."""
    before, after = spans[place - 1], spans[place]
    middle_s = (spans[0].start_s + spans[-1].end_s) / 2
    is_behind_mark = before.text.strip().rstrip(_CLOSING)[-1:] in CLAUSE_ENDS
    return is_behind_mark, round(after.start_s - before.end_s, 1), -abs(after.start_s - middle_s)


def _duration_s(spans: Spans) -> float:
    return spans[-1].end_s - spans[0].start_s
