"""Entries of other engines that fail: reported with the reason and left out, while the others are measured."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE, EngineSpec, Load, MakeEngine
from sottovoce.benchmark.engines.optimum_intel import OptimumIntelEngine
from sottovoce.benchmark.engines.registry import make_engine
from sottovoce.benchmark.run import benchmark
from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.failures import FailedIn, SkippedEngine
from sottovoce.benchmark.schema.results import Results, read_results
from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.benchmark.timing.cold_starts import measure_cold_starts
from sottovoce.benchmark.timing.excluded import FailedPeers, failed_peer
from sottovoce.benchmark.timing.journal import Journal, failed_before
from sottovoce.benchmark.timing.measure import Measurement, measure
from sottovoce.benchmark.timing.worker import ColdRun
from sottovoce.cli.tables import results_table
from sottovoce.errors import InputError, StageError
from sottovoce.progress import Advance, Silent
from sottovoce.reports.formats.comment import render_comment
from sottovoce.reports.formats.html import render_report
from sottovoce.reports.view import build_view
from sottovoce.runs import read_run
from sottovoce.runtime.audio.decode import decode_audio
from sottovoce.speech.sets import read_speech
from tests.support.engines import FakeEngine, FakeEngines
from tests.support.pages import Page
from tests.support.plans import engine_spec, latencies, tone_plan
from tests.support.tones import tone, write_tone_set

pytestmark = pytest.mark.usefixtures("forked_workers")

PEER = "optimum-intel:int8"
OTHER_PEER = "torch:fp32"
BROKEN = "ImportError: engine.so: libfake.so.2: cannot open shared object file: No such file or directory"
ENDED = "ended unexpectedly (exit code 3"
N_CLIPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Advance]:
        with Silent().progress(what, total) as advance:
            yield advance


def samples(*seconds: float) -> frozenset[int]:
    return frozenset(len(tone(length_s)) for length_s in seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    measurement: Measurement
    cold_runs: Mapping[str, tuple[ColdRun, ...]]
    failed: tuple[SkippedEngine, ...]


def run(
    make: FakeEngines,
    journal: Journal,
    *,
    warm_up_clips: int = 1,
    cold_starts: int = 0,
    listener: Listener | None = None,
) -> Found:
    """Measure two entries of ours and two of other engines in one pass."""
    ours = [engine_spec("fp32"), engine_spec("int8")]
    peers = [engine_spec("int8", "optimum-intel"), engine_spec("fp32", "torch")]
    plan = tone_plan([*ours, *peers], passes=1, warm_up_clips=warm_up_clips)
    begun, reporter = journal.begin({"what": "tones"}, restart=False), listener or Silent()
    failed = FailedPeers(reporter, failed_before(begun.values()))
    measurement = measure(
        plan,
        reporter,
        failed=failed,
        check=lambda *_: None,
        journal=journal,
        begun=begun,
        make=make,
    )
    specs, clip = [one.spec for one in measurement.entries], plan.clips.loaded[0]
    cold_runs = measure_cold_starts(specs, clip, cold_starts, reporter, failed=failed, make=make)
    return Found(measurement=measurement, cold_runs=cold_runs, failed=failed.found)


def assert_whole(found: Found, *names: str) -> None:
    """Check that exactly these entries were measured, on every clip."""
    assert [entry.spec.name for entry in found.measurement.entries] == list(names)
    assert all(len(latencies(found.measurement, name)) == N_CLIPS for name in names)
    assert len(found.measurement.blocks) == N_CLIPS


@pytest.mark.parametrize(
    ("make", "part", "reason"),
    [
        (FakeEngines(unloadable=frozenset({PEER})), FailedIn.LOAD, BROKEN),
        (FakeEngines(dies_on={PEER: samples(1.0)}), FailedIn.CLIPS, ENDED),
        (FakeEngines(dies_on={PEER: samples(3.0)}), FailedIn.CLIPS, ENDED),
        (
            FakeEngines(fails_on={PEER: samples(1.0, 2.0, 4.0)}),
            FailedIn.CLIPS,
            "failed on 3 of 4 clips, first with: RuntimeError: cannot transcribe 16000 samples",
        ),
    ],
    ids=["does not load", "dies while warming up", "dies on a clip", "fails on most clips"],
)
def test_a_peer_that_fails_is_reported_at_once_and_the_others_are_measured(
    tmp_path: Path, make: FakeEngines, part: FailedIn, reason: str
) -> None:
    listener = Listener()
    found = run(make, Journal(tmp_path / "journal"), listener=listener)
    assert_whole(found, "fp32", "int8", OTHER_PEER)
    (failed,) = found.failed
    assert (failed.engine, failed.entry, failed.failed_in) == ("optimum-intel", PEER, part)
    assert reason in failed.reason
    assert listener.notes == [f"{PEER}: {failed.message}; it is left out, the others are measured"]


def test_peers_may_fail_in_one_block(tmp_path: Path) -> None:
    make = FakeEngines(dies_on={PEER: samples(2.0), OTHER_PEER: samples(2.0)})
    found = run(make, Journal(tmp_path / "journal"))
    assert_whole(found, "fp32", "int8")
    assert {failed.name for failed in found.failed} == {PEER, OTHER_PEER}


@pytest.mark.parametrize("entry", ["fp32", "int8"])
@pytest.mark.parametrize("failure", ["unloadable", "dies_on", "fails_on", "unstartable"])
def test_a_failure_of_our_engine_ends_the_benchmark(tmp_path: Path, entry: str, failure: str) -> None:
    makes = {
        "unloadable": FakeEngines(unloadable=frozenset({entry})),
        "dies_on": FakeEngines(dies_on={entry: samples(2.0)}),
        "fails_on": FakeEngines(fails_on={entry: samples(1.0, 2.0, 3.0)}),
        "unstartable": FakeEngines(unstartable=frozenset({entry})),
    }
    with pytest.raises(StageError, match=entry):
        run(makes[failure], Journal(tmp_path / "journal"), cold_starts=1)


def test_a_peer_that_failed_before_an_interruption_stays_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    with pytest.raises(StageError, match="int8"):
        run(
            FakeEngines(dies_on={PEER: samples(1.0), "int8": samples(3.0)}),
            journal,
            warm_up_clips=0,
        )
    assert len(journal.begin({"what": "tones"}, restart=False)) == 2
    found = run(FakeEngines(unloadable=frozenset({PEER})), journal)
    assert_whole(found, "fp32", "int8", OTHER_PEER)
    assert [(failed.name, failed.failed_in) for failed in found.failed] == [(PEER, FailedIn.CLIPS)]
    assert ENDED in found.failed[0].reason


def test_a_peer_that_fails_after_an_interruption_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    with pytest.raises(StageError, match="int8"):
        run(FakeEngines(dies_on={"int8": samples(3.0)}), journal)
    assert all(PEER in record.timed for record in journal.begin({"what": "tones"}, restart=False).values())
    found = run(FakeEngines(unloadable=frozenset({PEER})), journal)
    assert_whole(found, "fp32", "int8", OTHER_PEER)
    assert [(failed.name, failed.reason) for failed in found.failed] == [(PEER, BROKEN)]


def test_a_peer_that_did_not_fail_is_measured_after_an_interruption(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    with pytest.raises(StageError, match="int8"):
        run(FakeEngines(dies_on={"int8": samples(3.0)}), journal)
    found = run(FakeEngines(), journal)
    assert_whole(found, "fp32", "int8", PEER, OTHER_PEER)
    assert found.failed == ()


def test_a_peer_that_cannot_be_started_cold_keeps_its_other_figures(tmp_path: Path) -> None:
    listener = Listener()
    make = FakeEngines(unstartable=frozenset({PEER}))
    found = run(make, Journal(tmp_path / "journal"), cold_starts=2, listener=listener)
    assert_whole(found, "fp32", "int8", PEER, OTHER_PEER)
    assert {name: len(runs) for name, runs in found.cold_runs.items()} == {
        "fp32": 2,
        "int8": 2,
        OTHER_PEER: 2,
    }
    (failed,) = found.failed
    assert (failed.name, failed.failed_in, failed.reason) == (PEER, FailedIn.COLD_STARTS, BROKEN)
    assert listener.notes == [f"{PEER}: {failed.message}; its other figures are measured"]


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (
            "torch:fp32: OSError: /opt/app/lib/libtorch.so: undefined",
            "OSError: libtorch.so: undefined",
        ),
        (r"cannot open 'C:\Users\ann\models\model.bin'", "cannot open 'model.bin'"),
        (
            "see https://example.org/a/b.html and models/base",
            "see https://example.org/a/b.html and models/base",
        ),
    ],
)
def test_a_reason_has_no_folder_of_this_machine(cause: str, reason: str) -> None:
    assert failed_peer("torch", "torch:fp32", FailedIn.LOAD, cause).reason == reason


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tone_set(tmp_path_factory.mktemp("speech"), n_clips=3, splits=())


SPEC = BenchmarkSpec(passes=1, warm_up_clips=0, engines=("sottovoce", "optimum-intel"), audio=False)


def measure_with(run: Path, speech: Path, out: Path, spec: BenchmarkSpec, make: MakeEngine) -> Results:
    return benchmark(
        read_run(run), read_speech(str(speech)), spec, out, force=False, reporter=Silent(), make=make
    )


def names(results: Results) -> list[str]:
    return [variant.name for variant in results.variants]


def lengths_in_order(results: Path, speech: Path) -> list[int]:
    """Return the lengths of the clips in samples, in the order of measuring."""
    clips = speech.parent / "clips"
    rows = [row for row in read_results(results)[1] if row.variant == "fp32"]
    return [len(decode_audio(clips / f"{row.clip_id.removeprefix('tone-')}.wav")) for row in rows]


def shown_in_terminal(results: Results, rows: tuple[ClipRow, ...]) -> str:
    console = Console(width=300)
    with console.capture() as captured:
        console.print(results_table(results, rows))
    return captured.get()


def test_report_comment_and_terminal_name_a_failed_peer_with_its_reason(
    tiny_run: Path, speech: Path, tmp_path: Path
) -> None:
    make = FakeEngines(unloadable=frozenset({PEER}))
    results = measure_with(tiny_run, speech, tmp_path / "results", SPEC, make)
    assert names(results) == ["fp32", "int8"]
    assert results.comparisons[0].variant == "int8"
    assert results.peers == ()
    stored, rows = read_results(tmp_path / "results")
    assert stored == results
    assert {row.variant for row in rows} == {"fp32", "int8"}
    message = f"it could not be loaded: {BROKEN}"
    assert f"{PEER} was not measured: {message}" in shown_in_terminal(results, rows)
    assert f"{PEER} {message}" in Page(render_report(build_view(results, rows))).words
    assert f"`{PEER}` was not measured: `{message}`." in render_comment(results, rows)


def test_a_cold_start_takes_a_clip_that_every_entry_transcribed(
    tiny_run: Path, speech: Path, tmp_path: Path
) -> None:
    spec = replace(SPEC, engines=("sottovoce",))
    measure_with(tiny_run, speech, tmp_path / "healthy", spec, FakeEngines())
    first, *_ = lengths_in_order(tmp_path / "healthy", speech)
    make = FakeEngines(fails_on={"int8": frozenset({first})})
    results = measure_with(tiny_run, speech, tmp_path / "out", replace(spec, cold_starts=1), make)
    assert results.comparisons[0].n_failed == 1
    assert all(variant.cold_start is not None for variant in results.variants)


def test_the_only_peer_may_fail(tiny_run: Path, speech: Path, tmp_path: Path) -> None:
    spec = replace(SPEC, engines=("optimum-intel",))
    make = FakeEngines(unloadable=frozenset({PEER}))
    results = measure_with(tiny_run, speech, tmp_path / "results", spec, make)
    assert names(results) == ["fp32"]
    assert [absent.name for absent in results.absent] == [PEER]


def test_a_peer_that_transcribes_none_of_the_timed_clips_is_left_out(
    tiny_run: Path, speech: Path, tmp_path: Path
) -> None:
    spec = replace(SPEC, timing_clips=1)
    healthy = measure_with(tiny_run, speech, tmp_path / "healthy", spec, FakeEngines())
    assert healthy.method.timing_clips is not None
    (timed,) = healthy.method.timing_clips
    length = len(decode_audio(speech.parent / "clips" / f"{timed.removeprefix('tone-')}.wav"))
    make = FakeEngines(fails_on={PEER: frozenset({length})})
    results = measure_with(tiny_run, speech, tmp_path / "results", spec, make)
    assert names(results) == ["fp32", "int8"]
    assert "no clip that counts for speed" in results.absent[0].reason


def test_a_benchmark_can_be_resumed_without_a_peer_that_failed(
    tiny_run: Path, speech: Path, tmp_path: Path
) -> None:
    measure_with(tiny_run, speech, tmp_path / "healthy", SPEC, FakeEngines())
    first, *_, last = lengths_in_order(tmp_path / "healthy", speech)
    ours_dies = {"int8": frozenset({last})}
    without = replace(SPEC, engines=("sottovoce",))

    with pytest.raises(StageError, match="int8"):
        measure_with(tiny_run, speech, tmp_path / "a", SPEC, FakeEngines(dies_on=ours_dies))
    with pytest.raises(InputError, match=f"other settings .peer {PEER}"):
        measure_with(tiny_run, speech, tmp_path / "a", without, FakeEngines())

    make = FakeEngines(dies_on={**ours_dies, PEER: frozenset({first})})
    with pytest.raises(StageError, match="int8"):
        measure_with(tiny_run, speech, tmp_path / "b", SPEC, make)
    results = measure_with(tiny_run, speech, tmp_path / "b", without, FakeEngines())
    assert names(results) == ["fp32", "int8"]
    assert [absent.name for absent in results.absent] == [PEER]
    assert not (tmp_path / "b.unfinished").exists()


class _NoBatches(FakeEngine):
    """An engine that has no memory for batches."""

    def transcribe_batch(self, waves: Sequence[object], languages: object, batch_size: int) -> float:  # noqa: ARG002
        raise RuntimeError(f"no memory for {batch_size} clips")


def _peers_without_batches(spec: EngineSpec) -> Load:
    return partial(FakeEngine if spec.engine == DEFAULT_ENGINE else _NoBatches, factor=0.1)


def test_a_peer_whose_batches_fail_keeps_its_other_figures(
    tiny_run: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OptimumIntelEngine, "transcribe_batch", _NoBatches.transcribe_batch, raising=False)
    spec = replace(SPEC, engines=("optimum-intel", "sottovoce"), batch_sizes=(2,), thread_sweep=(1,))
    results = measure_with(tiny_run, speech, tmp_path / "results", spec, _peers_without_batches)
    assert names(results) == ["fp32", PEER, "int8"]
    assert [bool(variant.throughput) for variant in results.variants] == [True, False, True]
    assert results.variant("int8").thread_sweep
    (failed,) = results.absent
    assert (failed.name, failed.failed_in) == (PEER, FailedIn.THROUGHPUT)
    assert "measured in part: its batches failed: RuntimeError: no memory" in shown_in_terminal(results, ())


def break_library(folder: Path, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shadow an installed package with one that fails like a package without its shared library."""
    (folder / module).mkdir(parents=True)
    (folder / module / "__init__.py").write_text(
        f"raise ImportError('lib{module}.so.4: cannot open shared object file')", encoding="utf-8"
    )
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(folder))


