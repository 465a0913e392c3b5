"""Conditions on results: what they accept, when they fail, and their output for CI."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from sottovoce.benchmark.gates import METRICS, OPERATORS, check_results, junit, parse_condition, with_failures
from sottovoce.benchmark.schema.comparisons import ConditionComparison
from sottovoce.cli.app import app
from sottovoce.errors import GateError, InputError, SpecError
from sottovoce.statistics.intervals import Interval
from sottovoce.terms import Condition
from tests.support.results import build_sample, save_sample, with_languages

SAMPLE = build_sample()
INT8 = next(found for found in SAMPLE.results.comparisons if found.variant == "int8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_sample(SAMPLE.results, SAMPLE.rows, tmp_path / "results")


@pytest.mark.parametrize(
    ("text", "has_failed"),
    [
        ("wer_delta.high > 0.5", True),
        (f"wer_delta.high > {INT8.wer_delta.high * 100 + 0.01:.3f}", False),
        ("speedup.low < 1.5", False),
        ("speedup.low<1.9", True),
        ("size_mb > 41", True),
        ("size_ratio >= 0.3", False),
        ("n_worse != 0", True),
    ],
)
def test_figures_have_the_units_of_the_tables(text: str, has_failed: bool) -> None:  # noqa: FBT001
    (outcome,) = check_results(SAMPLE.results, [parse_condition(text)], ["int8"])
    assert outcome.has_failed is has_failed
    assert outcome.condition.metric in outcome.reason


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("faster please", "write METRIC < NUMBER"),
        ("speedup.low < fast", "write METRIC < NUMBER"),
        ("__import__('os') > 1", "write METRIC < NUMBER"),
        ("speedup.lo < 1", "did you mean speedup.low"),
    ],
)
def test_a_text_that_is_not_a_condition_is_refused_with_advice(text: str, advice: str) -> None:
    with pytest.raises(SpecError, match=advice):
        parse_condition(text)


@given(
    metric=st.sampled_from(sorted(METRICS)),
    sign=st.sampled_from(sorted(OPERATORS)),
    threshold=st.floats(-1e6, 1e6).map(lambda value: round(value, 4)),
    space=st.sampled_from(["", " ", "  "]),
)
def test_a_condition_is_parsed_whatever_its_spaces(
    metric: str, sign: str, threshold: float, space: str
) -> None:
    found = parse_condition(f"{metric}{space}{sign}{space}{threshold:.4f}")
    assert (found.metric, found.sign, found.threshold) == (metric, sign, threshold)


def test_other_engines_are_checked_only_by_name_or_if_nothing_else_was_compared() -> None:
    condition = [parse_condition("speedup.low < 1.5")]
    variants = tuple(
        one.model_copy(update={"engine": "torch"}) if one.name == "fp16" else one
        for one in SAMPLE.results.variants
    )
    results = SAMPLE.results.model_copy(update={"variants": variants})
    assert [outcome.variant for outcome in check_results(results, condition)] == ["int8"]
    assert [outcome.variant for outcome in check_results(results, condition, ["fp16"])] == ["fp16"]
    only = results.model_copy(update={"comparisons": results.comparisons[:1]})
    assert [outcome.variant for outcome in check_results(only, condition)] == ["fp16"]


def test_a_condition_on_a_figure_that_was_not_measured_is_an_error() -> None:
    with pytest.raises(InputError, match="--cold-starts"):
        check_results(SAMPLE.results, [parse_condition("cold_start_s > 2")])


def test_the_worst_condition_takes_each_end_where_it_is_largest() -> None:
    deltas = {
        Condition.CLEAN: Interval(value=0.001, low=-0.001, high=0.003),
        Condition.SNR_5: Interval(value=0.012, low=-0.01, high=0.03),
        Condition.MP3: Interval(value=0.009, low=0.006, high=0.011),
    }
    conditions = tuple(
        ConditionComparison(condition=name, n_clips=12, wer_delta=delta) for name, delta in deltas.items()
    )
    int8 = INT8.model_copy(update={"conditions": conditions})
    results = SAMPLE.results.model_copy(update={"comparisons": (int8,)})
    ends = [parse_condition(f"worst_condition_delta.{end} > 1") for end in ("value", "low", "high")]
    outcomes = check_results(results, ends)
    assert [outcome.value for outcome in outcomes] == pytest.approx([1.2, 0.6, 3.0])
    assert [outcome.has_failed for outcome in outcomes] == [True, False, True]


def test_conditions_that_were_not_measured_are_an_error_that_names_the_option() -> None:
    with pytest.raises(InputError, match="with --robustness all"):
        check_results(SAMPLE.results, [parse_condition("worst_condition_delta.high > 2")])


def test_failed_clips_fail_the_gate_unless_a_condition_limits_them() -> None:
    comparisons = tuple(each.model_copy(update={"n_failed": 2}) for each in SAMPLE.results.comparisons)
    results = SAMPLE.results.model_copy(update={"comparisons": comparisons})
    strict = with_failures([parse_condition("wer > 100")])
    assert {outcome.reason for outcome in check_results(results, strict) if outcome.has_failed} == {
        f"{name}: n_failed is 2, fails if n_failed > 0" for name in ("fp16", "int8")
    }
    lenient = with_failures([parse_condition("n_failed > 5")])
    assert not any(outcome.has_failed for outcome in check_results(results, lenient))


def test_a_variant_that_was_not_compared_is_an_error() -> None:
    with pytest.raises(InputError, match="did you mean int8"):
        check_results(SAMPLE.results, [parse_condition("wer > 1")], ["int9"])


def test_the_worst_language_is_the_one_that_loses_most_of_those_with_ten_clips() -> None:
    results = with_languages(
        SAMPLE.results,
        {
            "en": (200, Interval(value=0.001, low=-0.002, high=0.004)),
            "de": (37, Interval(value=0.022, low=0.005, high=0.039)),
            "nl": (10, Interval(value=0.014, low=0.008, high=0.020)),
            "ko": (9, Interval(value=0.5, low=0.4, high=0.6)),
        },
    )
    texts = [f"worst_language_delta.{end} > 1" for end in ("value", "low", "high")]
    outcomes = check_results(results, [parse_condition(text) for text in texts], ["int8"])
    assert [round(outcome.value, 6) for outcome in outcomes] == [2.2, 0.8, 3.9]
    assert [outcome.has_failed for outcome in outcomes] == [True, False, True]


def test_a_gate_on_the_worst_language_says_that_no_language_has_enough_clips() -> None:
    few = with_languages(SAMPLE.results, {"de": (9, Interval(value=0.1, low=0.0, high=0.2))})
    with pytest.raises(InputError, match="no language has 10 clips"):
        check_results(few, [parse_condition("worst_language_delta.high > 1")], ["int8"])


def test_every_variant_is_checked_by_default() -> None:
    outcomes = check_results(SAMPLE.results, [parse_condition("wer > 100")])
    assert [outcome.variant for outcome in outcomes] == ["fp16", "int8"]


def test_junit_counts_and_names_failures() -> None:
    conditions = [parse_condition("speedup.low < 1.5"), parse_condition("wer_delta.high > 50")]
    suite = ET.fromstring(junit(check_results(SAMPLE.results, conditions), "a <model>"))  # noqa: S314
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("a <model>", "4", "1")
    (failed,) = [case for case in suite if case.find("failure") is not None]
    assert failed.get("classname") == "fp16"


def test_a_failed_gate_exits_with_3_and_names_the_reason(folder: Path, tmp_path: Path) -> None:
    runner, report = CliRunner(), tmp_path / "gate.xml"
    kept = runner.invoke(app, ["gate", str(folder), "--fail-if", "wer > 100", "--junit", str(report)])
    assert kept.exit_code == 0
    assert kept.output.count("pass  ") == 4  # for two variants: the condition, and n_failed
    assert report.read_text(encoding="utf-8").startswith("<?xml")
    failed = runner.invoke(
        app, ["gate", str(folder), "--fail-if", "speedup.low < 1.5", "--variants", "fp16,int8"]
    )
    assert isinstance(failed.exception, GateError)
    assert failed.exception.exit_code == 3
    assert "1 of 4 conditions fail" in str(failed.exception)
    assert "FAIL  fp16: speedup.low is 0.98" in failed.output
