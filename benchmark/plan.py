"""The plan of a benchmark: entries and clips, fixed before anything is measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sottovoce.benchmark.clips.overlap import note_overlap
from sottovoce.benchmark.clips.select import combine_hashes, dataset_sha256, hash_clips, load_eval_clips
from sottovoce.benchmark.clips.sounds import Sound, make_sounds
from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE, ConvertingEngine, EngineSpec, Entry
from sottovoce.benchmark.engines.registry import engine_versions
from sottovoce.benchmark.entries import choose_entries, engine_names, find_absent
from sottovoce.benchmark.schema.failures import FailedIn, SkippedEngine
from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.benchmark.timing.blocks import choose_timing_clips
from sottovoce.benchmark.timing.cold import one_line
from sottovoce.benchmark.timing.excluded import describe_exclusion, failed_peer
from sottovoce.benchmark.timing.journal import peer_setting
from sottovoce.machine.environment import library_versions, read_host
from sottovoce.machine.resources import usable_cores
from sottovoce.progress import Reporter
from sottovoce.runs import Run
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.model.requirements import check_machine
from sottovoce.speech.clips import ClipSet
from sottovoce.speech.loading import LoadedClips
from sottovoce.storage.artifacts import MANIFEST_NAME, sha256_of_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured.

    Attributes:
        spec: with those engines only that are installed.
        default_language: of clips without a language; `en` for an English-only model.
        clip_hashes: sha256 of the samples of each clip, by its id.
        timing: indices of the clips that count for speed; None takes all.
        sounds: without speech, for our entries.
        aa_entry: name of the entry that measures another one in a second process (A/A check); None without one.
        absent: engines that are not installed.
        failed: entries of other engines for which the checkpoint could not be converted.
    """

    spec: BenchmarkSpec
    entries: tuple[Entry, ...]
    clips: LoadedClips
    default_language: str | None = None
    clip_hashes: Mapping[str, str] = field(default_factory=dict)
    timing: tuple[int, ...] | None = None
    sounds: tuple[Sound, ...] = ()
    aa_entry: str | None = None
    absent: tuple[SkippedEngine, ...] = ()
    failed: tuple[SkippedEngine, ...] = ()


def make_plan(run: Run, speech: ClipSet, spec: BenchmarkSpec, reporter: Reporter) -> Plan:
    """Choose entries and clips, and report what is left out.

    Raises:
        SpecError: an engine is unknown, or cannot run a variant.
        InputError: there is nothing to measure.
        ResourceError: this machine cannot run a variant.
    """
    absent = find_absent(engine_names(spec.engines))
    for each in absent:
        reporter.note(f"{each.engine} is not measured: {each.reason}")
    spec = replace(spec, engines=_present(spec.engines, absent))
    conversions = _Conversions(run=run, checkpoint=spec.checkpoint, reporter=reporter)
    entries = choose_entries(run, spec, conversions.folder)
    for entry in entries:
        if entry.spec.engine == DEFAULT_ENGINE:
            check_machine(entry.spec.folder)
    clips = load_eval_clips(run, speech, spec, reporter)
    hashes = hash_clips(clips.loaded)
    note_overlap(run, hashes, {entry.spec.folder for entry in entries}, reporter)
    aa_entry = _aa_entry(entries) if spec.self_check else None
    return Plan(
        spec=spec,
        entries=entries if aa_entry is None else (*entries, aa_entry),
        clips=clips,
        default_language=None if run.baseline.facts.is_multilingual else "en",
        clip_hashes=hashes,
        timing=_timing(clips, spec),
        sounds=make_sounds(seed=spec.seed) if spec.side_effects else (),
        aa_entry=None if aa_entry is None else aa_entry.spec.name,
        absent=absent,
        failed=tuple(conversions.failed),
    )


def _present(engines: Sequence[str], absent: Sequence[SkippedEngine]) -> tuple[str, ...]:
    """Leave out absent engines; our own engine if none is left."""
    missing = {each.engine for each in absent}
    present = tuple(item for item in engines if item.partition(":")[0] not in missing)
    return present or (DEFAULT_ENGINE,)


def _aa_entry(entries: Sequence[Entry]) -> Entry:
    """Return our first variant, or the baseline if there is no other, for a second process."""
    ours = [entry for entry in entries if entry.spec.engine == DEFAULT_ENGINE]
    chosen = ours[min(1, len(ours) - 1)]
    return replace(chosen, spec=replace(chosen.spec, is_aa_check=True))


def _timing(clips: LoadedClips, spec: BenchmarkSpec) -> tuple[int, ...] | None:
    if spec.timing_clips is None:
        return None
    lengths_s = [len(clip.wave) / SAMPLE_RATE_HZ for clip in clips.loaded]
    return choose_timing_clips(lengths_s, spec.timing_clips, seed=spec.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Conversions:
    """The run's checkpoint in the formats of other engines.

    Attributes:
        checkpoint: path or name of the run's checkpoint; None searches the cache.
        failed: the entries for which it could not be converted.
    """

    run: Run
    checkpoint: str | None
    reporter: Reporter
    failed: list[SkippedEngine] = field(default_factory=list)

    def folder(self, engine: type[ConvertingEngine], kind: str) -> Path | None:
        """Convert the checkpoint for an engine; return None if that fails.

        Raises:
            SpecError: the checkpoint is not found, or is not the run's.
        """
        from sottovoce.benchmark.conversion import convert_checkpoint
        from sottovoce.optimize.checkpoint.resolve import find_checkpoint

        checkpoint = find_checkpoint(self.run, self.checkpoint)
        with self.reporter.progress(f"convert for {engine.name}", 1) as advance:
            try:
                folder = convert_checkpoint(checkpoint, engine, kind)
            except Exception as cause:  # noqa: BLE001 - a third-party library, which may raise anything
                failed = failed_peer(
                    engine.name, f"{engine.name}:{kind}", FailedIn.CONVERSION, one_line(cause)
                )
                self.failed.append(failed)
                self.reporter.note(describe_exclusion(failed))
                return None
            advance()
        return folder


def settings_of(run: Run, plan: Plan) -> dict[str, str]:
    """Return the settings that must be equal before an interrupted benchmark is resumed."""
    ours = [entry.spec for entry in plan.entries if entry.spec.engine == DEFAULT_ENGINE]
    peers = [entry.spec for entry in plan.entries if entry.spec.engine != DEFAULT_ENGINE]
    return {
        "run": sha256_of_file(run.folder / MANIFEST_NAME),
        "entries": ", ".join(f"{spec.name} of {_loaded_as(spec)}" for spec in ours),
        "clips": dataset_sha256(plan.clips.loaded),
        "audio": combine_hashes(plan.clip_hashes),
        "warm-up clips": str(plan.spec.warm_up_clips),
        "usable cores": str(usable_cores()),
        "passes": str(plan.spec.passes),
        "clips that count for speed": "all" if plan.timing is None else str(plan.timing),
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
