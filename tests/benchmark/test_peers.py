"""Benchmarks of several engines, which are faked: peers, long recordings, cold starts."""

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from sottovoce.benchmark.engines.engine import EngineSpec, Load, MakeEngine
from sottovoce.benchmark.engines.torch import TorchEngine
from sottovoce.benchmark.run import benchmark
from sottovoce.benchmark.schema.machine import Noise
from sottovoce.benchmark.schema.results import RESULTS_NAME, Results, read_results
from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.errors import InputError, SpecError, StageError
from sottovoce.progress import Silent
from sottovoce.reports.formats import ReportFormat
from sottovoce.reports.formats.html import render_report
from sottovoce.reports.report import make_report
from sottovoce.reports.sections.comparison import peers_table
from sottovoce.reports.view import build_view
from sottovoce.runs import read_run
from sottovoce.runtime.audio.decode import decode_audio
from sottovoce.speech.sets import read_speech
from tests.support.engines import FakeEngine, FakeEngines
from tests.support.pages import Page
from tests.support.tones import tone, write_tone_set, write_wav

pytestmark = pytest.mark.usefixtures("forked_workers")

FACTORS = {"fp32": 0.4, "int8": 0.1, "optimum-intel:int8": 0.2, "openvino-genai:fp32-stateful": 0.3}
LONG_S = (31.0, 33.0)


def measure_with(run: Path, speech: Path, out: Path, spec: BenchmarkSpec, make: MakeEngine) -> Results:
    return benchmark(
        read_run(run), read_speech(str(speech)), spec, out, force=False, reporter=Silent(), make=make
    )


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tone_set(tmp_path_factory.mktemp("speech"), n_clips=3, splits=())


