"""Compare the results of several benchmarks: the same variant at another time or on another machine.

Results that were measured differently are refused unless the difference is accepted; pyperf does the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from pydantic import Field

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import Results
from sottovoce.benchmark.statistics.comparison import by_speaker, pair_clips
from sottovoce.errors import GateError, InputError
from sottovoce.statistics.intervals import Interval
from sottovoce.storage.documents import Document

HASH_DIGITS = 12
"""Shown of a hash."""


class Condition(StrEnum):
    """What must be equal in two results before their figures can be compared."""

    MODEL = "model"
    HOST = "host"
    THREADS = "threads"
    CLIPS = "clips"
    AUDIO = "audio"
    NORMALIZER = "normalizer"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedResults:
    """Results that were read from a folder, with their name in tables and the rows of all entries."""

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
        description="Clips in both results, on which the intervals are based; null in the first result.",
    )
    speedup: Interval | None = Field(
        default=None,
        description="Time in the first result divided by time in this one; null where hosts or threads differ, and in the first. "
        "The runs were not interleaved: the ratio includes the drift of the machine, and the interval does not cover it.",
    )
    wer_delta: Interval | None = Field(
        default=None, description="This one minus the first, a fraction; null in the first result."
    )


class ResultsComparison(Document):
    """Several results, the first one the reference."""

    differences: dict[str, dict[Condition, str]] = Field(
        description="By result: what differs from the first, of the differences that were accepted."
    )
    entries: tuple[EntryComparison, ...]


def find_differences(first: Results, other: Results) -> dict[Condition, str]:
    """Return the differences of two results, as `one against other`; a field that an older result lacks counts as equal."""
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
    """Name two checkpoints by the fields that both results have: hub id or else name, and versions of the same kind."""
    here, there = first.model, other.model
    if first.checkpoint is not None and other.checkpoint is not None:
        here, there = first.checkpoint, other.checkpoint
    (kind, version), (other_kind, other_version) = _version(first), _version(other)
    if kind != other_kind:
        return here, there
    return f"{here} {version}".strip(), f"{there} {other_version}".strip()


def _version(results: Results) -> tuple[str, str]:
    """Split the version of a checkpoint into its kind and its text for people."""
    kind, _, number = (results.checkpoint_version or "").partition(" ")
    return kind, f"{kind} {number[:HASH_DIGITS]}"


def host_of(results: Results) -> str:
    """Name a machine by CPU and number of cores."""
    host = results.host
    return f"{host.cpu} with {host.usable_cores} cores"


def _clips(results: Results) -> str:
    return f"{results.dataset.n_clips} clips {results.dataset.sha256[:HASH_DIGITS]}"


def _audio(first: Results, other: Results) -> tuple[str | None, str | None]:
    """Name the samples, if the clips are the same; the samples of different clips always differ."""
    if _clips(first) != _clips(other):
        return None, None
    here, there = (each.dataset.audio_sha256 for each in (first, other))
    return here and f"samples {here[:HASH_DIGITS]}", there and f"samples {there[:HASH_DIGITS]}"


def compare_results(
    loaded: Sequence[LoadedResults], *, despite: Sequence[Condition], rng: np.random.Generator
) -> ResultsComparison:
    """Compare each entry with the entry of the same name in the first result.

    Args:
        loaded: at least two.
        despite: accepted differences; even so, speed is never compared across hosts or numbers of threads.
        rng: draws the resamples.

    Raises:
        GateError: results differ in a condition that is not accepted.
        InputError: there are fewer than two results, or one shares no entry with the first.
    """
    if len(loaded) < 2:  # noqa: PLR2004 - a comparison needs two
        raise InputError("a single result cannot be compared; give at least two folders")
    first = loaded[0]
    differences = {other.name: find_differences(first.results, other.results) for other in loaded[1:]}
    for name, found in differences.items():
        for condition, difference in found.items():
            if condition not in despite:
                raise GateError(
                    f"{first.name} and {name} cannot be compared: {condition} differs ({difference}). "
                    f"To accept this difference: --despite {condition}"
                )
    entries = [_entry(first, name) for name in _names(first)]
    for other in loaded[1:]:
        shared = [name for name in _names(other) if name in _names(first)]
        if not shared:
            raise InputError(f"{other.name} shares no entry with {first.name}: {', '.join(_names(other))}")
        entries += [
            _against(first, other, name, is_timed=_is_timed(differences[other.name]), rng=rng)
            for name in shared
        ]
    return ResultsComparison(
        differences={name: found for name, found in differences.items() if found}, entries=tuple(entries)
    )


def _is_timed(differences: Mapping[Condition, str]) -> bool:
    return Condition.HOST not in differences and Condition.THREADS not in differences


def _names(loaded: LoadedResults) -> list[str]:
    return [variant.name for variant in loaded.results.variants]


def _entry(loaded: LoadedResults, name: str) -> EntryComparison:
    variant = loaded.results.variant(name)
    return EntryComparison(
        results=loaded.name,
        entry=name,
        rtfx=variant.rtfx,
        wer=variant.wer,
        size_bytes=variant.size_bytes,
        peak_rss_bytes=variant.peak_rss_bytes,
    )


def _against(
    first: LoadedResults, other: LoadedResults, name: str, *, is_timed: bool, rng: np.random.Generator
) -> EntryComparison:
    """Compare an entry on the clips that both results transcribed."""
    before = {row.clip_id: row for row in first.rows if row.variant == name and row.error is None}
    after = [row for row in other.rows if row.variant == name and row.error is None and row.clip_id in before]
    if not after:
        raise InputError(f"{other.name} and {first.name} share no clip of {name}")
    paired = [before[row.clip_id] for row in after]
    if sum(row.words.reference_words for row in paired) == 0:
        raise InputError(f"the clips of {name} that {other.name} and {first.name} share have no words")
    speedup, delta = pair_clips(paired, after, by_speaker, rng)
    return _entry(other, name).model_copy(
        update={"n_clips": len(after), "speedup": speedup if is_timed else None, "wer_delta": delta}
    )