def test_an_installed_but_broken_library_excludes_only_its_engine(
    tiny_run: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino_genai", reason="the extra `peers` is not installed")
    break_library(tmp_path / "lib", "openvino_genai", monkeypatch)
    spec = replace(SPEC, engines=("sottovoce", "openvino-genai:fp32-stateful"), limit=2, side_effects=False)
    results = measure_with(tiny_run, speech, tmp_path / "results", spec, make_engine)
    assert names(results) == ["fp32", "int8"]
    (failed,) = results.absent
    assert failed.name == "openvino-genai:fp32-stateful"
    assert failed.message == (
        "it could not be loaded: ImportError: libopenvino_genai.so.4: cannot open shared object file"
    )


def test_a_failed_conversion_excludes_only_its_engine(
    tiny: Path, tiny_run: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faster_whisper", reason="the extra `peers` is not installed")
    monkeypatch.setenv("SOTTOVOCE_CACHE", str(tmp_path / "cache"))
    break_library(tmp_path / "lib", "ctranslate2", monkeypatch)
    spec = replace(SPEC, engines=("sottovoce", "faster-whisper"), checkpoint=str(tiny))
    results = measure_with(tiny_run, speech, tmp_path / "results", spec, FakeEngines())
    assert names(results) == ["fp32", "int8"]
    (failed,) = results.absent
    assert (failed.name, failed.failed_in) == ("faster-whisper:int8", FailedIn.CONVERSION)
    assert "libctranslate2.so.4" in failed.reason
