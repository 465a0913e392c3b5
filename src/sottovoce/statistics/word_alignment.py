"""Which words of a transcript are those of a reference: the alignment that word errors are counted with."""

from collections.abc import Iterable, Sequence

from sottovoce.statistics.accuracy import normalize


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
