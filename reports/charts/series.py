"""Which series an entry is in every chart, and how figures are said in words."""

from collections.abc import Iterable

from sottovoce.benchmark.schema.results import Results


def series_of(results: Results, variant: str) -> int:
    """Return an entry's colour: 0 for the baseline, then by order."""
    others = [other.name for other in results.variants if other.name != results.baseline]
    return 0 if variant == results.baseline else 1 + others.index(variant)


def say(figures: Iterable[tuple[str, str]]) -> str:
    """Say figures in words, for those who do not see a chart."""
    return "; ".join(f"{label}: {text}" for label, text in figures) + "."
