"""The stage `benchmark`: a run and speech in, a results folder out."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from sottovoce import __version__
from sottovoce.artifacts import (
    MANIFEST_NAME,
    Manifest,
    Parent,
    check_output,
    list_files,
    new_folder,
    sha256_of_file,
    write_manifest,
)
from sottovoce.benchmark.accuracy import NORMALIZER
from sottovoce.benchmark.engines.engine import EngineSpec
from sottovoce.benchmark.engines.registry import ENGINES
from sottovoce.benchmark.intervals import CONFIDENCE, N_RESAMPLES, Blocks, make_blocks
from sottovoce.benchmark.measure import MeasureSpec, VariantMeasurement, interleave, measure
from sottovoce.benchmark.results import (
    CLIPS_NAME,
    RESULTS_NAME,
    ClipRow,
    Comparison,
    Dataset,
    Method,
    Rejected,
    Results,
    VariantResult,
)
from sottovoce.benchmark.summary import (
    check_baseline_precision,
    clip_rows,
    compare,
    dataset_sha256,
    summarize_variant,
)
from sottovoce.benchmark.worker import Loaded
from sottovoce.calibrate.clips import DEFAULT_SEED, SYNTHETIC_SOURCE, ClipSet, count_by, select_clips
from sottovoce.calibrate.loading import LoadedClips, load_clips
from sottovoce.calibrate.record import usable_clips
from sottovoce.calibrate.store import CalibrationStore
from sottovoce.environment import library_versions, read_host, usable_cores
from sottovoce.errors import InputError, MissingExtraError
from sottovoce.progress import Reporter
from sottovoce.runs import CALIBRATION_NAME, Run, Variant
from sottovoce.runtime.audio import SAMPLE_RATE_HZ
from sottovoce.runtime.compute import ComputeSpec

logger = logging.getLogger(__name__)

DEFAULT_MARGIN = 0.005
"""Half a point of WER: what a change may cost before users of a recognizer notice."""

NEEDED = ("jiwer", "scipy", "whisper_normalizer", "opencc")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkSpec:
    """What to measure, and how.

    Attributes:
        split: of the speech set; ignored where a set has no splits.
        limit: clips measured; None takes all.
        variants: names; empty for the baseline and the quantized variant.
        margin: largest tolerated WER increase, a fraction.
    """

    split: str = "eval"
    limit: int | None = None
    variants: tuple[str, ...] = ()
    passes: int = 2
    warm_up_clips: int = 2
    threads: int | None = None
    seed: int = DEFAULT_SEED
    margin: float = DEFAULT_MARGIN


def benchmark(
    run: Run, speech: ClipSet, spec: BenchmarkSpec, out: Path, *, force: bool, reporter: Reporter
) -> Results:
    """Measure a run's variants on a speech set and write the results folder.

    Raises:
        InputError: nothing to measure, or the output exists.
        GateError: the baseline does not compute in f32.
        StageError: a variant cannot be loaded or fails on most clips.
    """
    check_output(out, force=force)
    _require_extra()
    variants = choose_variants(run, spec.variants)
    clips = load_eval_clips(run, speech, spec, reporter)
    _note_overlap(run, clips, reporter)
    engines = [_engine_spec(variant, spec.threads or usable_cores()) for variant in variants]
    measured = measure(
        engines,
        clips.loaded,
        MeasureSpec(passes=spec.passes, warm_up_clips=spec.warm_up_clips),
        reporter,
        check=partial(_check_loaded, run.baseline.name),
    )
    default_language = None if run.baseline.facts.is_multilingual else "en"
    rows = {m.spec.variant: clip_rows(m, clips.loaded, default_language=default_language) for m in measured}
    results = _assemble(run, speech, spec, clips, variants, measured, rows)
    with new_folder(out, force=force) as work:
        _write(work, run, results, [row for of_variant in rows.values() for row in of_variant])
    return results


def _check_loaded(baseline: str, spec: EngineSpec, loaded: Loaded) -> None:
    if spec.variant == baseline:
        check_baseline_precision(baseline, loaded.precision)


def _note_overlap(run: Run, clips: LoadedClips, reporter: Reporter) -> None:
    """Say when clips are measured that the run was calibrated with."""
    if run.calibration is None:
        return
    recorded = CalibrationStore(run.folder / CALIBRATION_NAME).clip_ids()
    shared = [clip.clip.clip_id for clip in clips.loaded if clip.clip.clip_id in recorded]
    if shared:
        reporter.note(
            f"{len(shared)} of {len(clips.loaded)} clips were recorded for calibration, {shared[0]} first; "
            "their word errors flatter the INT8 variant. Give the set a split, or other speech"
        )


def _require_extra() -> None:
    missing = next((module for module in NEEDED if find_spec(module) is None), None)
    if missing is not None:
        raise MissingExtraError(missing, needed_for="`sottovoce benchmark`", extra="benchmark")


def choose_variants(run: Run, names: Sequence[str]) -> tuple[Variant, ...]:
    """Choose the variants to measure, the baseline always first."""
    wanted = names or [run.recipe.quantize.name]
    others = [run.variant(name) for name in wanted if name != run.baseline.name]
    return (run.baseline, *others)


def load_eval_clips(run: Run, speech: ClipSet, spec: BenchmarkSpec, reporter: Reporter) -> LoadedClips:
    """Choose and decode the clips to measure: of the split, with a transcript, by the seed.

    Raises:
        InputError: no clip with a transcript is left.
    """
    usable = usable_clips(speech, spec.split, english_only=not run.baseline.facts.is_multilingual)
    with_text = [clip for clip in usable.clips if clip.text and clip.text.strip()]
    if not with_text:
        raise InputError(f"{speech.name} has no transcripts; a benchmark needs them to count word errors")
    chosen = select_clips(with_text, None, seed=spec.seed)
    total = len(chosen) if spec.limit is None else min(spec.limit, len(chosen))
    with reporter.progress("decode evaluation clips", total) as advance:
        clips = load_clips(chosen, wanted=spec.limit, on_clip=advance)
    for rejected in clips.rejected:
        reporter.note(f"left out {rejected.clip_id}: {rejected.reason}")
    return clips


def _engine_spec(variant: Variant, threads: int) -> EngineSpec:
    return EngineSpec(
        engine=ENGINES[0],
        variant=variant.name,
        folder=variant.folder,
        compute=ComputeSpec(precision=variant.facts.inference_precision, threads=threads),
    )


def _assemble(
    run: Run,
    speech: ClipSet,
    spec: BenchmarkSpec,
    clips: LoadedClips,
    variants: Sequence[Variant],
    measured: Sequence[VariantMeasurement],
    rows: dict[str, tuple[ClipRow, ...]],
) -> Results:
    summaries = [
        summarize_variant(measurement, rows[variant.name], variant)
        for measurement, variant in zip(measured, variants, strict=True)
    ]
    blocks = make_blocks([clip.clip.speaker for clip in clips.loaded]).kind
    return Results(
        created=datetime.now(UTC),
        model=run.manifest.name,
        recipe=run.recipe.resolved(),
        recipe_sha256=run.recipe.sha256(),
        calibration=None if run.calibration is None else run.calibration.facts,
        host=read_host(),
        versions=library_versions(),
        dataset=_dataset(speech, spec, clips, rows[summaries[0].name]),
        method=_method(spec, summaries, blocks),
        baseline=summaries[0].name,
        variants=tuple(summaries),
        comparisons=_compare_all(summaries, rows, spec),
    )


def _compare_all(
    summaries: Sequence[VariantResult], rows: dict[str, tuple[ClipRow, ...]], spec: BenchmarkSpec
) -> tuple[Comparison, ...]:
    baseline = (summaries[0], rows[summaries[0].name])
    return tuple(
        compare(
            baseline,
            (summary, rows[summary.name]),
            _blocks_of,
            margin=spec.margin,
            rng=np.random.default_rng(spec.seed),
        )
        for summary in summaries[1:]
    )


def _blocks_of(rows: Sequence[ClipRow]) -> Blocks:
    return make_blocks([row.speaker for row in rows])


def _dataset(speech: ClipSet, spec: BenchmarkSpec, clips: LoadedClips, rows: Sequence[ClipRow]) -> Dataset:
    return Dataset(
        name=speech.name,
        split=spec.split if speech.splits() else None,
        n_clips=len(clips.loaded),
        audio_s=sum(len(clip.wave) for clip in clips.loaded) / SAMPLE_RATE_HZ,
        n_words=sum(row.words.reference_words for row in rows),
        languages=count_by(clip.clip.language for clip in clips.loaded),
        sources=count_by(clip.clip.source for clip in clips.loaded),
        sha256=dataset_sha256(clips.loaded),
        synthetic=any(clip.clip.source == SYNTHETIC_SOURCE for clip in clips.loaded),
        left_out=tuple(Rejected(clip_id=clip.clip_id, reason=clip.reason) for clip in clips.rejected),
    )


def _method(spec: BenchmarkSpec, summaries: Sequence[VariantResult], blocks: str) -> Method:
    names = tuple(summary.name for summary in summaries)
    return Method(
        passes=spec.passes,
        warm_up_clips=spec.warm_up_clips,
        threads=spec.threads or usable_cores(),
        order=tuple(name for order in interleave(names, spec.passes) for name in order),
        beam_size=1,
        normalizer=NORMALIZER,
        confidence=CONFIDENCE,
        n_resamples=N_RESAMPLES,
        blocks=blocks,
        seed=spec.seed,
    )


def _write(work: Path, run: Run, results: Results, rows: Sequence[ClipRow]) -> None:
    (work / RESULTS_NAME).write_text(results.model_dump_json(indent=2) + "\n", encoding="utf-8")
    lines = "".join(row.model_dump_json() + "\n" for row in rows)
    (work / CLIPS_NAME).write_text(lines, encoding="utf-8")
    write_manifest(
        work,
        Manifest(
            kind="results",
            name=results.model,
            created=results.created,
            made_by=f"sottovoce benchmark {__version__}",
            parents=(
                Parent(role="run", name=run.manifest.name, sha256=sha256_of_file(run.folder / MANIFEST_NAME)),
                Parent(role="speech", name=results.dataset.name, sha256=results.dataset.sha256),
            ),
            host=results.host,
            versions=results.versions,
            files=list_files(work),
        ),
    )
