"""Output drift of a variant against the baseline: tokens, languages, word times, lengths, hallucinations."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from sottovoce.benchmark.engines.transcription import DetailedTranscript
from sottovoce.benchmark.schema.output_drift import (
    Hallucination,
    LanguageChanges,
    LengthRatio,
    OutputDrift,
    TimestampDrift,
)
from sottovoce.runtime.transcript import Word

QUANTILES = (0.05, 0.95)


def token_agreement(
    baseline: Iterable[Sequence[int]], variant: Iterable[Sequence[int]]
) -> tuple[float, float]:
    """Return 1 - edit distance divided by the baseline's tokens, and the share of identical sequences."""
    from rapidfuzz.distance import Levenshtein

    pairs = list(zip(baseline, variant, strict=True))
    distance = sum(Levenshtein.distance(a, b) for a, b in pairs)
    n_tokens = sum(len(a) for a, _ in pairs)
    same = float(np.mean([tuple(a) == tuple(b) for a, b in pairs]))
    return (1 - distance / n_tokens if n_tokens else float(distance == 0)), same


def count_language_changes(detected: Iterable[tuple[str | None, str, str]]) -> LanguageChanges | None:
    """Count changes of the detected language.

    Args:
        detected: for each clip: language in the speech set, None if it has none; of the baseline; of the variant.
    """
    known = list(detected)
    if not known:
        return None
    return LanguageChanges(
        n_clips=len(known),
        n_flips=sum(a != b for _, a, b in known),
        baseline_wrong=sum(truth is not None and a != truth for truth, a, _ in known),
        variant_wrong=sum(truth is not None and b != truth for truth, _, b in known),
    )


def timestamp_drift(pairs: Iterable[tuple[Sequence[Word], Sequence[Word]]]) -> TimestampDrift | None:
    """Measure how far the starts of words moved, for words in both transcripts."""
    moved = np.array([seconds for before, after in pairs for seconds in _shifts(before, after)])
    if not len(moved):
        return None
    distances = np.abs(moved)
    return TimestampDrift(
        n_words=len(moved),
        mean_s=float(moved.mean()),
        median_s=float(np.median(distances)),
        p95_s=float(np.quantile(distances, 0.95)),
    )


def _shifts(before: Sequence[Word], after: Sequence[Word]) -> Iterator[float]:
    from rapidfuzz.distance import Levenshtein

    words = [_bare(word) for word in before], [_bare(word) for word in after]
    for block in Levenshtein.opcodes(*words):
        if block.tag == "equal":
            for a, b in zip(
                before[block.src_start : block.src_end], after[block.dest_start : block.dest_end], strict=True
            ):
                yield b.start_s - a.start_s


def _bare(word: Word) -> str:
    return word.text.strip().strip(".,!?;:\"'").casefold()


def length_ratio(pairs: Iterable[tuple[str, str]]) -> LengthRatio | None:
    """Compare the lengths of texts; in each pair the baseline's is first."""
    lengths = np.array([(len(a), len(b)) for a, b in pairs if a], dtype=float)
    if not len(lengths):
        return None
    low, high = np.quantile(lengths[:, 1] / lengths[:, 0], QUANTILES)
    return LengthRatio(total=float(lengths[:, 1].sum() / lengths[:, 0].sum()), p5=float(low), p95=float(high))


def count_hallucinations(
    lengths_s: Mapping[str, float], baseline: Mapping[str, str], variant: Mapping[str, str]
) -> tuple[Hallucination, ...]:
    """Count the words of both transcripts of sounds without speech; every argument is by the name of the sound."""
    return tuple(
        Hallucination(
            sound=sound,
            audio_s=length_s,
            baseline_words=len(baseline[sound].split()),
            variant_words=len(variant[sound].split()),
            variant_text=variant[sound],
        )
        for sound, length_s in lengths_s.items()
        if sound in baseline and sound in variant
    )


def compare_outputs(
    name: str,
    languages: Sequence[str | None],
    baseline: Sequence[DetailedTranscript],
    variant: Sequence[DetailedTranscript],
    hallucinations: tuple[Hallucination, ...],
) -> OutputDrift:
    """Compare the output of a variant with the baseline's, clip by clip.

    Args:
        name: of the variant.
        languages: of the clips in the speech set; None for clips without one.
        baseline: one transcript for each clip.
        variant: in the same order.
        hallucinations: of both, in sounds without speech.
    """
    pairs = list(zip(baseline, variant, strict=True))
    agreement, same = token_agreement((a.tokens for a in baseline), (b.tokens for b in variant))
    return OutputDrift(
        variant=name,
        n_clips=len(baseline),
        token_agreement=agreement,
        same_tokens_rate=same,
        language=count_language_changes(
            (truth, a.language, b.language)
            for truth, (a, b) in zip(languages, pairs, strict=True)
            if a.language is not None and b.language is not None
        ),
        drift=timestamp_drift((a.words, b.words) for a, b in pairs),
        length_ratio=length_ratio((a.text, b.text) for a, b in pairs),
        hallucinations=hallucinations,
    )
