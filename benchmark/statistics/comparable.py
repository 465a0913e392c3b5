"""Whether an entry of another engine shares clips with one of ours that a comparison can rest on."""

from collections.abc import Iterable, Sequence

from sottovoce.benchmark.schema.results import ClipRow


def why_incomparable(ours: Sequence[ClipRow], peer: Sequence[ClipRow]) -> str | None:
    """Say what keeps an entry of another engine from being compared; None where nothing does, or it lies with ours.

    Args:
        ours: of all clips.
        peer: in the same order.
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
