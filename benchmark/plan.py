"""What a benchmark measures, settled before anything is measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sottovoce.benchmark.assembly import RunSettings
from sottovoce.benchmark.clips.overlap import note_overlap
from sottovoce.benchmark.clips.select import load_eval_clips
from sottovoce.benchmark.clips.sounds import make_sounds
from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE, EngineSpec
from sottovoce.benchmark.engines.registry import engine_versions, find_absent
from sottovoce.benchmark.entries import Entry, EntrySpec, choose_entries, engine_names
from sottovoce.benchmark.schema.results import FailedIn, SkippedEngine
from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.benchmark.summary import audio_sha256, dataset_sha256
from sottovoce.benchmark.timing.blocks import choose_timing_clips
from sottovoce.benchmark.timing.cold import one_line
from sottovoce.benchmark.timing.excluded import failed_peer, failure_note
from sottovoce.benchmark.timing.journal import peer_setting
from sottovoce.machine.environment import library_versions, read_host
from sottovoce.machine.resources import usable_cores
from sottovoce.progress import Reporter
from sottovoce.runs import Run
from sottovoce.runtime.audio.decode import SAMPLE_RATE_HZ
from sottovoce.speech.clips import ClipSet
from sottovoce.speech.loading import LoadedClips
from sottovoce.storage.artifacts import MANIFEST_NAME, sha256_of_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured, settled before anything is.

    Attributes:
        again: name of the entry that is another one in a second process; None where nobody asked.
        absent: engines that were asked for and are not installed.
        failed: entries of other engines that the checkpoint could not be converted for.
    """

    entries: tuple[Entry, ...]
    clips: LoadedClips
    procedure: RunSettings
    again: str | None
    absent: tuple[SkippedEngine, ...]
    failed: tuple[SkippedEngine, ...]


def make_plan(run: Run, speech: ClipSet, spec: BenchmarkSpec, reporter: Reporter) -> Plan:
    """Settle what is measured: which entries, on which clips; tell what is left out.

    Raises:
        SpecError: an engine is unknown, or cannot run what is asked of it.
        InputError: there is nothing to measure.
    """
    absent = find_absent(engine_names(spec.engines))
    for each in absent:
        reporter.note(f"{each.engine} is not measured: {each.reason}")
    present = _present(spec.engines, absent)
    conversions = _Conversions(run=run, checkpoint=spec.checkpoint, reporter=reporter)
    entries = choose_entries(run, _entry_spec(replace(spec, engines=present)), conversions.folder)
    clips = load_eval_clips(run, speech, spec.clips, reporter)
    note_overlap(run, clips, {entry.spec.folder for entry in entries}, reporter)
    again = _again(entries) if spec.self_check else None
    return Plan(
        entries=entries if again is None else (*entries, again),
        clips=clips,
        procedure=RunSettings(
            split=spec.split,
            passes=spec.passes,
            warm_up_clips=spec.warm_up_clips,
            threads=spec.n_threads,
            seed=spec.seed,
            margin=spec.margin,
            long=spec.long,
            engines=engine_names(present),
            timing=_timing(clips, spec),
            sounds=make_sounds(seed=spec.seed) if spec.side_effects else (),
        ),
        again=None if again is None else again.spec.name,
        absent=absent,
        failed=tuple(conversions.failed),
    )


def _present(engines: Sequence[str], absent: Sequence[SkippedEngine]) -> tuple[str, ...]:
    """Leave out what is absent; our own engine stands for an empty choice."""
    missing = {each.engine for each in absent}
    present = tuple(item for item in engines if item.partition(":")[0] not in missing)
    return present or (DEFAULT_ENGINE,)


def _again(entries: Sequence[Entry]) -> Entry:
    """Return our first variant, or the baseline where it is alone, for a second process."""
    ours = [entry for entry in entries if entry.spec.engine == DEFAULT_ENGINE]
    chosen = ours[min(1, len(ours) - 1)]
    return replace(chosen, spec=replace(chosen.spec, is_again=True))


def _timing(clips: LoadedClips, spec: BenchmarkSpec) -> tuple[int, ...] | None:
    if spec.timing_clips is None:
        return None
    lengths_s = [len(clip.wave) / SAMPLE_RATE_HZ for clip in clips.loaded]
    return choose_timing_clips(lengths_s, spec.timing_clips, seed=spec.seed)


def _entry_spec(spec: BenchmarkSpec) -> EntrySpec:
    return EntrySpec(
        variants=spec.variants,
        engines=spec.engines,
        threads=spec.n_threads,
        long=spec.long,
        checkpoint=spec.checkpoint,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Conversions:
    """The run's checkpoint in the formats of other engines.

    Attributes:
        checkpoint: where the run's is; None looks for it.
        failed: the entries that it could not be converted for.
    """

    run: Run
    checkpoint: str | None
    reporter: Reporter
    failed: list[SkippedEngine] = field(default_factory=list)

    def folder(self, engine: str, kind: str) -> Path | None:
        """Convert the checkpoint for an engine, once; None where that fails.

        Raises:
            SpecError: the checkpoint is not found, or another than the run's.
        """
        from sottovoce.benchmark.engines.conversion import convert_checkpoint
        from sottovoce.optimize.checkpoint.resolve import find_checkpoint

        checkpoint = find_checkpoint(self.run, self.checkpoint)
        with self.reporter.progress(f"convert for {engine}", 1) as advance:
            try:
                folder = convert_checkpoint(checkpoint, engine, kind)
            except Exception as cause:  # noqa: BLE001 - a library of others, which may be broken in any way
                self._leave_out(engine, kind, one_line(cause))
                return None
            advance()
        return folder

    def _leave_out(self, engine: str, kind: str, cause: str) -> None:
        failed = failed_peer(engine, f"{engine}:{kind}", FailedIn.CONVERSION, cause)
        self.failed.append(failed)
        self.reporter.note(failure_note(failed))


def settings_of(run: Run, plan: Plan) -> dict[str, str]:
    """Return what must be the same for an interrupted benchmark to go on."""
    procedure = plan.procedure
    ours = [entry.spec for entry in plan.entries if entry.spec.engine == DEFAULT_ENGINE]
    peers = [entry.spec for entry in plan.entries if entry.spec.engine != DEFAULT_ENGINE]
    return {
        "run": sha256_of_file(run.folder / MANIFEST_NAME),
        "entries": ", ".join(f"{spec.name} of {_loaded_as(spec)}" for spec in ours),
        "clips": dataset_sha256(plan.clips.loaded),
        "audio": audio_sha256(plan.clips.loaded),
        "warm-up clips": str(procedure.warm_up_clips),
        "usable cores": str(usable_cores()),
        "passes": str(procedure.passes),
        "clips that count for speed": "all" if procedure.timing is None else str(procedure.timing),
        "CPU": read_host().cpu,
        "versions": _listed(library_versions()),
        **{
            peer_setting(spec.name): f"{_loaded_as(spec)} {_listed(engine_versions([spec.engine]))}".strip()
            for spec in peers
        },
    }


def _loaded_as(spec: EngineSpec) -> str:
    return f"{spec.folder.name} on {spec.compute}"


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
