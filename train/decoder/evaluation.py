"""The clips that a fine-tuning is measured on; word errors and missed terms of transcripts."""

import re
from collections.abc import Callable, Sequence

from sottovoce.errors import InputError
from sottovoce.runtime.decoding.tokenizer import Tokens
from sottovoce.speech.clips import ClipSet, select_clips, transcribable
from sottovoce.speech.loading import LoadedClip, load_clips
from sottovoce.statistics.accuracy import WordErrors, normalize
from sottovoce.train.accuracy import text_errors
from sottovoce.train.decoder.labels import LabelledClip

Decode = Callable[[LabelledClip], str]
"""Returns the transcript of a clip."""

MAX_GENERAL_CLIPS = 60
FREE_TOKENS = 30
"""A transcript may be so many tokens longer than twice its reference: a loop ends there."""


def general_clips(
    general: ClipSet, used: Sequence[LoadedClip], *, english_only: bool, seed: int
) -> tuple[LoadedClip, ...]:
    """Decode up to 60 clips with transcripts, drawn by the seed, on which what is forgotten is measured.

    Clips of the split `eval` are taken first.

    Args:
        used: clips that train or choose what is kept; they are left out.

    Raises:
        InputError: there are none.
    """
    clips = [clip for clip in transcribable(general, english_only=english_only) if clip.text]
    if not clips:
        raise InputError(f"{general.name} has no transcripts to measure on; give other speech with --general")
    ranked = sorted(select_clips(clips, None, seed=seed), key=lambda clip: clip.split != "eval")
    loaded = load_clips(ranked[:MAX_GENERAL_CLIPS], wanted=None).loaded
    hashes = {clip.audio_sha256 for clip in used}
    found = tuple(clip for clip in loaded if clip.audio_sha256 not in hashes)
    if not found:
        raise InputError(
            f"the clips of {general.name} are in the speech that is trained on, so that nothing is left to measure what is forgotten; "
            "give other speech with --general"
        )
    return found


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
