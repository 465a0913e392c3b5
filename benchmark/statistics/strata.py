"""Strata of the clips: by language, length, noise, source and speaker."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from sottovoce.benchmark.schema.clips import ClipRow

LENGTH_EDGES_S = (5, 10, 20)
SNR_EDGES_DB = (15, 30)


class StratumKind(StrEnum):
    """The property by which clips are grouped."""

    LANGUAGE = "language"
    LENGTH = "length"
    NOISE = "noise"
    SOURCE = "source"
    SPEAKER = "speaker"


def group_by_stratum(rows: Sequence[ClipRow]) -> dict[tuple[StratumKind, str], tuple[int, ...]]:
    """Return the indices of the rows in each stratum; a clip without the property is in no stratum of that kind."""
    strata: dict[tuple[StratumKind, str], list[int]] = {}
    for kind, name_of in _NAMES.items():
        names = [name_of(row) for row in rows]
        known = {name for name in names if name is not None}
        for name in sorted(known, key=lambda name: (_ORDER.get(name, 0), name)):
            strata[kind, name] = [index for index, other in enumerate(names) if other == name]
    return {key: tuple(indices) for key, indices in strata.items()}


def _bins(edges: Sequence[int], unit: str) -> tuple[str, ...]:
    between = (f"{low} to {high} {unit}" for low, high in itertools.pairwise(edges))
    return (f"under {edges[0]} {unit}", *between, f"{edges[-1]} {unit} and over")


def _bin_of(value: float, edges: Sequence[int], unit: str) -> str:
    return _bins(edges, unit)[sum(value >= edge for edge in edges)]


_NAMES: Mapping[StratumKind, Callable[[ClipRow], str | None]] = {
    StratumKind.LANGUAGE: lambda row: row.language,
    StratumKind.LENGTH: lambda row: _bin_of(row.audio_s, LENGTH_EDGES_S, "s"),
    StratumKind.NOISE: lambda row: None if row.snr_db is None else _bin_of(row.snr_db, SNR_EDGES_DB, "dB"),
    StratumKind.SOURCE: lambda row: row.source,
    StratumKind.SPEAKER: lambda row: row.speaker,
}

_ORDER = {name: i for i, name in enumerate((*_bins(LENGTH_EDGES_S, "s"), *_bins(SNR_EDGES_DB, "dB")))}
