"""Word errors under listening conditions: which entries and clips count, and figures computed by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sottovoce.benchmark.engines.engine import EngineSpec
from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.spec import BenchmarkSpec, check_spec
from sottovoce.benchmark.statistics.comparison import by_clip
from sottovoce.benchmark.statistics.robustness import (
    compare_conditions,
    count_condition_errors,
    rows_by_condition,
)
from sottovoce.benchmark.summary import score_clips
from sottovoce.benchmark.timing.excluded import FailedPeers
from sottovoce.benchmark.timing.journal import Journal
from sottovoce.benchmark.timing.measure import Measurement, measure
from sottovoce.errors import SpecError
from sottovoce.progress import Silent
from sottovoce.terms import Condition
from tests.support.engines import FakeEngines
from tests.support.plans import engine_spec, tone_plan
from tests.support.results import build_sample

pytestmark = pytest.mark.usefixtures("forked_workers")

SLOW = 16_000 * 10 // 9 + 1
"""Samples of a second at speed 0.9."""


def run(
    folder: Path, entries: list[EngineSpec], robustness: tuple[str, ...], **engines: object
) -> Measurement:
    plan = tone_plan(entries, (1.0, 2.0))
    plan = replace(plan, spec=replace(plan.spec, robustness=robustness))
    journal = Journal(folder / "journal")
    return measure(
        plan,
        Silent(),
        failed=FailedPeers(Silent()),
        check=lambda *_: None,
        journal=journal,
        begun=journal.begin({"what": "tones"}, restart=False),
        make=FakeEngines(**engines),  # type: ignore[arg-type]
    )


def test_our_entries_transcribe_each_clip_under_each_condition(tmp_path: Path) -> None:
    entries = [
        engine_spec("fp32"),
        engine_spec("int8"),
        engine_spec("int8", "faster-whisper"),
        replace(engine_spec("int8"), is_aa_check=True),
    ]
    found = {
        one.spec.name: one.conditions for one in run(tmp_path, entries, ("speed0.9", "telephone")).entries
    }
    assert dict(found["fp32"]) == {  # the fake engine has a word for each second that has begun
        (Condition.TELEPHONE, "c0"): "en",
        (Condition.TELEPHONE, "c1"): "en en",
        (Condition.SPEED_09, "c0"): "en en",
        (Condition.SPEED_09, "c1"): "en en en",
    }
    assert found["int8"] == found["fp32"]
    assert {name for name, texts in found.items() if not texts} == set(found) - {"fp32", "int8"}


def test_nothing_is_transcribed_again_without_the_option(tmp_path: Path) -> None:
    assert all(not one.conditions for one in run(tmp_path, [engine_spec("fp32")], ()).entries)


def test_a_clip_that_fails_under_a_condition_counts_there_for_neither(tmp_path: Path) -> None:
    entries = [engine_spec("fp32"), engine_spec("int8")]
    plan = tone_plan(entries, (1.0, 2.0))
    lengths = frozenset({SLOW - 1, SLOW})
    measured = run(tmp_path, entries, ("speed0.9",), fails_on={"int8": lengths})
    rows = score_clips(plan, measured)
    conditions = (Condition.CLEAN, Condition.SPEED_09)
    baseline, int8 = (
        rows_by_condition(conditions, rows[one.spec.name], one.conditions) for one in measured.entries
    )
    assert [each.n_clips for each in count_condition_errors(baseline)] == [2, 2]
    assert [each.n_clips for each in count_condition_errors(int8)] == [2, 1]
    compared = compare_conditions(baseline, int8, by_clip, rng=np.random.default_rng(0))
    assert [(each.condition, each.n_clips) for each in compared] == [
        (Condition.CLEAN, 2),
        (Condition.SPEED_09, 1),
    ]


def rows_of(variant: str) -> list[ClipRow]:
    return [row for row in build_sample(4).rows if row.variant == variant]


def test_errors_are_counted_against_the_reference_and_paired_with_the_baseline() -> None:
    rows = rows_of("fp32")
    texts = {(Condition.MP3, row.clip_id): row.reference for row in rows}
    lost = {**texts, (Condition.MP3, rows[0].clip_id): "The harbor lights went out."}
    baseline, variant = (rows_by_condition([Condition.MP3], rows, each) for each in (texts, lost))
    (before,), (after,) = count_condition_errors(baseline), count_condition_errors(variant)
    n_words = sum(len(row.normalized_reference.split()) for row in rows)
    assert (after.words.deletions - before.words.deletions, after.words.errors - before.words.errors) == (
        9,
        9,
    )
    assert after.wer == pytest.approx(after.words.errors / n_words)
    (delta,) = compare_conditions(baseline, variant, by_clip, rng=np.random.default_rng(0))
    assert delta.wer_delta.value == pytest.approx(9 / n_words)
    assert delta.wer_delta.low <= delta.wer_delta.value <= delta.wer_delta.high


def test_clean_speech_is_taken_from_the_passes() -> None:
    rows = rows_of("fp32")
    (errors,) = count_condition_errors(rows_by_condition([Condition.CLEAN], rows, {}))
    assert errors.words.errors == sum(row.words.errors for row in rows) > 0


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ((), ()),
        (("all",), tuple(Condition)),
        (("snr5", "mp3"), (Condition.CLEAN, Condition.SNR_5, Condition.MP3)),
    ],
)
def test_conditions_are_chosen_by_name_with_clean_speech_first(
    given: tuple[str, ...], chosen: tuple[Condition, ...]
) -> None:
    assert BenchmarkSpec(robustness=given).conditions == chosen


@pytest.mark.parametrize(
    ("name", "advice"), [("snr6", "did you mean snr5"), ("opera", "conditions: all, clean, level-40")]
)
def test_an_unknown_condition_is_refused_with_advice(name: str, advice: str) -> None:
    with pytest.raises(SpecError, match=f"no condition {name}; {advice}"):
        check_spec(BenchmarkSpec(robustness=("mp3", name)))
