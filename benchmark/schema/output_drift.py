"""What quantization changes besides word errors: tokens, languages, times of words, lengths, words for noise."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from pydantic import Field

from sottovoce.benchmark.engines.engine import Detail, Spoken
from sottovoce.storage.documents import Document

QUANTILES = (0.05, 0.95)


class LanguageFlips(Document):
    """Whether the language is told as before; one that the model does not know counts as wrong for both."""

    n_clips: int
    n_flips: int = Field(description="Clips of which another language is told than by the baseline.")
    baseline_wrong: int = Field(
        description="Clips of which the baseline tells another language than the set does."
    )
    variant_wrong: int


class TimestampDrift(Document):
    """How far the starts of words moved; of words that both transcripts have."""

    n_words: int
    mean_s: float = Field(description="Variant minus baseline: above 0, words start later.")
    median_s: float = Field(description="Of the distances, without sign.")
    p95_s: float


class LengthRatio(Document):
    """Characters of the transcripts, variant by baseline: above 1 it adds, below 1 it leaves out."""

    total: float
    p5: float = Field(description="Of the clips: one of twenty has a smaller ratio.")
    p95: float


class Hallucination(Document):
    """Words in a sound without speech."""

    sound: str
    audio_s: float
    baseline_words: int
    variant_words: int
    variant_text: str


class SideEffects(Document):
    """A variant against the baseline, both in our engine, beside the timed passes."""

    variant: str
    n_clips: int
    token_agreement: float = Field(
        description="1 - edit distance of the tokens by the tokens of the baseline, over all clips."
    )
    same_tokens_rate: float = Field(description="Share of the clips with the same tokens throughout.")
    language: LanguageFlips | None = Field(default=None, description="Null of an English-only model.")
    drift: TimestampDrift | None = Field(default=None, description="Null where a layout cannot place words.")
    length_ratio: LengthRatio | None = Field(
        default=None, description="Null where the baseline has no text at all."
    )
    hallucinations: tuple[Hallucination, ...] = ()


def token_agreement(
    baseline: Iterable[Sequence[int]], variant: Iterable[Sequence[int]]
) -> tuple[float, float]:
    """Compare token sequences pair by pair.

    Returns:
        1 - edit distance by tokens of the baseline, and the share of pairs that are the same throughout.
    """
    from rapidfuzz.distance import Levenshtein

    pairs = list(zip(baseline, variant, strict=True))
    distance = sum(Levenshtein.distance(a, b) for a, b in pairs)
    n_tokens = sum(len(a) for a, _ in pairs)
    same = float(np.mean([tuple(a) == tuple(b) for a, b in pairs]))
    return (1 - distance / n_tokens if n_tokens else float(distance == 0)), same


def flips(told: Iterable[tuple[str | None, str, str]]) -> LanguageFlips | None:
    """Count languages that are told otherwise.

    Args:
        told: of each clip the language by the set, None where it does not tell, by the baseline and by the variant.
    """
    known = list(told)
    if not known:
        return None
    return LanguageFlips(
        n_clips=len(known),
        n_flips=sum(a != b for _, a, b in known),
        baseline_wrong=sum(truth is not None and a != truth for truth, a, _ in known),
        variant_wrong=sum(truth is not None and b != truth for truth, _, b in known),
    )


def drift(pairs: Iterable[tuple[Sequence[Spoken], Sequence[Spoken]]]) -> TimestampDrift | None:
    """Measure how far the starts of words moved, of words that stand in both transcripts."""
    moved = np.array([seconds for before, after in pairs for seconds in _moves(before, after)])
    if not len(moved):
        return None
    distances = np.abs(moved)
    return TimestampDrift(
        n_words=len(moved),
        mean_s=float(moved.mean()),
        median_s=float(np.median(distances)),
        p95_s=float(np.quantile(distances, 0.95)),
    )


def _moves(before: Sequence[Spoken], after: Sequence[Spoken]) -> Iterable[float]:
    from rapidfuzz.distance import Levenshtein

    words = [_bare(word) for word in before], [_bare(word) for word in after]
    for block in Levenshtein.opcodes(*words):
        if block.tag == "equal":
            for a, b in zip(
                before[block.src_start : block.src_end], after[block.dest_start : block.dest_end], strict=True
            ):
                yield b.start_s - a.start_s


def _bare(word: Spoken) -> str:
    return word.text.strip().strip(".,!?;:\"'").casefold()


def length_ratio(pairs: Iterable[tuple[str, str]]) -> LengthRatio | None:
    """Compare the lengths of texts, those of the baseline first."""
    lengths = np.array([(len(a), len(b)) for a, b in pairs if a], dtype=float)
    if not len(lengths):
        return None
    low, high = np.quantile(lengths[:, 1] / lengths[:, 0], QUANTILES)
    return LengthRatio(total=float(lengths[:, 1].sum() / lengths[:, 0].sum()), p5=float(low), p95=float(high))


def hallucinations(
    seconds: Mapping[str, float], baseline: Mapping[str, str], variant: Mapping[str, str]
) -> tuple[Hallucination, ...]:
    """Count the words that each heard in sounds without speech.

    Args:
        seconds: length of each sound by its name.
        baseline: text of each sound by its name.
        variant: the same.
    """
    return tuple(
        Hallucination(
            sound=sound,
            audio_s=length,
            baseline_words=len(baseline[sound].split()),
            variant_words=len(variant[sound].split()),
            variant_text=variant[sound],
        )
        for sound, length in seconds.items()
        if sound in baseline and sound in variant
    )


def compare_details(
    name: str,
    languages: Sequence[str | None],
    baseline: Sequence[Detail],
    variant: Sequence[Detail],
    *,
    heard: tuple[Hallucination, ...],
) -> SideEffects:
    """Compare what a variant tells of the clips with what the baseline tells, clip by clip.

    Args:
        name: of the variant.
        languages: of the clips, by the set; None where it does not tell.
        baseline: of each clip.
        variant: in the same order.
        heard: in sounds without speech.
    """
    agreement, same = token_agreement((a.tokens for a in baseline), (b.tokens for b in variant))
    told = [
        (truth, a.language, b.language)
        for truth, a, b in zip(languages, baseline, variant, strict=True)
        if a.language is not None and b.language is not None
    ]
    return SideEffects(
        variant=name,
        n_clips=len(baseline),
        token_agreement=agreement,
        same_tokens_rate=same,
        language=flips(told),
        drift=drift((a.words, b.words) for a, b in zip(baseline, variant, strict=True)),
        length_ratio=length_ratio((a.text, b.text) for a, b in zip(baseline, variant, strict=True)),
        hallucinations=heard,
    )
