"""From measurements to results: scores, comparisons, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.benchmark.clips.select import dataset_sha256
from sottovoce.benchmark.engines.engine import Entry
from sottovoce.benchmark.plan import Plan
from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import AccuracyVerdict, SpeedVerdict
from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.benchmark.statistics.comparison import Entrant, compare, judge_speed
from sottovoce.benchmark.summary import (
    check_float_precision,
    score_clips,
    summarize_variant,
)
from sottovoce.benchmark.timing.journal import BlockRecord
from sottovoce.benchmark.timing.measure import Measurement, VariantMeasurement
from sottovoce.benchmark.timing.worker import Loaded
from sottovoce.errors import GateError
from sottovoce.speech.clips import Clip
from sottovoce.speech.loading import LoadedClip, LoadedClips
from sottovoce.statistics.intervals import Interval, make_blocks
from sottovoce.terms import Component, Stage
from tests.support.engines import FakeEngine, fake_precision
from tests.support.plans import engine_spec
from tests.support.tones import tone

BOUNDS = st.floats(-1, 3)


def clips(texts: tuple[str, ...] = ("en", "en en", "en en en")) -> tuple[LoadedClip, ...]:
    return tuple(
        LoadedClip(
            clip=Clip(clip_id=f"c{i}", audio=b"", text=text, language="en", source="tones"),
            wave=tone(i + 1.0),
        )
        for i, text in enumerate(texts)
    )


def entry(name: str, size_bytes: int) -> Entry:
    parts = [str(part) for part in Component]
    return Entry(
        spec=engine_spec(name),
        component_size_bytes=dict.fromkeys(parts, size_bytes),
        int8_nodes=dict.fromkeys(parts, 0),
    )


def measured(
    name: str, loaded: tuple[LoadedClip, ...], *, factor: float, failed: frozenset[int] = frozenset()
) -> Measurement:
    engine = FakeEngine(factor=factor)
    return Measurement(
        entries=(
            VariantMeasurement(
                spec=engine_spec(name),
                loaded=Loaded(load_s=1.0, precision=engine.precision()),
                warm_up_s=(9.0,),
                peak_rss_bytes=1000,
                details={},
            ),
        ),
        blocks={
            (number, clip.clip.clip_id): BlockRecord(
                number=number,
                clip_id=clip.clip.clip_id,
                timed={} if i in failed else {name: engine.transcribe(clip.wave, "en")},
                errors={name: "cannot transcribe"} if i in failed else {},
                peak_rss_bytes={},
                cpu_s=0.0,
                steal_s=0.0,
                foreign_s=0.0,
            )
            for number in range(3)
            for i, clip in enumerate(loaded)
        },
    )


def summary(
    name: str, loaded: tuple[LoadedClip, ...], *, factor: float, failed: frozenset[int] = frozenset()
) -> Entrant:
    measurement = measured(name, loaded, factor=factor, failed=failed)
    plan = Plan(spec=BenchmarkSpec(), entries=(), clips=LoadedClips(loaded=loaded, rejected=()))
    rows = score_clips(plan, measurement)[name]
    return Entrant(summarize_variant(measurement.entries[0], rows, entry(name, 100)), rows)


def blocks(rows: object) -> object:
    return make_blocks([row.speaker for row in rows])  # type: ignore[attr-defined]


def test_rtfx_is_over_all_clips() -> None:
    result, _ = summary("fp32", clips(), factor=0.25)
    assert result.rtfx == pytest.approx(4)
    assert result.latency_s.mean == pytest.approx(0.5)
    assert result.latency_s.p50 == pytest.approx(0.5)


def test_a_perfect_transcript_has_full_word_accuracy() -> None:
    result, _ = summary("fp32", clips(), factor=0.1)
    assert (result.wer, result.word_accuracy, result.words.reference_words) == (0, 1, 6)


def test_warm_up_clips_do_not_count() -> None:
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


def test_a_variant_twice_as_fast_with_the_same_words_is_faster_and_within_the_margin() -> None:
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


def test_two_entries_without_a_common_clip_cannot_be_compared() -> None:
    loaded = clips()
    base = summary("fp32", loaded, factor=0.2, failed=frozenset({0}))
    other = summary("int8", loaded, factor=0.1, failed=frozenset({1, 2}))
    with pytest.raises(GateError):
        compare(base, other, blocks, margin=0.005, rng=np.random.default_rng(0))  # type: ignore[arg-type]


def test_three_clips_give_no_verdict() -> None:
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


def test_hallucinated_words_in_a_clip_without_words_count_as_errors() -> None:
    loaded = clips(("en", "en en", "(noise)"))
    base, other = summary("fp32", loaded, factor=0.2), summary("int8", loaded, factor=0.1)
    quiet = Entrant(base.result, (*base.rows[:2], _without_errors(base.rows[2])))
    comparison = compare(quiet, other, blocks, margin=0.005, rng=np.random.default_rng(0))  # type: ignore[arg-type]
    assert other.rows[2].words.insertions == 3
    assert comparison.wer_delta.value == pytest.approx(3 / 3)
    assert comparison.n_worse == 1


def _without_errors(row: ClipRow) -> ClipRow:
    words = row.words.model_copy(update={"substitutions": 0, "deletions": 0, "insertions": 0})
    return row.model_copy(update={"words": words})


@given(BOUNDS, BOUNDS)
def test_a_speed_verdict_follows_from_the_interval(a: float, b: float) -> None:
    speed = Interval(value=(a + b) / 2, low=min(a, b), high=max(a, b))
    verdict = judge_speed(speed, n_clips=100)
    assert (verdict is SpeedVerdict.FASTER) == (speed.low > 1)
    assert (verdict is SpeedVerdict.SLOWER) == (speed.high < 1)


def test_a_speed_up_within_the_noise_of_the_a_a_check_is_undecided() -> None:
    little = Interval(value=1.025, low=1.015, high=1.035)
    noise = Interval(value=1.01, low=0.98, high=1.04)
    assert judge_speed(little, n_clips=100) is SpeedVerdict.FASTER
    assert judge_speed(little, n_clips=100, noise=noise) is SpeedVerdict.UNDECIDED
    much = Interval(value=1.2, low=1.1, high=1.3)
    assert judge_speed(much, n_clips=100, noise=noise) is SpeedVerdict.FASTER


def test_a_stage_is_compared_on_clips_for_which_both_counted_calls() -> None:
    """openvino-genai counts calls of the decoder only if it does not detect the language."""
    loaded = clips(("en",) * 12)
    base, other = summary("fp32", loaded, factor=0.2), summary("int8", loaded, factor=0.1)
    rows = (
        other.rows[0],
        *(row.model_copy(update={"calls": {Stage.ENCODER: 1}}) for row in other.rows[1:]),
    )
    found = compare(base, Entrant(other.result, rows), blocks, margin=0.005, rng=np.random.default_rng(0))  # type: ignore[arg-type]
    speedup = found.stage_speedup[Stage.DECODER]
    assert np.isfinite([speedup.value, speedup.low, speedup.high]).all()


@pytest.mark.parametrize("kind", ["bf16", "f16"])
def test_a_baseline_with_a_node_in_another_type_is_refused(kind: str) -> None:
    result, _ = summary("fp32", clips(), factor=0.1)
    check_float_precision(result.name, result.precision)
    part = result.precision.components["encoder"].model_copy(update={"nodes": {"f32": 9, kind: 1}})
    precision = result.precision.model_copy(
        update={"components": {**result.precision.components, "encoder": part}}
    )
    with pytest.raises(GateError, match=rf"its encoder computes in f32 \(nodes: .*'{kind}': 1"):
        check_float_precision(result.name, precision)


def test_a_baseline_with_the_hint_bf16_is_refused() -> None:
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


def test_two_sets_with_the_same_clips_have_the_same_hash() -> None:
    loaded = clips()
    assert dataset_sha256(loaded) == dataset_sha256(loaded[::-1])
    assert dataset_sha256(loaded) != dataset_sha256(loaded[:2])
    assert dataset_sha256(loaded) != dataset_sha256(clips(("en", "en en", "other")))


def test_a_language_without_reference_words_gets_no_error_rate() -> None:
    english = clips(("en",))
    silent = LoadedClip(clip=Clip(clip_id="s", audio=b"", text="...", language="fr"), wave=tone(1.0))
    result, _ = summary("fp32", (*english, silent), factor=0.1)
    assert [stratum.name for stratum in result.strata if stratum.by == "language"] == ["en"]


def test_a_comparison_has_all_statistics() -> None:
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
