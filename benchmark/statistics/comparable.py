"""Whether an entry of another engine shares enough clips with one of ours to be compared."""

from collections.abc import Iterable, Sequence

from sottovoce.benchmark.schema.clips import ClipRow


def why_incomparable(ours: Sequence[ClipRow], peer: Sequence[ClipRow]) -> str | None:
    """Return why an entry of another engine cannot be compared; None if it can, or if the reason lies with our entry.

    Both arguments have one row for each clip, in the same order.
    """
    shared = [a for a, b in zip(ours, peer, strict=True) if a.error is None and b.error is None]
    timed = [a for a, b in zip(ours, peer, strict=True) if a.latency_s and b.latency_s]
    if any(row.latency_s for row in ours) and not timed:
        return "it transcribed no clip that counts for speed and that we transcribed"
    if _n_words(row for row in ours if row.error is None) and not _n_words(shared):
        return "it transcribed no clip with words that we transcribed"
    return None


def _n_words(rows: Iterable[ClipRow]) -> int:
    return sum(row.words.reference_words for row in rows)