@pytest.fixture(scope="module")
def long_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the manifest of one short and two long recordings; one of these has no duration."""
    folder = tmp_path_factory.mktemp("long")
    manifest = write_tone_set(folder, n_clips=1, splits=())
    first = json.loads(manifest.read_text(encoding="utf-8"))
    rows = [first]
    for duration_s in LONG_S:
        name = f"long-{duration_s:.0f}"
        write_wav(folder / "clips" / f"{name}.wav", tone(duration_s))
        duration = {"duration_s": duration_s} if duration_s == LONG_S[0] else {}
        rows.append(
            {"id": name, "audio": f"clips/{name}.wav", "text": first["text"], "language": "en", **duration}
        )
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return manifest


@pytest.fixture(scope="module")
def written(tiny_run: Path, speech: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    pytest.importorskip("openvino_genai", reason="the extra `peers` is not installed")
    out = tmp_path_factory.mktemp("peers") / "results"
    spec = BenchmarkSpec(
        passes=1, warm_up_clips=0, cold_starts=2, engines=("sottovoce", "optimum-intel", "openvino-genai")
    )
    return out, measure_with(tiny_run, speech, out, spec, FakeEngines(factors=FACTORS))


def test_our_variant_is_compared_with_every_peer(written: tuple[Path, Results]) -> None:
    peers = written[1].peers
    assert {peer.subject for peer in peers} == {"int8"}
    assert {peer.peer: peer.speedup.value for peer in peers} == {
        "optimum-intel:int8": pytest.approx(2),
        "openvino-genai:fp32-stateful": pytest.approx(3),
    }
    assert all(peer.wer_delta.low <= peer.wer_delta.value <= peer.wer_delta.high for peer in peers)


def test_every_entry_is_compared_with_the_baseline_too(written: tuple[Path, Results]) -> None:
    results = written[1]
    assert results.baseline == "fp32"
    assert [comparison.variant for comparison in results.comparisons] == list(FACTORS)[1:]
    assert {row.variant for row in read_results(written[0])[1]} == set(FACTORS)


def test_results_with_peers_are_read_back(written: tuple[Path, Results]) -> None:
    assert read_results(written[0])[0] == written[1]
    assert "openvino-genai" in written[1].versions


def test_cold_starts_are_timed_from_the_start_of_the_process(written: tuple[Path, Results]) -> None:
    for variant in written[1].variants:
        assert variant.cold_start is not None
        assert len(variant.cold_start.seconds) == 2
        assert variant.cold_start.median_s > 0.05
        assert variant.cold_start.peak_rss_bytes > 10 << 20


def test_the_report_shows_peers_and_cold_starts(written: tuple[Path, Results]) -> None:
    words = Page(make_report(written[0], ReportFormat.HTML)).words
    assert "Our variants against other engines" in words
    assert "Cold start s " in words


def test_results_of_the_first_schema_can_still_be_read(written: tuple[Path, Results], tmp_path: Path) -> None:
    folder, results = written
    old = json.loads((folder / RESULTS_NAME).read_text(encoding="utf-8"))
    old["schema_version"] = 1
    for key in ("peers", "machine"):
        del old[key]
    del old["method"]["long"]
    for variant in old["variants"]:
        del variant["cold_start"], variant["ceilings"]
    (tmp_path / RESULTS_NAME).write_text(json.dumps(old), encoding="utf-8")
    (tmp_path / "clips.jsonl").write_bytes((folder / "clips.jsonl").read_bytes())
    found, _ = read_results(tmp_path)
    assert found.comparisons == results.comparisons
    assert found.peers == ()


def test_each_of_our_variants_is_compared_with_every_peer(
    tiny_run: Path, speech: Path, tmp_path: Path
) -> None:
    spec = BenchmarkSpec(
        passes=1, warm_up_clips=0, variants=("fp16", "int8"), engines=("sottovoce", "optimum-intel")
    )
    factors = {"fp32": 0.4, "fp16": 0.2, "int8": 0.1, "optimum-intel:int8": 0.3}
    results = measure_with(tiny_run, speech, tmp_path / "out", spec, FakeEngines(factors=factors))
    assert {(peer.subject, peer.peer): round(peer.speedup.value, 6) for peer in results.peers} == {
        ("fp16", "optimum-intel:int8"): 1.5,
        ("int8", "optimum-intel:int8"): 3.0,
    }
    table = peers_table(results)
    assert table is not None
    assert [group.label for group in table.groups] == ["fp16", "int8"]


def test_without_engines_there_are_no_peers_and_no_cold_starts(
    tiny_run: Path, speech: Path, tmp_path: Path
) -> None:
    spec = BenchmarkSpec(passes=1, warm_up_clips=0, limit=2)
    results = measure_with(tiny_run, speech, tmp_path / "out", spec, FakeEngines())
    assert results.peers == ()
    assert all(variant.cold_start is None for variant in results.variants)
    assert {variant.engine for variant in results.variants} == {"sottovoce"}


def test_long_takes_only_recordings_over_30_s(tiny_run: Path, long_speech: Path, tmp_path: Path) -> None:
    spec = BenchmarkSpec(passes=1, warm_up_clips=0, long=True)
    results = measure_with(tiny_run, long_speech, tmp_path / "out", spec, FakeEngines())
    assert results.baseline == "fp32-stateful"
    assert results.method.long
    assert results.dataset.audio_s == pytest.approx(sum(LONG_S))
    assert results.dataset.left_out == ()


def test_a_limit_applies_to_long_recordings(tiny_run: Path, long_speech: Path, tmp_path: Path) -> None:
    spec = BenchmarkSpec(passes=1, warm_up_clips=0, long=True, limit=1)
    results = measure_with(tiny_run, long_speech, tmp_path / "out", spec, FakeEngines())
    assert results.dataset.n_clips == 1


def test_a_set_without_long_recordings_is_refused(tiny_run: Path, speech: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recording is over 30 s"):
        measure_with(tiny_run, speech, tmp_path / "out", BenchmarkSpec(long=True), FakeEngines())
    assert not (tmp_path / "out").exists()


def test_an_interrupted_benchmark_is_resumed_and_its_journal_is_removed(
    tiny_run: Path, speech: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results"
    spec = BenchmarkSpec(passes=2, warm_up_clips=0)
    last = len(decode_audio(max((speech.parent / "clips").iterdir())))
    with pytest.raises(StageError, match="ended unexpectedly"):
        measure_with(tiny_run, speech, out, spec, FakeEngines(dies_on={"int8": frozenset({last})}))
    assert not out.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["results.unfinished"]
    with pytest.raises(InputError, match=r"other settings \(passes: 2, now 3\)"):
        measure_with(tiny_run, speech, out, replace(spec, passes=3), FakeEngines())
    results = measure_with(tiny_run, speech, out, spec, FakeEngines())
    assert results.dataset.n_clips == 3
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_the_second_process_of_the_a_a_check_is_not_an_entry(
    tiny_run: Path, speech: Path, tmp_path: Path
) -> None:
    make = FakeEngines(factors={"int8": 0.1, "int8 again": 0.1})
    spec = BenchmarkSpec(passes=2, warm_up_clips=0, self_check=True)
    results = measure_with(tiny_run, speech, tmp_path / "results", spec, make)
    assert [variant.name for variant in results.variants] == ["fp32", "int8"]
    assert results.self_check is not None
    assert results.self_check.entry == "int8"
    assert results.self_check.ratio.value == pytest.approx(1)
    assert results.self_check.same_text_rate == 1
    assert {row.variant for row in read_results(tmp_path / "results")[1]} == {"fp32", "int8"}


def test_every_clip_counts_for_accuracy_and_some_for_speed(
    tiny_run: Path, speech: Path, tmp_path: Path
) -> None:
    spec = BenchmarkSpec(passes=3, warm_up_clips=0, timing_clips=2)
    results = measure_with(tiny_run, speech, tmp_path / "results", spec, FakeEngines(factors=FACTORS))
    _, rows = read_results(tmp_path / "results")
    timed = results.method.timing_clips
    assert timed is not None
    assert len(timed) == 2
    assert {row.clip_id for row in rows if len(row.latency_s) == 3} == set(timed)
    assert {row.clip_id for row in rows if row.latency_s == ()} == {row.clip_id for row in rows} - set(timed)
    assert results.variant("int8").words.reference_words == results.dataset.n_words
    assert results.comparisons[0].speedup.value == pytest.approx(4)
    audio_s = {row.clip_id: row.audio_s for row in rows}
    assert results.variant("int8").rtfx == pytest.approx(10)
    assert sum(audio_s.values()) == pytest.approx(results.dataset.audio_s)


def test_an_engine_that_is_not_installed_is_absent_and_the_others_are_measured(
    tiny_run: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TorchEngine, "modules", ("no_such_module",))
    spec = BenchmarkSpec(passes=1, warm_up_clips=0, engines=("sottovoce", "torch", "optimum-intel"))
    results = measure_with(tiny_run, speech, tmp_path / "results", spec, FakeEngines())
    assert [absent.engine for absent in results.absent] == ["torch"]
    assert "no_such_module is not installed" in results.absent[0].reason
    assert [variant.name for variant in results.variants] == ["fp32", "int8", "optimum-intel:int8"]


def test_batches_and_threads_are_measured(tiny_run: Path, speech: Path, tmp_path: Path) -> None:
    spec = BenchmarkSpec(passes=1, warm_up_clips=0, batch_sizes=(1, 2), thread_sweep=(1, 2))
    results = measure_with(tiny_run, speech, tmp_path / "results", spec, FakeEngines(factors=FACTORS))
    alone, together = results.variant("int8").throughput
    assert (alone.batch_size, together.batch_size) == (1, 2)
    assert alone.rtfx == pytest.approx(10)
    assert together.rtfx > 1.3 * alone.rtfx
    assert together.peak_rss_bytes > 10 << 20
    assert [point.threads for point in results.variant("fp32").thread_sweep] == [1, 2]
    assert results.variant("fp32").thread_sweep[0].rtfx == pytest.approx(2.5)
    assert results.variant("fp32").thread_sweep[0].n_clips == 3


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (BenchmarkSpec(long=True, batch_sizes=(2,)), "clips up to 30 s"),
        (BenchmarkSpec(batch_sizes=(64,)), "at most 32"),
    ],
)
def test_impossible_batch_sizes_are_refused_at_once(
    tiny_run: Path, speech: Path, tmp_path: Path, spec: BenchmarkSpec, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        measure_with(tiny_run, speech, tmp_path / "results", spec, FakeEngines())


def test_the_report_shows_noise_batches_threads_and_skipped_engines(
    tiny_run: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TorchEngine, "modules", ("no_such_module",))
    spec = BenchmarkSpec(
        passes=1,
        warm_up_clips=0,
        self_check=True,
        batch_sizes=(2,),
        thread_sweep=(1,),
        engines=("sottovoce", "torch"),
    )
    results = measure_with(
        tiny_run, speech, tmp_path / "results", spec, FakeEngines(factors=FACTORS | {"int8 again": 0.1})
    )
    noise = Noise(
        n_blocks=3, n_marked=1, n_repeated=2, steal_share=0.012, foreign_share=0.3, throttled=None,
        max_steal_share=0.05, max_foreign_share=0.05,
    )  # fmt: skip
    _, rows = read_results(tmp_path / "results")
    words = Page(render_report(build_view(results.model_copy(update={"noise": noise}), rows))).words
    assert "int8 against itself, in a second process (A/A check): 1." in words
    assert "Taken by the host for others (steal) % of CPU time 1.2 5.0" in words
    assert "Used by other processes % of CPU time 30 5.0" in words
    assert "1 of 3 blocks stayed beyond a limit after 2 repeats" in words
    assert re.search(r"Offline throughput.*Clips together .* int8 2 ", words)
    assert re.search(r"Speed by number of threads.* int8 1 ", words)
    assert "torch no_such_module is not installed" in words
    assert "Output drift" not in words


class _NoBatches(FakeEngine):
    """An engine that has no memory for batches."""

    def transcribe_batch(self, waves: object, languages: object, batch_size: int) -> float:  # noqa: ARG002 - fails
        raise RuntimeError(f"no memory for {batch_size} clips")


def _without_batches(_: EngineSpec) -> Load:
    return partial(_NoBatches, factor=0.1)


def test_failing_batches_do_not_lose_other_figures(tiny_run: Path, speech: Path, tmp_path: Path) -> None:
    spec = BenchmarkSpec(passes=1, warm_up_clips=0, batch_sizes=(2,), audio=False)
    results = measure_with(tiny_run, speech, tmp_path / "results", spec, _without_batches)
    assert results.variant("int8").throughput == ()
    assert results.variant("int8").rtfx == pytest.approx(10)
    assert not (tmp_path / "results" / "audio").exists()
