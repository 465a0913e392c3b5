"""What a reader must know before the figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import Results
from sottovoce.reports.sections.noise import warn_of_noise
from sottovoce.reports.text.units import count


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a reader must know before the figures."""

    title: str
    text: str


def find_notices(
    results: Results, rows: Sequence[ClipRow], *, name: Callable[[str], str] = str
) -> tuple[Notice, ...]:
    """Gather what must be known first.

    Args:
        results: what was measured.
        rows: the clips behind it.
        name: writes the name of an entry.
    """
    found = {
        "Synthetic speech": _of_synthetic_speech(results),
        "Failures": _of_failures(rows, name),
        "A noisy machine": warn_of_noise(results, name=name),
    }
    return tuple(Notice(title=title, text=text) for title, text in found.items() if text is not None)


def _of_synthetic_speech(results: Results) -> str | None:
    if not results.dataset.synthetic:
        return None
    return (
        "The demo speech is synthetic; its WER says nothing about real speech. "
        "Speed, size and memory are measured all the same."
    )


def _of_failures(rows: Sequence[ClipRow], name: Callable[[str], str]) -> str | None:
    failed = [row for row in rows if row.error is not None]
    if not failed:
        return None
    names = ", ".join(name(variant) for variant in dict.fromkeys(row.variant for row in failed))
    clips = count(len({row.clip_id for row in failed}), "clip")
    return f"{clips} failed under {names}. What failed has no score."
