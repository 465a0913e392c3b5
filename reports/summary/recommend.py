"""The recommendation: the variant to ship, and the verdict on it in at most 15 words."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE
from sottovoce.benchmark.schema.comparisons import (
    AccuracyVerdict,
    Comparison,
    PeerComparison,
    SpeedVerdict,
    StratumComparison,
)
from sottovoce.benchmark.schema.results import Results
from sottovoce.benchmark.statistics.noninferiority import more_clips_needed
from sottovoce.benchmark.statistics.strata import StratumKind
from sottovoce.reports.sections import present
from sottovoce.reports.sections.noise import why_void
from sottovoce.reports.text.tables import span
from sottovoce.reports.text.units import NO_BREAK_SPACE, count, round_up, signed_points, times, two_figures
from sottovoce.statistics.intervals import MIN_BLOCKS


class Advice(StrEnum):
    """What to do with the variant."""

    SHIP = "ship"
    MEASURE_MORE = "measure more"
    MEASURE_AGAIN = "measure again"
    REJECT = "reject"


_ORDER = (Advice.SHIP, Advice.MEASURE_MORE, Advice.REJECT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The variant that comes first, and the advice on it.

    Attributes:
        peer: the fastest entry of another engine, compared with the variant; None without one.
        noise: why noise leaves no verdict on its speed; None on a quiet machine.
    """

    advice: Advice
    comparison: Comparison
    peer: PeerComparison | None
    noise: str | None


def recommend(results: Results) -> Recommendation | None:
    """Choose the variant to ship and decide on it; None if nothing was compared.

    A variant that is proven faster and within the margin comes before one that may be; among equals the fastest comes
    first. Entries of other engines are chosen only if there is no variant of ours.
    """
    if not results.comparisons:
        return None
    synthetic = results.dataset.synthetic
    ours = [c for c in results.comparisons if results.variant(c.variant).engine == DEFAULT_ENGINE]
    chosen = min(
        ours or results.comparisons,
        key=lambda c: (_ORDER.index(advise(c, synthetic=synthetic)), -c.speedup.value),
    )
    noise = why_void(results, chosen)
    return Recommendation(
        advice=advise(chosen, synthetic=synthetic) if noise is None else Advice.MEASURE_AGAIN,
        comparison=chosen,
        peer=best_peer(results, chosen.variant),
        noise=noise,
    )


def advise(comparison: Comparison, *, synthetic: bool) -> Advice:
    """Decide by the verdicts on speed and accuracy; synthetic speech decides on speed alone."""
    verdict = comparison.verdict
    accuracy = AccuracyVerdict.WITHIN if synthetic else verdict.accuracy
    if verdict.speed is SpeedVerdict.SLOWER or accuracy is AccuracyVerdict.BEYOND:
        return Advice.REJECT
    if verdict.speed is SpeedVerdict.FASTER and accuracy is AccuracyVerdict.WITHIN:
        return Advice.SHIP
    return Advice.MEASURE_MORE


def best_peer(results: Results, variant: str) -> PeerComparison | None:
    """Return the comparison with the fastest entry of another engine; None without such."""
    peers = [peer for peer in results.peers if peer.subject == variant]
    return min(peers, key=lambda peer: peer.speedup.value, default=None)


def headline(results: Results, *, name: Callable[[str], str] = str) -> str:
    """Write the verdict in at most 15 words; `name` formats the name of an entry."""
    found = recommend(results)
    if found is None:
        return f"Only {name(results.baseline)} was measured: nothing to compare."
    return f"{_verdict(results, found, name)}."


def _verdict(results: Results, found: Recommendation, name: Callable[[str], str]) -> str:
    variant, comparison = name(found.comparison.variant), found.comparison
    gains = ", ".join(part for part in (_speed(comparison), _size(comparison)) if part)
    margin = f"{100 * comparison.verdict.margin:g} points"
    match found.advice:
        case Advice.MEASURE_AGAIN:
            return f"Measure {variant} again: the machine was too noisy for a verdict on speed"
        case Advice.REJECT if comparison.verdict.speed is SpeedVerdict.SLOWER:
            return f"Do not ship {variant}: {_speed(comparison)} than {name(results.baseline)}"
        case Advice.REJECT:
            return f"Do not ship {variant}: {gains or 'no gain'}, but loses over {margin}"
        case _ if results.dataset.synthetic:
            return f"{variant}: {gains or 'speed not proven'}. Accuracy: measure it on real speech"
        case Advice.SHIP:
            return f"Ship {variant}: {gains}. Accuracy: {_accuracy(comparison, margin)}"
        case Advice.MEASURE_MORE:
            return f"{variant}: {_unproven(results, comparison, gains, margin)}"


