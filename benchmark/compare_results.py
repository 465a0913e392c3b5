"""Results of several benchmarks side by side: a variant against itself, then and now, here and there.

Source of the rule: pyperf refuses to compare what was measured differently; so does this, unless it is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from pydantic import Field

from sottovoce.benchmark.schema.results import ClipRow, Results
from sottovoce.benchmark.statistics.comparison import by_speaker, pair_clips
from sottovoce.errors import GateError, InputError
from sottovoce.statistics.intervals import Interval
from sottovoce.storage.documents import Document

DIGITS = 12
"""Of a hash: enough to tell two apart, few enough to read."""


class Condition(StrEnum):
    """What must be the same in two results for their figures to be compared."""

    MODEL = "model"
    HOST = "host"
    THREADS = "threads"
    CLIPS = "clips"
    AUDIO = "audio"
    NORMALIZER = "normalizer"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """A result as it was read.

    Attributes:
        name: what it is called in tables; the folder.
        rows: all clips of all entries.
    """

    name: str
    results: Results
    rows: tuple[ClipRow, ...]


class EntryComparison(Document):
    """An entry of one result against the entry of the same name in the first."""

    results: str
    entry: str
    rtfx: float
    wer: float
    size_bytes: int
    peak_rss_bytes: int
    n_clips: int | None = Field(
        default=None,
        description="Clips that both have, which the intervals rest on; null in the first result.",
    )
    speedup: Interval | None = Field(
        default=None,
        description="Time in the first result by time in this one; null where hosts or threads differ, and in the first. The two "
        "sittings did not take turns: the drift of the machine between them is in it, and the interval does not cover it.",
    )
    wer_delta: Interval | None = Field(
        default=None, description="This one minus the first, a fraction; null in the first result."
    )


class ResultsComparison(Document):
    """Several results, the first one the reference."""

    differences: dict[str, dict[Condition, str]] = Field(
        description="By result, what is not as in the first; only where comparing was asked for all the same."
    )
    entries: tuple[EntryComparison, ...]


def find_differences(first: Results, other: Results) -> dict[Condition, str]:
    """Return what two results do not share, as `this against that`; what older results do not tell counts as shared."""
    facts: Mapping[Condition, tuple[object, object]] = {
        Condition.MODEL: _models(first, other),
        Condition.HOST: (host_of(first), host_of(other)),
        Condition.THREADS: (first.method.threads, other.method.threads),
        Condition.CLIPS: (_clips(first), _clips(other)),
        Condition.AUDIO: _audio(first, other),
        Condition.NORMALIZER: (first.method.normalizer, other.method.normalizer),
    }
    return {
        condition: f"{here} against {there}"
        for condition, (here, there) in facts.items()
        if here != there and None not in (here, there)
    }


def _models(first: Results, other: Results) -> tuple[str, str]:
    """Name two checkpoints by what both results tell: the hub's id or else the name, and versions of one kind."""
    here, there = first.model, other.model
    if first.checkpoint is not None and other.checkpoint is not None:
        here, there = first.checkpoint, other.checkpoint
    (kind, version), (other_kind, other_version) = _version(first), _version(other)
    if kind != other_kind:
        return here, there
    return f"{here} {version}".strip(), f"{there} {other_version}".strip()


def _version(results: Results) -> tuple[str, str]:
    """Split what tells a checkpoint from another one of its name into its kind and what to print."""
    kind, _, number = (results.checkpoint_version or "").partition(" ")
    return kind, f"{kind} {number[:DIGITS]}"


def host_of(results: Results) -> str:
    """Name a machine by what decides on speed."""
    host = results.host
    return f"{host.cpu} with {host.usable_cores} cores"


def _clips(results: Results) -> str:
    return f"{results.dataset.n_clips} clips {results.dataset.sha256[:DIGITS]}"


def _audio(first: Results, other: Results) -> tuple[str | None, str | None]:
    """Name the samples of the same clips; nothing of other clips, whose samples are others without saying."""
    if _clips(first) != _clips(other):
        return None, None
    here, there = (each.dataset.audio_sha256 for each in (first, other))
    return here and f"samples {here[:DIGITS]}", there and f"samples {there[:DIGITS]}"


def compare_results(
    measured: Sequence[Measured], *, despite: Sequence[Condition], rng: np.random.Generator
) -> ResultsComparison:
    """Put results side by side, each entry against that of the same name in the first result.

    Args:
        measured: at least two.
        despite: differences that are accepted; speed is not compared across hosts or threads all the same.
        rng: draws the resamples.

    Raises:
        GateError: results differ in what is not accepted.
        InputError: fewer than two results, or none shares a name with the first.
    """
    if len(measured) < 2:  # noqa: PLR2004 - a comparison needs two
        raise InputError("one result alone cannot be compared; name at least two folders")
    first = measured[0]
    differences = {other.name: find_differences(first.results, other.results) for other in measured[1:]}
    for name, found in differences.items():
        for condition, told in found.items():
            if condition not in despite:
                raise GateError(
                    f"{first.name} and {name} cannot be compared: {condition} differs ({told}). "
                    f"To compare all the same: --despite {condition}"
                )
    entries = [_entry(first, name) for name in _names(first)]
    for other in measured[1:]:
        shared = [name for name in _names(other) if name in _names(first)]
        if not shared:
            raise InputError(f"{other.name} has no entry of {first.name}: {', '.join(_names(other))}")
        entries += [
            _against(first, other, name, is_timed=_is_timed(differences[other.name]), rng=rng)
            for name in shared
        ]
    return ResultsComparison(
        differences={name: found for name, found in differences.items() if found}, entries=tuple(entries)
    )


def _is_timed(differences: Mapping[Condition, str]) -> bool:
    return Condition.HOST not in differences and Condition.THREADS not in differences


def _names(measured: Measured) -> list[str]:
    return [variant.name for variant in measured.results.variants]


def _entry(measured: Measured, name: str) -> EntryComparison:
    variant = measured.results.variant(name)
    return EntryComparison(
        results=measured.name,
        entry=name,
        rtfx=variant.rtfx,
        wer=variant.wer,
        size_bytes=variant.size_bytes,
        peak_rss_bytes=variant.peak_rss_bytes,
    )


def _against(
    first: Measured, other: Measured, name: str, *, is_timed: bool, rng: np.random.Generator
) -> EntryComparison:
    """Pair the clips that both transcribed."""
    before = {row.clip_id: row for row in first.rows if row.variant == name and row.error is None}
    after = [row for row in other.rows if row.variant == name and row.error is None and row.clip_id in before]
    if not after:
        raise InputError(f"{other.name} and {first.name} share no clip of {name}")
    paired = [before[row.clip_id] for row in after]
    if sum(row.words.reference_words for row in paired) == 0:
        raise InputError(f"the clips of {name} that {other.name} and {first.name} share hold no words")
    speedup, delta = pair_clips(paired, after, by_speaker, rng)
    return _entry(other, name).model_copy(
        update={"n_clips": len(after), "speedup": speedup if is_timed else None, "wer_delta": delta}
    )
