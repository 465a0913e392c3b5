"""Conditions on results, for CI: `wer_delta.high > 0.5` fails a variant whose WER increase may exceed half a point.

Figures have the units of the tables: WER in points and percent, megabytes, seconds, ratios.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from xml.etree import ElementTree as ET

from sottovoce.benchmark.schema.comparisons import Comparison, StratumComparison
from sottovoce.benchmark.schema.results import Results, VariantResult
from sottovoce.benchmark.statistics.strata import StratumKind
from sottovoce.errors import InputError, SpecError, nearest
from sottovoce.statistics.intervals import Interval

POINTS = 100
MB = 1e6
MIN_LANGUAGE_CLIPS = 10
"""A language with fewer clips is not judged by `worst_language_delta`: chance alone decides on a few."""

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}

CONDITION = re.compile(r"\s*([a-z_][a-z0-9_.]*)\s*(<=|>=|==|!=|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*")

Figure = Callable[[Comparison, VariantResult], float | None]


def _interval(name: str, of: Callable[[Comparison], Interval | None], unit: float) -> dict[str, Figure]:
    def read(end: str, comparison: Comparison, _: VariantResult) -> float | None:
        found = of(comparison)
        return None if found is None else float(getattr(found, end)) * unit

    return {f"{name}.{end}": partial(read, end) for end in ("value", "low", "high")}


def _worst(deltas: Iterable[Interval]) -> Interval | None:
    """Take the value and each end of the interval where it is largest; None without any."""
    found = tuple(deltas)
    if not found:
        return None
    return Interval(
        value=max(delta.value for delta in found),
        low=max(delta.low for delta in found),
        high=max(delta.high for delta in found),
    )


def _is_judged_language(part: StratumComparison) -> bool:
    return part.by == StratumKind.LANGUAGE and part.n_clips >= MIN_LANGUAGE_CLIPS


def _worst_language(comparison: Comparison) -> Interval | None:
    return _worst(part.wer_delta for part in comparison.strata if _is_judged_language(part))


def _worst_condition(comparison: Comparison) -> Interval | None:
    return _worst(part.wer_delta for part in comparison.conditions)


METRICS: Mapping[str, Figure] = {
    **_interval("wer_delta", lambda found: found.wer_delta, POINTS),
    **_interval("worst_language_delta", _worst_language, POINTS),
    **_interval("worst_condition_delta", _worst_condition, POINTS),
    **_interval("speedup", lambda found: found.speedup, 1),
    "wer": lambda _, variant: variant.wer * POINTS,
    "rtfx": lambda _, variant: variant.rtfx,
    "latency_s.p50": lambda _, variant: variant.latency_s.p50,
    "latency_s.p90": lambda _, variant: variant.latency_s.p90,
    "latency_s.p99": lambda _, variant: variant.latency_s.p99,
    "load_s": lambda _, variant: variant.load_s,
    "cold_start_s": lambda _, variant: None if variant.cold_start is None else variant.cold_start.median_s,
    "size_mb": lambda _, variant: variant.size_bytes / MB,
    "size_ratio": lambda comparison, _: comparison.size_ratio,
    "peak_rss_mb": lambda _, variant: variant.peak_rss_bytes / MB,
    "n_worse": lambda comparison, _: comparison.n_worse,
    "n_changed": lambda comparison, _: comparison.n_changed,
    "n_failed": lambda comparison, _: comparison.n_failed,
    "no_regression_rate": lambda comparison, _: comparison.no_regression_rate,
}
"""The names for conditions. An interval has `value`, `low` and `high`."""


_OPTIONS = {"cold_start_s": " with --cold-starts 5", "worst_condition_delta": " with --robustness all"}
"""What measures a metric that is not always measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """When a variant fails: a metric of `METRICS`, a sign of `OPERATORS`, and a threshold in the metric's unit."""

    text: str
    metric: str
    sign: str
    threshold: float

    def holds(self, value: float) -> bool:
        """Return True if a figure fails."""
        return OPERATORS[self.sign](value, self.threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a condition for one variant; `value` has the metric's unit."""

    variant: str
    condition: Condition
    value: float
    has_failed: bool

    @property
    def reason(self) -> str:
        """The result in one line."""
        return f"{self.variant}: {self.condition.metric} is {self.value:.4g}, fails if {self.condition.text}"


def parse_condition(text: str) -> Condition:
    """Read a condition such as `speedup.low < 1.5`.

    Raises:
        SpecError: the text does not compare a known metric with a number.
    """
    found = CONDITION.fullmatch(text)
    if found is None:
        raise SpecError(f"{text!r} is not a condition; write METRIC < NUMBER, such as 'wer_delta.high > 0.5'")
    metric, sign, threshold = found.groups()
    if metric not in METRICS:
        heads = dict.fromkeys(name.partition(".")[0] for name in METRICS)
        hint = (
            nearest(metric, METRICS) or f"; metrics: {', '.join(heads)}; intervals have value, low and high"
        )
        raise SpecError(f"{text!r}: there is no metric {metric}{hint}")
    return Condition(text=" ".join(text.split()), metric=metric, sign=sign, threshold=float(threshold))


def with_failures(conditions: Sequence[Condition]) -> tuple[Condition, ...]:
    """Add the condition that no clip failed, unless one of them limits failures already.

    Failed clips count for neither error rates nor speed, and they are often the hard ones.
    """
    if any(condition.metric == "n_failed" for condition in conditions):
        return tuple(conditions)
    return (*conditions, parse_condition("n_failed > 0"))


def check_results(
    results: Results, conditions: Sequence[Condition], variants: Iterable[str] = ()
) -> tuple[Outcome, ...]:
    """Check conditions on the variants of a result.

    Args:
        results: of a benchmark.
        conditions: at least one.
        variants: names; empty for all compared variants in the baseline's engine, or in any engine if there are none.

    Raises:
        InputError: a variant was not compared with the baseline, or a figure was not measured.
    """
    compared = {comparison.variant: comparison for comparison in results.comparisons}
    engine = results.variant(results.baseline).engine
    ours = tuple(name for name in compared if results.variant(name).engine == engine)
    names = tuple(variants) or ours or tuple(compared)
    for name in names:
        if name not in compared:
            raise InputError(
                f"{name} was not compared with {results.baseline}{nearest(name, compared)}; "
                f"compared: {', '.join(compared) or 'nothing'}"
            )
    return tuple(
        _outcome(compared[name], results.variant(name), condition)
        for name in names
        for condition in conditions
    )


def _outcome(comparison: Comparison, variant: VariantResult, condition: Condition) -> Outcome:
    value = METRICS[condition.metric](comparison, variant)
    if value is None:
        if condition.metric.startswith("worst_language_delta"):
            raise InputError(
                f"{condition.metric} of {variant.name}: no language has {MIN_LANGUAGE_CLIPS} clips; measure with more speech"
            )
        raise InputError(
            f"{condition.metric} of {variant.name} was not measured; run `sottovoce benchmark` again"
            f"{_OPTIONS.get(condition.metric.partition('.')[0], '')}"
        )
    return Outcome(variant=variant.name, condition=condition, value=value, has_failed=condition.holds(value))


def junit(outcomes: Sequence[Outcome], suite: str) -> str:
    """Write outcomes as JUnit XML, which CI services show as tests.

    Source: the format of Apache Ant's JUnit task, as Jenkins and GitLab read it.
    """
    failures = sum(outcome.has_failed for outcome in outcomes)
    root = ET.Element("testsuite", name=suite, tests=str(len(outcomes)), failures=str(failures), errors="0")
    for outcome in outcomes:
        case = ET.SubElement(
            root, "testcase", classname=outcome.variant, name=f"not {outcome.condition.text}"
        )
        if outcome.has_failed:
            ET.SubElement(case, "failure", message=outcome.reason)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
