"""Entries of other engines that fail: told with their reason and left out, the others measured whole."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE, EngineSpec, Load, MakeEngine
from sottovoce.benchmark.engines.registry import ENGINES, make_engine
from sottovoce.benchmark.run import benchmark
from sottovoce.benchmark.schema.results import FailedIn, Results, read_results
from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.benchmark.timing.excluded import failed_peer
from sottovoce.benchmark.timing.journal import Journal
from sottovoce.benchmark.timing.measure import Measurement, MeasureSpec, measure
from sottovoce.cli.tables import results_table
from sottovoce.errors import InputError, StageError
from sottovoce.progress import Advance, Silent
from sottovoce.reports.formats.comment import render_comment
from sottovoce.reports.formats.html import render_report
from sottovoce.reports.view import build_view
from sottovoce.runs import read_run
from sottovoce.runtime.audio.decode import decode_audio
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.speech.clips import Clip
from sottovoce.speech.loading import LoadedClip
from sottovoce.speech.sets import read_speech
from tests.support import FakeEngine, FakeEngines, tone, write_tone_set
from tests.support.pages import Page

PEER = "optimum-intel:int8"
OTHER_PEER = "torch:fp32"
BROKEN = "ImportError: engine.so: libfake.so.2: cannot open shared object file: No such file or directory"
ENDED = "ended unexpectedly (exit code 3"
LENGTHS_S = (1.0, 2.0, 3.0, 4.0)
ASKED = MeasureSpec(passes=1, warm_up_clips=1)


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


def run(
    make: FakeEngines,
    journal: Journal,
    asked: MeasureSpec = ASKED,
    *,
    listener: Listener | None = None,
) -> Measurement:
    entries = [
        EngineSpec(engine=engine, variant=variant, folder=Path(variant), compute=ComputeSpec())
        for engine, variant in (
            (DEFAULT_ENGINE, "fp32"),
            (DEFAULT_ENGINE, "int8"),
            ("optimum-intel", "int8"),
            ("torch", "fp32"),
        )
    ]
    return measure(
        entries,
        [
            LoadedClip(
                clip=Clip(clip_id=f"c{place}", audio=b"", text="one", language="en"), wave=tone(length_s)
            )
            for place, length_s in enumerate(LENGTHS_S)
        ],
        asked,
        listener or Silent(),
        check=lambda *_: None,
        journal=journal,
        begun=journal.begin({"what": "tones"}, anew=False),
        make=make,
    )


def assert_whole(found: Measurement, *names: str) -> None:
    """Check that these entries alone were measured, on every clip in every pass."""
    assert [entry.spec.name for entry in found.entries] == list(names)
    assert all(len(clip.passes) == ASKED.passes for entry in found.entries for clip in entry.clips)
    assert len(found.disturbances) == ASKED.passes * len(LENGTHS_S)


@pytest.mark.parametrize(
    ("make", "part", "reason"),
    [
        (FakeEngines(unloadable=frozenset({PEER})), FailedIn.LOAD, BROKEN),
        (FakeEngines(dies_on={PEER: samples(1.0)}), FailedIn.CLIPS, ENDED),
        (FakeEngines(dies_on={PEER: samples(3.0)}), FailedIn.CLIPS, ENDED),
        (
            FakeEngines(fails_on={PEER: samples(1.0, 2.0, 4.0)}),
            FailedIn.CLIPS,
            "failed on 3 of 4 clips, first with: RuntimeError: cannot hear 16000 samples",
        ),
    ],
    ids=["does not load", "dies while warming up", "dies on a clip", "fails on most clips"],
)
def test_a_peer_that_fails_is_told_at_once_and_the_others_are_measured(
    tmp_path: Path, make: FakeEngines, part: FailedIn, reason: str
) -> None:
    listener = Listener()
    found = run(make, Journal(tmp_path / "journal"), listener=listener)
    assert_whole(found, "fp32", "int8", OTHER_PEER)
    (failed,) = found.failed
    assert (failed.engine, failed.entry, failed.failed_in) == ("optimum-intel", PEER, part)
    assert reason in failed.reason
    assert listener.notes == [f"{PEER}: {failed.told}; it is left out, the others are measured"]


def test_peers_may_fail_in_one_block(tmp_path: Path) -> None:
    make = FakeEngines(dies_on={PEER: samples(2.0), OTHER_PEER: samples(2.0)})
    found = run(make, Journal(tmp_path / "journal"))
    assert_whole(found, "fp32", "int8")
    assert {failed.name for failed in found.failed} == {PEER, OTHER_PEER}


@pytest.mark.parametrize("entry", ["fp32", "int8"])
@pytest.mark.parametrize("failure", ["unloadable", "dies_on", "fails_on", "unstartable"])
def test_what_fails_of_ours_ends_the_benchmark(tmp_path: Path, entry: str, failure: str) -> None:
    makes = {
        "unloadable": FakeEngines(unloadable=frozenset({entry})),
        "dies_on": FakeEngines(dies_on={entry: samples(2.0)}),
        "fails_on": FakeEngines(fails_on={entry: samples(1.0, 2.0, 3.0)}),
        "unstartable": FakeEngines(unstartable=frozenset({entry})),
    }
    with pytest.raises(StageError, match=entry):
        run(makes[failure], Journal(tmp_path / "journal"), replace(ASKED, cold_starts=1))


def test_a_peer_that_failed_before_an_interruption_stays_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    with pytest.raises(StageError, match="int8"):
        run(
            FakeEngines(dies_on={PEER: samples(1.0), "int8": samples(3.0)}),
            journal,
            replace(ASKED, warm_up_clips=0),
        )
    assert len(journal.begin({"what": "tones"}, anew=False)) == 2
    found = run(FakeEngines(unloadable=frozenset({PEER})), journal)
    assert_whole(found, "fp32", "int8", OTHER_PEER)
    assert [(failed.name, failed.failed_in) for failed in found.failed] == [(PEER, FailedIn.CLIPS)]
    assert ENDED in found.failed[0].reason


def test_a_peer_that_failed_after_an_interruption_is_left_out_then(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    with pytest.raises(StageError, match="int8"):
        run(FakeEngines(dies_on={"int8": samples(3.0)}), journal)
    assert all(PEER in record.timed for record in journal.begin({"what": "tones"}, anew=False).values())
    found = run(FakeEngines(unloadable=frozenset({PEER})), journal)
    assert_whole(found, "fp32", "int8", OTHER_PEER)
    assert [(failed.name, failed.reason) for failed in found.failed] == [(PEER, BROKEN)]


def test_a_peer_that_never_failed_goes_on_after_an_interruption(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    with pytest.raises(StageError, match="int8"):
        run(FakeEngines(dies_on={"int8": samples(3.0)}), journal)
    found = run(FakeEngines(), journal)
    assert_whole(found, "fp32", "int8", PEER, OTHER_PEER)
    assert found.failed == ()


def test_a_peer_that_cannot_be_started_cold_keeps_its_other_figures(tmp_path: Path) -> None:
    listener = Listener()
    make = FakeEngines(unstartable=frozenset({PEER}))
    found = run(make, Journal(tmp_path / "journal"), replace(ASKED, cold_starts=2), listener=listener)
    assert_whole(found, "fp32", "int8", PEER, OTHER_PEER)
    assert [len(entry.cold_runs) for entry in found.entries] == [2, 2, 0, 2]
    (failed,) = found.failed
    assert (failed.name, failed.failed_in, failed.reason) == (PEER, FailedIn.COLD_STARTS, BROKEN)
    assert listener.notes == [f"{PEER}: {failed.told}; the rest of it is measured"]


@pytest.mark.parametrize(
    ("cause", "told"),
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
def test_a_reason_names_no_folder_of_a_machine(cause: str, told: str) -> None:
    assert failed_peer("torch", "torch:fp32", FailedIn.LOAD, cause).reason == told


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
    """Return the lengths of the clips in samples, in the order in which they were heard."""
    clips = speech.parent / "clips"
    rows = [row for row in read_results(results)[1] if row.variant == "fp32"]
    return [len(decode_audio(clips / f"{row.clip_id.removeprefix('tone-')}.wav")) for row in rows]


def shown_by_terminal(results: Results) -> str:
    console = Console(width=300)
    with console.capture() as captured:
        console.print(results_table(results))
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
    told = f"it could not be loaded: {BROKEN}"
    shown = shown_by_terminal(results)
    assert f"│ {PEER} " in shown
    assert told in shown
    assert f"{PEER} {told}" in Page(render_report(build_view(results, rows))).words
    assert f"`{PEER}` was not measured: `{told}`." in render_comment(results, rows)


def test_a_peer_may_be_all_that_was_to_be_compared(tiny_run: Path, speech: Path, tmp_path: Path) -> None:
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


def test_the_command_without_a_peer_that_failed_goes_on(tiny_run: Path, speech: Path, tmp_path: Path) -> None:
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


def test_a_peer_whose_batches_fail_keeps_its_other_figures_and_ours_theirs(
    tiny_run: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENGINES, "optimum-intel", replace(ENGINES["optimum-intel"], takes_batches=True))
    spec = replace(SPEC, engines=("optimum-intel", "sottovoce"), batch_sizes=(2,), thread_sweep=(1,))
    results = measure_with(tiny_run, speech, tmp_path / "results", spec, _peers_without_batches)
    assert names(results) == ["fp32", PEER, "int8"]
    assert [bool(variant.throughput) for variant in results.variants] == [True, False, True]
    assert results.variant("int8").thread_sweep
    (failed,) = results.absent
    assert (failed.name, failed.failed_in) == (PEER, FailedIn.THROUGHPUT)
    assert "measured in part: its batches failed: RuntimeError: no memory" in shown_by_terminal(results)


def break_library(folder: Path, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a package in front of an installed one that fails as one without its shared library does."""
    (folder / module).mkdir(parents=True)
    (folder / module / "__init__.py").write_text(
        f"raise ImportError('lib{module}.so.4: cannot open shared object file')", encoding="utf-8"
    )
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(folder))


def test_a_library_that_is_installed_and_broken_costs_its_engine_alone(
    tiny_run: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino_genai", reason="the extra `peers` is not installed")
    break_library(tmp_path / "lib", "openvino_genai", monkeypatch)
    spec = replace(SPEC, engines=("sottovoce", "openvino-genai:fp32-stateful"), limit=2, side_effects=False)
    results = measure_with(tiny_run, speech, tmp_path / "results", spec, make_engine)
    assert names(results) == ["fp32", "int8"]
    (failed,) = results.absent
    assert failed.name == "openvino-genai:fp32-stateful"
    assert failed.told == (
        "it could not be loaded: ImportError: libopenvino_genai.so.4: cannot open shared object file"
    )


def test_a_checkpoint_that_cannot_be_converted_for_an_engine_costs_that_engine_alone(
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
