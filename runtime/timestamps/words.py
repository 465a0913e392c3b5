"""Words out of tokens and their times.

Source: `whisper/tokenizer.py` and `whisper/timing.py` of openai/whisper.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean, median
from string import punctuation

from sottovoce.runtime.decoding.tokenizer import Tokens, WhisperTokenizer
from sottovoce.runtime.transcript import Word

LANGUAGES_WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Their words are single characters here: to find real ones takes a dictionary."""

OPENING_MARKS = frozenset("\"'“¿([{-")
CLOSING_MARKS = frozenset("\"'.。,，!！?？:：”)]}、")  # noqa: RUF001 - full-width marks of Chinese and Japanese
SENTENCE_ENDS = frozenset(".。!！?？")  # noqa: RUF001 - same

MAX_MEDIAN_S = 0.7
"""A longer median word says that the alignment failed, not that speech is slow."""

LONGEST_BY_MEDIAN = 2.0
PAUSE_BY_MEDIAN = 4.0

LOWEST_PROBABILITY = 1e-10
"""A geometric mean wants positive numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Tokens that are whole characters together.

    Attributes:
        text: what they say.
        n_tokens: at least one.
    """

    text: str
    n_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A word, or marks that are no word yet, with its tokens and its time.

    Attributes:
        text: with the space before it.
        first: index of its first token.
        behind: index behind its last token.
        start_s: seconds from the start of the window.
        end_s: seconds; not before `start_s`.
    """

    text: str
    first: int
    behind: int
    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Seconds from start to end."""
        return self.end_s - self.start_s


def split_words(tokenizer: WhisperTokenizer, tokens: Tokens, language: str) -> tuple[Chunk, ...]:
    """Split text tokens into words and punctuation marks.

    Args:
        tokenizer: of the model that generated the tokens.
        tokens: text tokens only.
        language: code; tells whether spaces stand between words.

    Returns:
        Chunks in order; their texts joined are the text of the tokens.
    """
    characters = _split_characters(tokenizer, tokens)
    if language in LANGUAGES_WITHOUT_SPACES:
        return tuple(characters)
    words: list[Chunk] = []
    for chunk in characters:
        is_new = chunk.text.startswith(" ") or chunk.text.strip() in punctuation
        if words and not is_new:
            words[-1] = Chunk(text=words[-1].text + chunk.text, n_tokens=words[-1].n_tokens + chunk.n_tokens)
        else:
            words.append(chunk)
    return tuple(words)


def place_words(
    segments: Sequence[Sequence[Chunk]], starts_s: Sequence[float], probabilities: Sequence[float]
) -> tuple[tuple[Word, ...], ...]:
    """Give words their times.

    A pause lies within what is spoken before or after it, as attention to silence is blurred: marks
    at the end of a sentence, words behind them and words behind a pause are cut to twice the
    median duration. Marks then join the word that they stand at, and leave its times alone.
    Unlike Whisper's, runs of marks join too, and closing marks behind a space, as French has them.

    Args:
        segments: the chunks of each segment of a window.
        starts_s: seconds at which each token of all segments starts, and at which the last ends;
            one more than there are tokens, never falling.
        probabilities: of each token, 0 to 1.

    Returns:
        The words of each segment. They are in order and never overlap.
    """
    placed = place_spans(segments, starts_s)
    return tuple(tuple(as_word(span, probabilities) for span in spans) for spans in placed)


def place_spans(
    segments: Sequence[Sequence[Chunk]], starts_s: Sequence[float]
) -> tuple[tuple[Span, ...], ...]:
    """Give words their times, as `place_words`, and tell which tokens each is made of."""
    placed = _place(segments, starts_s)
    durations_s = [span.duration_s for spans in placed for span in spans if span.duration_s > 0]
    usual_s = min(MAX_MEDIAN_S, median(durations_s)) if durations_s else 0.0
    if usual_s > 0:
        placed = _cut_at_sentences(placed, usual_s)
    placed = [_join_closing(_join_opening(spans)) for spans in placed]
    if usual_s > 0:
        placed = _cut_behind_pauses(placed, usual_s)
    return tuple(map(tuple, placed))


