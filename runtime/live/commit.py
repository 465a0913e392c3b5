"""Which words of a hypothesis are final, and where an utterance is cut."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from string import punctuation

from sottovoce.runtime.live.hypothesis import TokenWord
from sottovoce.runtime.live.options import CommitPolicy, CommitRule, LiveOptions
from sottovoce.runtime.timestamps.words import APPENDED_PUNCTUATION
from sottovoce.runtime.transcript import Word

EARLIEST_CUT = 1 / 3
"""Share of the buffer before which it is not cut: what remains would soon be too long again."""

MARKS = "".join(APPENDED_PUNCTUATION)

Words = Sequence[TokenWord]


def n_agreed(words: Words, previous: Words) -> int:
    """Return how many words two hypotheses have in common from their start; case and punctuation do not count."""
    n = 0
    for word, before in zip(words, previous, strict=False):
        if _plain(word) != _plain(before):
            break
        n += 1
    return n


def n_to_commit(
    words: Words, previous: Words, audio_end_s: float, options: LiveOptions, rule: CommitRule
) -> int:
    """Return how many words of a hypothesis are final.

    Args:
        words: of the hypothesis, behind the committed ones.
        previous: of the hypothesis before, behind the same committed ones.
        audio_end_s: where the audio of the hypothesis ends.
        options: least probability and longest delay.
        rule: policy and guard.
    """
    agreed = n_agreed(words, previous)
    if rule.policy is CommitPolicy.AGREEMENT:
        return agreed
    n = 0
    for token_word in words:
        word = token_word.word
        before_end_s = audio_end_s - word.end_s
        is_known = n < agreed or word.probability >= options.min_probability
        if before_end_s < rule.guard_s or not (is_known or before_end_s >= options.max_delay_s):
            break
        n += 1
    return n


def shown_words(words: Words, options: LiveOptions) -> tuple[Word, ...]:
    """Return what is shown of the words behind the committed ones, while speech goes on.

    The model guesses the end of a word that is cut off, and the mark after the last word: a third of such guesses change
    with the next hypothesis. So unlikely words at the end are left out, and marks at the end of the last word.
    """
    shown = [each.word for each in words]
    while shown and shown[-1].probability < options.min_shown_probability:
        shown.pop()
    if shown:
        shown[-1] = replace(shown[-1], text=shown[-1].text.rstrip(MARKS))
    return tuple(shown)


def n_before_cut(words: Words, start_s: float, end_s: float) -> int:
    """Return the number of committed words behind which an utterance is cut: where the longest gap is.

    Args:
        words: committed ones of the utterance.
        start_s: of its audio.
        end_s: of its audio.

    Returns:
        0 if all of them end in the first third of the audio.
    """
    earliest_s = start_s + EARLIEST_CUT * (end_s - start_s)
    candidates = [n for n, word in enumerate(words, 1) if word.word.end_s >= earliest_s]
    if not candidates:
        return 0
    gaps = [after.word.start_s - before.word.end_s for before, after in pairwise(words)]
    gaps.append(0.0)
    return max(candidates, key=lambda n: (gaps[n - 1], n))


def _plain(word: TokenWord) -> str:
    return word.word.text.strip().strip(punctuation).casefold()
