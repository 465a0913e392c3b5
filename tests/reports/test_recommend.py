"""The recommendation and its verdict in at most 15 words."""

from dataclasses import dataclass

import pytest

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE
from sottovoce.benchmark.schema.comparisons import (
    AccuracyVerdict,
    Comparison,
    PeerComparison,
    SpeedVerdict,
    StratumComparison,
    Verdict,
)
from sottovoce.benchmark.schema.machine import Noise, SelfCheck
from sottovoce.benchmark.schema.results import Results
from sottovoce.reports.summary.findings import find_findings
from sottovoce.reports.summary.recommend import (
    Advice,
    best_peer,
    describe_peer,
    describe_proof,
    headline,
    recommend,
    weakest_part,
)
from sottovoce.statistics.intervals import Interval

SPACE = "\N{NO-BREAK SPACE}"


def interval(value: float, low: float, high: float) -> Interval:
    return Interval(value=value, low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What was measured of one variant, and the verdict on it."""

    speedup: tuple[float, float, float] = (3.0, 2.8, 3.2)
    delta: tuple[float, float, float] = (0.001, -0.002, 0.004)
    speed: str = "faster"
    accuracy: str = "within"
    size_ratio: float = 0.15
    says: str
    advice: Advice


CASES = {
    "proven": Case(
        says=f"Ship int8: 3.0x faster, 85{SPACE}% smaller. Accuracy: equal within 0.5 points.",
        advice=Advice.SHIP,
    ),
    "real loss": Case(
        delta=(0.002, 0.001, 0.004),
        says=f"Ship int8: 3.0x faster, 85{SPACE}% smaller. Accuracy: lower, but within 0.5 points.",
        advice=Advice.SHIP,
    ),
    "gain": Case(
        delta=(-0.004, -0.006, -0.001),
        says=f"Ship int8: 3.0x faster, 85{SPACE}% smaller. Accuracy: better.",
        advice=Advice.SHIP,
    ),
    "accuracy open": Case(
        delta=(0.001, -0.006, 0.0082),
        accuracy="undecided",
        says=f"int8: 3.0x faster, 85{SPACE}% smaller. Accuracy not proven: about 390 clips needed.",
        advice=Advice.MEASURE_MORE,
    ),
    "too close to the margin": Case(
        delta=(0.005, -0.002, 0.012),
        accuracy="undecided",
        says=f"int8: 3.0x faster, 85{SPACE}% smaller. Accuracy not proven: very many clips needed.",
        advice=Advice.MEASURE_MORE,
    ),
    "speed open": Case(
        speedup=(1.1, 0.9, 1.3),
        speed="undecided",
        says=f"int8: 85{SPACE}% smaller, accuracy equal within 0.5 points. Speed not proven.",
        advice=Advice.MEASURE_MORE,
    ),
    "both open": Case(
        speedup=(1.1, 0.9, 1.3),
        speed="undecided",
        delta=(0.001, -0.006, 0.0082),
        accuracy="undecided",
        says=f"int8: 85{SPACE}% smaller. Speed and accuracy not proven: about 390 clips needed.",
        advice=Advice.MEASURE_MORE,
    ),
    "less accurate": Case(
        delta=(0.02, 0.01, 0.03),
        accuracy="beyond",
        says=f"Do not ship int8: 3.0x faster, 85{SPACE}% smaller, but loses over 0.5 points.",
        advice=Advice.REJECT,
    ),
    "slower": Case(
        speedup=(0.8, 0.7, 0.9),
        speed="slower",
        says="Do not ship int8: 1.2x slower than fp32.",
        advice=Advice.REJECT,
    ),
    "larger": Case(
        size_ratio=1.2,
        says=f"Ship int8: 3.0x faster, 20{SPACE}% larger. Accuracy: equal within 0.5 points.",
        advice=Advice.SHIP,
    ),
}


def compared(results: Results, case: Case, variant: str = "int8") -> Comparison:
    return results.comparisons[-1].model_copy(
        update={
            "variant": variant,
            "speedup": interval(*case.speedup),
            "wer_delta": interval(*case.delta),
            "size_ratio": case.size_ratio,
            "n_clips": 120,
            "n_blocks": 25,
            "verdict": Verdict(
                speed=SpeedVerdict(case.speed), accuracy=AccuracyVerdict(case.accuracy), margin=0.005
            ),
        }
    )


def with_comparisons(results: Results, *comparisons: Comparison) -> Results:
    """Make every variant one of our engine."""
    variants = tuple(variant.model_copy(update={"engine": DEFAULT_ENGINE}) for variant in results.variants)
    return results.model_copy(update={"comparisons": comparisons, "variants": variants})


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_verdict_says_what_to_do_in_at_most_fifteen_words(results: Results, case: Case) -> None:
    measured = with_comparisons(results, compared(results, case))
    assert headline(measured) == case.says
    assert len(headline(measured).split()) <= 15
    found = recommend(measured)
    assert found is not None
    assert found.advice is case.advice


def test_a_proven_variant_comes_before_a_faster_one_that_is_not(results: Results) -> None:
    slow = compared(results, CASES["proven"], "fp16")
    fast = compared(results, CASES["accuracy open"]).model_copy(update={"speedup": interval(5.0, 4.8, 5.2)})
    found = recommend(with_comparisons(results, fast, slow))
    assert found is not None
    assert found.comparison.variant == "fp16"


def test_among_equals_the_fastest_comes_first(results: Results) -> None:
    slow, fast = compared(results, CASES["proven"], "fp16"), compared(results, CASES["proven"])
    fast = fast.model_copy(update={"speedup": interval(4.0, 3.8, 4.2)})
    found = recommend(with_comparisons(results, slow, fast))
    assert found is not None
    assert found.comparison.variant == "int8"


def test_synthetic_speech_decides_on_speed_and_leaves_accuracy_to_real_speech(results: Results) -> None:
    demo = with_comparisons(results, compared(results, CASES["accuracy open"])).model_copy(
        update={"dataset": results.dataset.model_copy(update={"synthetic": True})}
    )
    assert headline(demo) == f"int8: 3.0x faster, 85{SPACE}% smaller. Accuracy: measure it on real speech."
    found = recommend(demo)
    assert found is not None
    assert found.advice is Advice.SHIP
    assert "Synthetic speech" in find_findings(demo, found)[1].finding


def noise(foreign_share: float) -> Noise:
    return Noise(
        n_blocks=20,
        n_marked=11,
        n_repeated=4,
        steal_share=0.01,
        foreign_share=foreign_share,
        throttled=None,
        max_steal_share=0.05,
        max_foreign_share=0.05,
    )


def test_a_machine_that_other_work_kept_busy_voids_the_verdict(results: Results) -> None:
    measured = with_comparisons(results, compared(results, CASES["proven"]))
    busy = measured.model_copy(update={"noise": noise(0.3)})
    assert headline(busy) == "Measure int8 again: the machine was too noisy for a verdict on speed."
    assert describe_proof(busy)[0].startswith(
        f"Other work took 31{SPACE}% of the CPU time and disturbed 11 of 20 blocks."
    )
    assert headline(measured.model_copy(update={"noise": noise(0.18)})) == CASES["proven"].says


def test_a_speed_up_within_the_noise_of_the_machine_voids_the_verdict(results: Results) -> None:
    open_case = Case(speedup=(1.1, 1.05, 1.15), speed="undecided", says="", advice=Advice.MEASURE_AGAIN)
    check = SelfCheck(entry="int8", ratio=interval(1.04, 0.98, 1.1), n_clips=20, same_text_rate=1.0)
    measured = with_comparisons(results, compared(results, open_case))
    found = recommend(measured.model_copy(update={"self_check": check}))
    assert found is not None
    assert found.advice is Advice.MEASURE_AGAIN
    assert found.noise == "int8 against itself measured 0.98 to 1.10 instead of 1"
    quiet = recommend(measured)
    assert quiet is not None
    assert quiet.advice is Advice.MEASURE_MORE


def test_nothing_compared_is_said(results: Results) -> None:
    assert headline(with_comparisons(results)) == "Only fp32 was measured: nothing to compare."
    assert describe_proof(with_comparisons(results)) == ()


def test_the_best_peer_is_the_fastest_one(results: Results) -> None:
    peers = tuple(
        PeerComparison(subject="int8", peer=name, speedup=interval(*speedup), wer_delta=interval(0, 0, 0))
        for name, speedup in (("slow:int8", (4.0, 3.9, 4.1)), ("fast:int8", (0.5, 0.4, 0.6)))
    )
    best = best_peer(results.model_copy(update={"peers": peers}), "int8")
    assert best is not None
    assert describe_peer(best) == "fast:int8 is 2.0 times as fast as int8"
    assert describe_peer(peers[0]) == "int8 is 4.0 times as fast as slow:int8"
    even = best.model_copy(update={"speedup": interval(1.0, 0.9, 1.1)})
    assert describe_peer(even) == "int8 and fast:int8 are about as fast"


def test_the_weakest_spot_is_a_part_with_enough_clips_that_loses(results: Results) -> None:
    parts = tuple(
        StratumComparison(
            by=by, name=name, n_clips=n_clips, speedup=None, wer_delta=interval(delta, -0.1, 0.1)
        )
        for by, name, n_clips, delta in (
            ("length", "under 5 s", 40, 0.002),
            ("length", "5 to 10 s", 40, 0.001),
            ("length", "20 s and over", 4, 0.2),
            ("language", "en", 84, 0.01),
            ("speaker", "ann", 40, 0.3),
        )
    )
    comparison = compared(results, CASES["proven"]).model_copy(update={"strata": parts})
    assert "Weakest spot: clips under 5 s, +0.20 points." in describe_proof(
        with_comparisons(results, comparison)
    )
    assert weakest_part(comparison.model_copy(update={"strata": ()})) is None


def test_titles_of_charts_say_what_was_found(results: Results) -> None:
    measured = with_comparisons(results, compared(results, CASES["proven"]))
    titles = [chart.finding for chart in find_findings(measured, recommend(measured))]
    assert titles[0] == "int8 is 3.0 times as fast as fp32"
    assert titles[1] == "Word errors change by +0.10 points"
    assert titles[2] == "Decoder with past takes 44 % of the time of int8"


def test_an_engine_without_stages_has_no_chart_of_stages(results: Results) -> None:
    measured = with_comparisons(results, compared(results, CASES["proven"]))
    variants = tuple(variant.model_copy(update={"stage_s": {}}) for variant in measured.variants)
    found = recommend(measured)
    assert len(find_findings(measured.model_copy(update={"variants": variants}), found)) == 2
