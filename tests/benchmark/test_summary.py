"""From measurements to results: what is scored, what is compared, what is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE, EngineSpec
from sottovoce.benchmark.entries import Entry
from sottovoce.benchmark.schema.results import (
    ClipRow,
    SpeedVerdict,
    Stage,
    VariantResult,
)
from sottovoce.benchmark.statistics.comparison import compare, judge_speed
from sottovoce.benchmark.statistics.noninferiority import AccuracyVerdict
from sottovoce.benchmark.summary import (
    check_float_precision,
    clip_rows,
    dataset_sha256,
    summarize_variant,
)
from sottovoce.benchmark.timing.measure import VariantMeasurement
from sottovoce.benchmark.timing.pass_runner import Measured
from sottovoce.benchmark.timing.worker import Loaded
from sottovoce.errors import GateError
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.speech.clips import Clip
from sottovoce.speech.loading import LoadedClip
from sottovoce.statistics.intervals import Interval, make_blocks
from sottovoce.terms import Component
from tests.support.engines import FakeEngine, fake_precision
from tests.support.tones import tone

Summary = tuple[VariantResult, tuple[ClipRow, ...]]
BOUNDS = st.floats(-1, 3)


def clips(texts: tuple[str, ...] = ("en", "en en", "en en en")) -> tuple[LoadedClip, ...]:
    return tuple(
        LoadedClip(
            clip=Clip(clip_id=f"c{i}", audio=b"", text=text, language="en", source="tones"),
            wave=tone(i + 1.0),
        )
        for i, text in enumerate(texts)
    )


def engine_spec(name: str) -> EngineSpec:
    return EngineSpec(engine=DEFAULT_ENGINE, variant=name, folder=Path(name), compute=ComputeSpec())


def entry(name: str, size_bytes: int) -> Entry:
    parts = [str(part) for part in Component]
    return Entry(
        spec=engine_spec(name),
        component_size_bytes=dict.fromkeys(parts, size_bytes),
        int8_nodes=dict.fromkeys(parts, 0),
    )


def measured(
    name: str, loaded: tuple[LoadedClip, ...], *, factor: float, failed: frozenset[int] = frozenset()
) -> VariantMeasurement:
    engine = FakeEngine(factor=factor)
    return VariantMeasurement(
        spec=engine_spec(name),
        loaded=Loaded(load_s=1.0, precision=engine.precision()),
        warm_up_s=(9.0,),
        peak_rss_bytes=1000,
        clips=tuple(
            Measured(passes=(), error="cannot transcribe")
            if i in failed
            else Measured(passes=(engine.transcribe(clip.wave, "en"),) * 3)
            for i, clip in enumerate(loaded)
        ),
    )


def summary(
    name: str, loaded: tuple[LoadedClip, ...], *, factor: float, failed: frozenset[int] = frozenset()
) -> Summary:
    measurement = measured(name, loaded, factor=factor, failed=failed)
    rows = clip_rows(measurement, loaded, default_language=None)
    return summarize_variant(measurement, rows, entry(name, 100)), rows


def blocks(rows: object) -> object:
    return make_blocks([row.speaker for row in rows])  # type: ignore[attr-defined]


def test_seconds_of_audio_per_second_of_work_are_over_all_clips() -> None:
    result, _ = summary("fp32", clips(), factor=0.25)
    assert result.rtfx == pytest.approx(4)
    assert result.latency_s.mean == pytest.approx(0.5)
    assert result.latency_s.p50 == pytest.approx(0.5)


def test_a_perfect_transcript_has_full_word_accuracy() -> None:
    result, _ = summary("fp32", clips(), factor=0.1)
    assert (result.wer, result.word_accuracy, result.words.reference_words) == (0, 1, 6)


def test_warm_up_does_not_count() -> None:
    result, _ = summary("fp32", clips(), factor=0.1)
    assert result.warm_up_s == (9.0,)
    assert result.latency_s.p90 < 1


def test_a_step_of_the_decoder_is_timed_per_token() -> None:
    result, rows = summary("fp32", clips(), factor=0.1)
    calls = sum(row.calls[Stage.DECODER_WITH_PAST] for row in rows)
    seconds = sum(row.stage_s[0][Stage.DECODER_WITH_PAST] for row in rows)
    assert result.call_s[Stage.DECODER_WITH_PAST] == pytest.approx(seconds / calls)
    assert Stage.OTHER not in result.call_s


def test_a_failed_clip_is_kept_and_not_scored_as_empty() -> None:
    result, rows = summary("fp32", clips(), factor=0.1, failed=frozenset({1}))
    assert rows[1].error == "cannot transcribe"
    assert (result.wer, result.words.reference_words) == (0, 4)
    assert {stratum.n_clips for stratum in result.strata} == {2}


def test_clips_that_either_variant_failed_on_are_not_compared() -> None:
    loaded = clips(("en", "something else", "en en en"))
    base = summary("fp32", loaded, factor=0.2)
    other = summary("int8", loaded, factor=0.1, failed=frozenset({1}))
    comparison = compare(base, other, blocks, margin=0.005, rng=np.random.default_rng(0))  # type: ignore[arg-type]
    assert comparison.speedup.value == pytest.approx(2)
    assert (comparison.wer_delta.value, comparison.n_worse, comparison.n_better) == (0, 0, 0)


def test_a_variant_twice_as_quick_with_the_same_words_is_faster_and_within_the_margin() -> None:
    loaded = clips(("en " * 100,) * 12)
    comparison = compare(
        summary("fp32", loaded, factor=0.2),
        summary("int8", loaded, factor=0.1),
        blocks,  # type: ignore[arg-type]
        margin=0.005,
        rng=np.random.default_rng(0),
    )
    assert (comparison.verdict.speed, comparison.verdict.accuracy) == (
        SpeedVerdict.FASTER,
        AccuracyVerdict.WITHIN,
    )
    assert comparison.stage_speedup[Stage.ENCODER].value == pytest.approx(2)
    assert comparison.n_changed == 0


def test_references_without_words_cannot_be_compared() -> None:
    loaded = clips(("(noise)", "!", "-"))
    base, other = summary("fp32", loaded, factor=0.2), summary("int8", loaded, factor=0.1)
    with pytest.raises(GateError, match="hold no words"):
        compare(base, other, blocks, margin=0.005, rng=np.random.default_rng(0))  # type: ignore[arg-type]


def test_no_clip_that_both_transcribed_is_an_error_that_says_so() -> None:
    loaded = clips()
    base = summary("fp32", loaded, factor=0.2, failed=frozenset({0}))
    other = summary("int8", loaded, factor=0.1, failed=frozenset({1, 2}))
    with pytest.raises(GateError):
        compare(base, other, blocks, margin=0.005, rng=np.random.default_rng(0))  # type: ignore[arg-type]


def test_three_clips_decide_nothing() -> None:
    loaded = clips()
    comparison = compare(
        summary("fp32", loaded, factor=0.2),
        summary("int8", loaded, factor=0.1),
        blocks,  # type: ignore[arg-type]
        margin=0.005,
        rng=np.random.default_rng(0),
    )
    assert (comparison.n_clips, comparison.n_blocks, comparison.n_failed) == (3, 3, 0)
    assert comparison.verdict.speed is SpeedVerdict.UNDECIDED
    assert comparison.verdict.accuracy is AccuracyVerdict.UNDECIDED


def test_words_that_are_invented_for_a_clip_without_any_count_as_errors() -> None:
    loaded = clips(("en", "en en", "(noise)"))
    base, other = summary("fp32", loaded, factor=0.2), summary("int8", loaded, factor=0.1)
    quiet = (base[0], (*base[1][:2], _without_errors(base[1][2])))
    comparison = compare(quiet, other, blocks, margin=0.005, rng=np.random.default_rng(0))  # type: ignore[arg-type]
    assert other[1][2].words.insertions == 3
    assert comparison.wer_delta.value == pytest.approx(3 / 3)
    assert comparison.n_worse == 1


def _without_errors(row: ClipRow) -> ClipRow:
    words = row.words.model_copy(update={"substitutions": 0, "deletions": 0, "insertions": 0})
    return row.model_copy(update={"words": words})


@given(BOUNDS, BOUNDS)
def test_a_verdict_on_speed_says_only_what_its_interval_allows(a: float, b: float) -> None:
    speed = Interval(value=(a + b) / 2, low=min(a, b), high=max(a, b))
    verdict = judge_speed(speed, n_clips=100)
    assert (verdict is SpeedVerdict.FASTER) == (speed.low > 1)
    assert (verdict is SpeedVerdict.SLOWER) == (speed.high < 1)


def test_what_the_machine_makes_of_no_difference_is_no_speed_up() -> None:
    little = Interval(value=1.025, low=1.015, high=1.035)
    noise = Interval(value=1.01, low=0.98, high=1.04)
    assert judge_speed(little, n_clips=100) is SpeedVerdict.FASTER
    assert judge_speed(little, n_clips=100, noise=noise) is SpeedVerdict.UNDECIDED
    much = Interval(value=1.2, low=1.1, high=1.3)
    assert judge_speed(much, n_clips=100, noise=noise) is SpeedVerdict.FASTER


def test_a_stage_is_compared_on_clips_whose_calls_both_tell() -> None:
    """openvino-genai tells those of the decoder only where it need not detect a language."""
    loaded = clips(("en",) * 12)
    base, other = summary("fp32", loaded, factor=0.2), summary("int8", loaded, factor=0.1)
    told = (
        other[1][0],
        *(row.model_copy(update={"calls": {Stage.ENCODER: 1}}) for row in other[1][1:]),
    )
    found = compare(base, (other[0], told), blocks, margin=0.005, rng=np.random.default_rng(0))  # type: ignore[arg-type]
    speedup = found.stage_speedup[Stage.DECODER]
    assert np.isfinite([speedup.value, speedup.low, speedup.high]).all()


@pytest.mark.parametrize("kind", ["bf16", "f16"])
def test_a_baseline_with_a_node_that_is_not_f32_is_refused(kind: str) -> None:
    result, _ = summary("fp32", clips(), factor=0.1)
    check_float_precision(result.name, result.precision)
    part = result.precision.components["encoder"].model_copy(update={"nodes": {"f32": 9, kind: 1}})
    precision = result.precision.model_copy(
        update={"components": {**result.precision.components, "encoder": part}}
    )
    with pytest.raises(GateError, match=rf"its encoder computes in f32 \(nodes: .*'{kind}': 1"):
        check_float_precision(result.name, precision)


def test_a_baseline_that_is_hinted_to_bf16_is_refused() -> None:
    result, _ = summary("fp32", clips(), factor=0.1)
    with pytest.raises(GateError, match="computes in bf16"):
        check_float_precision(result.name, fake_precision("bf16"))


@pytest.mark.parametrize("changed", [{"kv_cache": "u8"}, {"dynamic_quantization_group_size": 32}])
def test_a_baseline_that_quantizes_its_cache_or_activations_is_refused(changed: dict[str, object]) -> None:
    result, _ = summary("fp32", clips(), factor=0.1)
    part = result.precision.components["decoder"].model_copy(update=changed)
    components = {**result.precision.components, "decoder": part}
    with pytest.raises(GateError, match="its decoder keeps its cache in"):
        check_float_precision(result.name, result.precision.model_copy(update={"components": components}))


def test_two_sets_share_their_hash_where_they_share_their_clips() -> None:
    loaded = clips()
    assert dataset_sha256(loaded) == dataset_sha256(loaded[::-1])
    assert dataset_sha256(loaded) != dataset_sha256(loaded[:2])
    assert dataset_sha256(loaded) != dataset_sha256(clips(("en", "en en", "other")))


def test_a_language_without_reference_words_gets_no_error_rate() -> None:
    english = clips(("en",))
    silent = LoadedClip(clip=Clip(clip_id="s", audio=b"", text="...", language="fr"), wave=tone(1.0))
    result, _ = summary("fp32", (*english, silent), factor=0.1)
    assert [stratum.name for stratum in result.strata if stratum.by == "language"] == ["en"]


def test_a_comparison_tells_all_that_a_verdict_rests_on() -> None:
    baseline = summary("fp32", clips(), factor=0.2)
    variant = summary("int8", clips(), factor=0.1)
    found = compare(baseline, variant, blocks, margin=0.005, rng=np.random.default_rng(0))  # type: ignore[arg-type]
    assert found.no_regression_rate == 1
    assert found.matched_pairs is not None
    assert found.matched_pairs.n_segments == 0
    assert found.panel[0].delta == found.wer_delta
    assert found.verdict.accuracy is AccuracyVerdict.UNDECIDED
    assert {stratum.by for stratum in found.strata} == {"language", "length", "noise", "source"}
    for stratum in found.strata:
        assert stratum.speedup is not None
        assert stratum.speedup.value == pytest.approx(2)
