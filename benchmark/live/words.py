"""When the words of a reference are spoken, and which words of a transcript are the same."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sottovoce.runtime.transcript import Word
from sottovoce.statistics.accuracy import normalize


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceWord:
    """A normalized word of a reference; its times are None where the baseline does not transcribe it right."""

    text: str
    start_s: float | None
    end_s: float | None


def reference_words(
    reference: str, spoken: Sequence[Word], language: str | None
) -> tuple[ReferenceWord, ...]:
    """Give the words of a reference the times of the same words of a transcript.

    Args:
        reference: as the speech set has it.
        spoken: words of the float32 baseline on the whole recording, with times from alignment.
        language: of both.
    """
    texts = normalize(reference, language).split()
    tokens = normalized_words([word.text for word in spoken], language)
    found = match(texts, [text for text, _ in tokens])
    times = {place: spoken[tokens[other][1]] for place, other in found.items()}
    return tuple(
        ReferenceWord(
            text=text,
            start_s=times[place].start_s if place in times else None,
            end_s=times[place].end_s if place in times else None,
        )
        for place, text in enumerate(texts)
    )


def normalized_words(texts: Iterable[str], language: str | None) -> list[tuple[str, int]]:
    """Normalize each word alone; return normalized words with the index of the word that each comes from."""
    return [(token, index) for index, text in enumerate(texts) for token in normalize(text, language).split()]


def match(reference: Sequence[str], hypothesis: Sequence[str]) -> dict[int, int]:
    """Return the indices of equal words in the word alignment that word errors are counted with."""
    return {
        place: other
        for kind, place, other in _aligned(reference, hypothesis)
        if kind == "equal" and place is not None and other is not None
    }


def nearest_reference(reference: Sequence[str], hypothesis: Sequence[str]) -> list[int]:
    """Return for each word of a hypothesis the word of the reference that it stands for, or follows if it is inserted."""
    return [
        0 if place is None else place
        for _, place, other in _aligned(reference, hypothesis)
        if other is not None
    ]


def _aligned(reference: Sequence[str], hypothesis: Sequence[str]) -> list[tuple[str, int | None, int | None]]:
    """Return kind, index in the reference and index in the hypothesis of each step of the alignment."""
    import jiwer

    if not reference or not hypothesis:
        return [("insert", None, other) for other in range(len(hypothesis))]
    steps: list[tuple[str, int | None, int | None]] = []
    for chunk in jiwer.process_words(" ".join(reference), " ".join(hypothesis)).alignments[0]:
        if chunk.type == "insert":
            before = max(0, chunk.ref_start_idx - 1)
            steps += [("insert", before, other) for other in range(chunk.hyp_start_idx, chunk.hyp_end_idx)]
        elif chunk.type != "delete":
            places = range(chunk.ref_start_idx, chunk.ref_end_idx)
            others = range(chunk.hyp_start_idx, chunk.hyp_end_idx)
            steps += [(chunk.type, place, other) for place, other in zip(places, others, strict=True)]
    return steps