def _speed(comparison: Comparison) -> str:
    ratio = comparison.speedup.value
    match comparison.verdict.speed:
        case SpeedVerdict.FASTER:
            return f"{times(ratio)}x faster"
        case SpeedVerdict.SLOWER:
            return f"{times(1 / ratio)}x slower"
        case SpeedVerdict.UNDECIDED:
            return ""


def _size(comparison: Comparison) -> str:
    change = two_figures(100 * abs(1 - comparison.size_ratio))
    if change == "0":
        return ""
    return f"{change}{NO_BREAK_SPACE}% {'smaller' if comparison.size_ratio < 1 else 'larger'}"


def _accuracy(comparison: Comparison, margin: str) -> str:
    if comparison.wer_delta.low > 0:
        return f"lower, but within {margin}"
    return "better" if comparison.wer_delta.high < 0 else f"equal within {margin}"


def _unproven(results: Results, comparison: Comparison, gains: str, margin: str) -> str:
    is_faster = comparison.verdict.speed is SpeedVerdict.FASTER
    if comparison.verdict.accuracy is AccuracyVerdict.WITHIN:
        accuracy = _accuracy(comparison, margin)
        return f"{f'{gains}, ' if gains else ''}accuracy {accuracy}. Speed not proven"
    what = "Accuracy" if is_faster else "Speed and accuracy"
    return f"{f'{gains}. ' if gains else ''}{what} not proven: {_needed(results, comparison)} needed"


def _needed(results: Results, comparison: Comparison) -> str:
    n_clips = comparison.n_clips or results.dataset.n_clips
    more = more_clips_needed(
        comparison.wer_delta,
        margin=comparison.verdict.margin,
        n_clips=n_clips,
        n_blocks=comparison.n_blocks or n_clips,
    )
    return "very many clips" if more is None else f"about {round_up(n_clips + more):,} clips"


def describe_proof(results: Results, *, name: Callable[[str], str] = str) -> tuple[str, ...]:
    """Write the sentences below the verdict: the reason, the weakest spot."""
    found = recommend(results)
    if found is None:
        return ()
    weakest = None if results.dataset.synthetic else weakest_part(found.comparison)
    return present(
        _describe_reason(results, found, name),
        None
        if weakest is None
        else f"Weakest spot: {part_label(weakest)}, {signed_points(weakest.wer_delta.value)} points.",
    )


def _describe_reason(results: Results, found: Recommendation, name: Callable[[str], str]) -> str:
    comparison = found.comparison
    speed = f"{times(comparison.speedup.value)} times as fast as {name(results.baseline)} ({span(comparison.speedup, times)})"
    words = f"{signed_points(comparison.wer_delta.value)} points of word errors ({span(comparison.wer_delta, signed_points)})"
    if found.noise is not None:
        return f"{found.noise[:1].upper()}{found.noise[1:]}. Measured all the same: {speed}, {words}."
    confidence = f"{100 * results.method.confidence:g}{NO_BREAK_SPACE}%"
    clips = count(comparison.n_clips or results.dataset.n_clips, "paired clip")
    return f"{speed[:1].upper()}{speed[1:]}, {words}: {confidence} intervals on {clips}."


def describe_peer(peer: PeerComparison, *, name: Callable[[str], str] = str) -> str:
    """Compare the speed of the variant with that of another engine; `name` formats the name of an entry."""
    subject, other, speedup = name(peer.subject), name(peer.peer), peer.speedup
    if speedup.low > 1:
        return f"{subject} is {times(speedup.value)} times as fast as {other}"
    if speedup.high < 1:
        return f"{other} is {times(1 / speedup.value)} times as fast as {subject}"
    return f"{subject} and {other} are about as fast"


def parts_of_speech(comparison: Comparison) -> tuple[StratumComparison, ...]:
    """Return the parts that have enough clips for a statement, except speakers; none of a kind that has one part alone."""
    parts = [part for part in comparison.strata if part.by != StratumKind.SPEAKER]
    kinds = [part.by for part in parts]
    return tuple(part for part in parts if part.n_clips >= MIN_BLOCKS and kinds.count(part.by) > 1)


def weakest_part(comparison: Comparison) -> StratumComparison | None:
    """Return the part of the speech that loses most; None if no part loses, or none is known."""
    worst = max(parts_of_speech(comparison), key=lambda part: part.wer_delta.value, default=None)
    return (
        worst
        if worst is not None and worst.wer_delta.value > 0 and math.isfinite(worst.wer_delta.value)
        else None
    )


def part_label(part: StratumComparison) -> str:
    """Name a part of the speech with its kind: SNR 15 to 30 dB."""
    match part.by:
        case StratumKind.LENGTH:
            return f"clips {part.name}"
        case StratumKind.NOISE:
            return f"SNR {part.name}"
        case _:
            return f"{part.by} {part.name}"
