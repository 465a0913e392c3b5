"""What a benchmark measures, settled before anything is measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sottovoce.artifacts import MANIFEST_NAME, canonical_sha256, sha256_of_file
from sottovoce.benchmark.assembly import Procedure
from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE
from sottovoce.benchmark.engines.registry import engine_versions, find_absent
from sottovoce.benchmark.entries import Entry, EntrySpec, choose_entries, engine_names
from sottovoce.benchmark.eval_clips import load_eval_clips, note_overlap
from sottovoce.benchmark.results import Absent
from sottovoce.benchmark.sounds import make_sounds
from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.benchmark.summary import dataset_sha256
from sottovoce.benchmark.timing.blocks import choose_timing_clips
from sottovoce.calibrate.clips import ClipSet
from sottovoce.calibrate.leaks import sha256_of_wave
from sottovoce.calibrate.loading import LoadedClips
from sottovoce.cores import usable_cores
from sottovoce.environment import library_versions, read_host
from sottovoce.progress import Reporter
from sottovoce.runs import Run
from sottovoce.runtime.audio import SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured, settled before anything is.

    Attributes:
        again: name of the entry that is another one in a second process; None where nobody asked.
        absent: engines that were asked for and are not installed.
    """

    entries: tuple[Entry, ...]
    clips: LoadedClips
    procedure: Procedure
    again: str | None
    absent: tuple[Absent, ...]


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
    entries = choose_entries(
        run, _entry_spec(replace(spec, engines=present)), partial(_converted_folder, run, spec, reporter)
    )
    clips = load_eval_clips(run, speech, spec.clips, reporter)
    note_overlap(run, clips, reporter)
    again = _again(entries) if spec.self_check else None
    return Plan(
        entries=entries if again is None else (*entries, again),
        clips=clips,
        procedure=Procedure(
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
    )


def _present(engines: Sequence[str], absent: Sequence[Absent]) -> tuple[str, ...]:
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


def _converted_folder(run: Run, spec: BenchmarkSpec, reporter: Reporter, engine: str, kind: str) -> Path:
    from sottovoce.benchmark.conversion import convert_checkpoint
    from sottovoce.optimize.origin import find_checkpoint

    checkpoint = find_checkpoint(run, spec.checkpoint)
    with reporter.progress(f"convert for {engine}", 1) as advance:
        folder = convert_checkpoint(checkpoint, engine, kind)
        advance()
    return folder


def settings_of(run: Run, plan: Plan) -> dict[str, str]:
    """Return what must be the same for an interrupted benchmark to go on."""
    procedure = plan.procedure
    versions = library_versions() | engine_versions(procedure.engines)
    return {
        "run": sha256_of_file(run.folder / MANIFEST_NAME),
        "entries": ", ".join(
            f"{entry.spec.name} of {entry.spec.folder.name} on {entry.spec.compute}" for entry in plan.entries
        ),
        "clips": dataset_sha256(plan.clips.loaded),
        "audio": canonical_sha256([sha256_of_wave(clip.wave) for clip in plan.clips.loaded]),
        "warm-up clips": str(procedure.warm_up_clips),
        "usable cores": str(usable_cores()),
        "passes": str(procedure.passes),
        "clips that count for speed": "all" if procedure.timing is None else str(procedure.timing),
        "CPU": read_host().cpu,
        "versions": ", ".join(f"{name} {number}" for name, number in sorted(versions.items())),
    }