def _split_characters(tokenizer: WhisperTokenizer, tokens: Tokens) -> Iterator[Chunk]:
    """Split where no character is torn apart: a token can hold a part of one."""
    whole = tokenizer.text(tokens)
    n_told, first = 0, 0
    for behind in range(1, len(tokens) + 1):
        text = tokenizer.text(tokens[first:behind])
        # A torn character decodes to U+FFFD, which the whole text has at that place only if it is damaged.
        if text and whole.startswith(text, n_told) and behind < len(tokens):
            yield Chunk(text=text, n_tokens=behind - first)
            n_told, first = n_told + len(text), behind
    if first < len(tokens):
        yield Chunk(text=whole[n_told:], n_tokens=len(tokens) - first)


def _place(segments: Sequence[Sequence[Chunk]], starts_s: Sequence[float]) -> list[list[Span]]:
    placed = []
    first = 0
    for chunks in segments:
        spans = []
        for chunk in chunks:
            behind = first + chunk.n_tokens
            spans.append(
                Span(
                    text=chunk.text,
                    first=first,
                    behind=behind,
                    start_s=float(starts_s[first]),
                    end_s=float(starts_s[behind]),
                )
            )
            first = behind
        placed.append(spans)
    return placed


def _cut_at_sentences(placed: list[list[Span]], usual_s: float) -> list[list[Span]]:
    longest_s = LONGEST_BY_MEDIAN * usual_s
    is_behind_end = False
    is_first = True
    cut = []
    for spans in placed:
        fitted = []
        for span in spans:
            fits = is_first or span.duration_s <= longest_s
            fitted.append(span if fits else _cut(span, longest_s, is_behind_end=is_behind_end))
            is_behind_end, is_first = _consists_of(span.text, SENTENCE_ENDS), False
        cut.append(fitted)
    return cut


def _cut(span: Span, longest_s: float, *, is_behind_end: bool) -> Span:
    if _consists_of(span.text, SENTENCE_ENDS):
        return replace(span, end_s=span.start_s + longest_s)
    return replace(span, start_s=span.end_s - longest_s) if is_behind_end else span


def _cut_behind_pauses(placed: list[list[Span]], usual_s: float) -> list[list[Span]]:
    spoken_until_s = 0.0
    cut = []
    for spans in placed:
        has_pause = bool(spans) and spans[0].end_s - spoken_until_s > PAUSE_BY_MEDIAN * usual_s
        cut.append(_cut_first(spans, LONGEST_BY_MEDIAN * usual_s) if has_pause else spans)
        spoken_until_s = cut[-1][-1].end_s if spans else spoken_until_s
    return cut


def _cut_first(spans: list[Span], longest_s: float) -> list[Span]:
    """Cut the first word to a length, and the second, from whose end the first is judged."""
    first, *others = spans
    both_long = bool(others) and others[0].end_s - first.start_s > 2 * longest_s
    if first.duration_s <= longest_s and not both_long:
        return spans
    if others and others[0].duration_s > longest_s:
        # Near the window's start the two share what there is.
        border_s = max(others[0].end_s / 2, others[0].end_s - longest_s)
        first, others[0] = replace(first, end_s=border_s), replace(others[0], start_s=border_s)
    return [replace(first, start_s=max(first.start_s, first.end_s - longest_s)), *others]


def _join_opening(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for span in reversed(spans):
        if joined and span.text.startswith(" ") and _consists_of(span.text, OPENING_MARKS):
            joined[-1] = replace(joined[-1], text=span.text + joined[-1].text, first=span.first)
        else:
            joined.append(span)
    return joined[::-1]


def _join_closing(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for span in spans:
        if joined and _consists_of(span.text, CLOSING_MARKS):
            joined[-1] = replace(joined[-1], text=joined[-1].text + span.text, behind=span.behind)
        else:
            joined.append(span)
    return joined


def _consists_of(text: str, marks: frozenset[str]) -> bool:
    """Tell whether a text is marks only; blank text is."""
    return marks.issuperset(text.strip())


def as_word(span: Span, probabilities: Sequence[float]) -> Word:
    """Make a word of what was placed; `probabilities` are those of all tokens that the spans number."""
    known = [max(LOWEST_PROBABILITY, float(one)) for one in probabilities[span.first : span.behind]]
    return Word(
        text=span.text, start_s=span.start_s, end_s=span.end_s, probability=min(1.0, geometric_mean(known))
    )
