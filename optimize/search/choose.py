"""Choose the trial of a search to keep: the fastest within the budget of word errors.

Word errors on a hundred clips are noisy: between two equally good variants they differ by half a point. The
divergence has hundreds of times less noise, but no unit that users think in. So all trials together give an estimate
of the word errors that a nat of divergence costs, and a trial is within the budget where both its own count and that
estimate are.
"""

from collections.abc import Sequence

from sottovoce.optimize.search.report import Trial, TrialOutcome

SPEED_TOLERANCE = 0.05
"""Trials this near the fastest count as equally fast: two timings of one variant differ by as much."""

MIN_TRIALS_FOR_SLOPE = 4


def is_finished(outcome: TrialOutcome) -> bool:
    """Return whether a trial was compared on all clips and its word errors were counted."""
    return outcome.failure is None and not outcome.is_pruned and outcome.wer_increase is not None


def pareto_front(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Return the trials that no other one beats in both speed and divergence, fastest first.

    Failed and stopped trials are not among them.
    """
    front: list[Trial] = []
    for trial in sorted(_finished(trials), key=lambda trial: (-_speedup(trial), _divergence(trial))):
        if not front or _divergence(trial) < _divergence(front[-1]):
            front.append(trial)
    return tuple(front)


def wer_per_nat(trials: Sequence[Trial]) -> float | None:
    """Estimate the WER increase per nat of divergence: least squares through the origin.

    Returns:
        A fraction of words per nat, not below 0; None where fewer than 4 trials finished.
    """
    points = [
        (_divergence(trial), trial.outcome.wer_increase.value)
        for trial in _finished(trials)
        if trial.outcome.wer_increase is not None
    ]
    size = sum(divergence**2 for divergence, _ in points)
    if len(points) < MIN_TRIALS_FOR_SLOPE or size == 0:
        return None
    return max(0.0, sum(divergence * increase for divergence, increase in points) / size)


def is_within(trial: Trial, max_wer_increase: float, slope: float | None) -> bool:
    """Return whether a trial is within the budget by its own word errors and by its divergence.

    Args:
        max_wer_increase: the budget, a fraction.
        slope: from `wer_per_nat`; None leaves the divergence out.
    """
    outcome = trial.outcome
    if not is_finished(outcome) or outcome.wer_increase is None:
        return False
    expected = 0.0 if slope is None else slope * _divergence(trial)
    return max(outcome.wer_increase.value, expected) <= max_wer_increase


def choose(trials: Sequence[Trial], max_wer_increase: float) -> Trial | None:
    """Choose the trial to keep.

    Of the trials within the budget that are at most 5 % slower than the fastest, it is the one that diverges least;
    where none is within the budget, the one that diverges least of all.

    Returns:
        None where no trial finished.
    """
    finished = _finished(trials)
    if not finished:
        return None
    slope = wer_per_nat(finished)
    within = [trial for trial in finished if is_within(trial, max_wer_increase, slope)]
    if not within:
        return min(finished, key=_divergence)
    fastest = max(_speedup(trial) for trial in within)
    as_fast = [trial for trial in within if _speedup(trial) * (1 + SPEED_TOLERANCE) >= fastest]
    return min(as_fast, key=_divergence)


def _finished(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if is_finished(trial.outcome)]


def _speedup(trial: Trial) -> float:
    return trial.outcome.speedup or 0.0


def _divergence(trial: Trial) -> float:
    divergence = trial.outcome.divergence
    return float("inf") if divergence is None else divergence
