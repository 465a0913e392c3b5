"""The clips that a fine-tuning is measured on; word errors and missed terms of transcripts."""

import re
from collections.abc import Callable, Sequence

import numpy as np

from sottovoce.errors import InputError
from sottovoce.runtime.decoding.tokenizer import Tokens
from sottovoce.speech.clips import ClipSet, select_clips, transcribable
from sottovoce.speech.loading import LoadedClip, load_clips
from sottovoce.statistics.accuracy import WordErrors, normalize, word_errors
from sottovoce.statistics.intervals import Interval, make_blocks, rate_delta_interval
from sottovoce.train.decoder.labels import LabelledClip

Decode = Callable[[LabelledClip], str]
"""Returns the transcript of a clip."""

MAX_GENERAL_CLIPS = 60
FREE_TOKENS = 30
"""A transcript may be so many tokens longer than twice its reference: a loop ends there."""


def general_clips(general: ClipSet, *, english_only: bool, seed: int) -> tuple[LoadedClip, ...]:
    """Decode up to 60 clips with transcripts, drawn by the seed, on which what is forgotten is measured.

    Raises:
        InputError: there are none.
    """
    clips = [clip for clip in transcribable(general, english_only=english_only) if clip.text]
    if not clips:
        raise InputError(f"{general.name} has no transcripts to measure on; give other speech with --general")
    return load_clips(select_clips(clips, MAX_GENERAL_CLIPS, seed=seed), wanted=None).loaded


def most_tokens(labels: Tokens, room: int) -> int:
    """Return how many tokens a transcript may have.

    Args:
        labels: of the reference.
        room: tokens that fit the decoder behind the prompt.
    """
    return min(room, 2 * len(labels) + FREE_TOKENS)


def errors_of(clips: Sequence[LabelledClip], transcripts: Sequence[str]) -> list[WordErrors]:
    """Count the word errors of each clip's transcript."""
    return [
        text_errors(each.clip.clip.text or "", text, each.language)
        for each, text in zip(clips, transcripts, strict=True)
    ]


def text_errors(reference: str, text: str, language: str) -> WordErrors:
    """Count the word errors of a text; of characters in Chinese, Japanese and Thai."""
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


def missed_terms(
    clips: Sequence[LabelledClip], transcripts: Sequence[str], terms: Sequence[str]
) -> tuple[int, int]:
    """Count the terms in the references, and those that the transcripts lack.

    Args:
        clips: with references.
        transcripts: in their order.
        terms: words or phrases, in any capitalization.

    Returns:
        Occurrences in the references, and how many of them are missed.
    """
    n_terms = n_missed = 0
    for each, text in zip(clips, transcripts, strict=True):
        reference = normalize(each.clip.clip.text or "", each.language)
        found = normalize(text, each.language)
        for term in terms:
            wanted = _count(normalize(term, each.language), reference)
            n_terms += wanted
            n_missed += max(0, wanted - _count(normalize(term, each.language), found))
    return n_terms, n_missed


def _count(term: str, text: str) -> int:
    return len(re.findall(rf"(?<!\w){re.escape(term)}(?!\w)", text)) if term else 0
