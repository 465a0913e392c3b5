"""The stage `sensitivity`: a run and speech in, a report on what each block costs when it alone is quantized out."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sottovoce import __version__
from sottovoce.calibrate.store import CalibrationStore
from sottovoce.errors import SpecError, StageError
from sottovoce.machine.environment import library_versions, read_host
from sottovoce.machine.resources import usable_cores
from sottovoce.optimize.checks.held_out import ComparisonClips, choose_comparison_clips
from sottovoce.optimize.openvino.quantize import quantized_compute
from sottovoce.optimize.sensitivity.bench import BlockBench, ComputeSpecs, figures_of
from sottovoce.optimize.sensitivity.blocks import ModelBlock
from sottovoce.optimize.sensitivity.model_files import ModelFiles
from sottovoce.optimize.sensitivity.quantizer import BlockQuantizer
from sottovoce.optimize.sensitivity.report import (
    REPORT_NAME,
    BlockResult,
    Extent,
    Figures,
    SensitivityReport,
    WholeResult,
)
from sottovoce.optimize.sensitivity.rule import (
    MIN_COST_RATIO,
    MIN_DIVERGENCE_SHARE,
    Cost,
    advise,
    imply,
)
from sottovoce.optimize.sensitivity.timing import MAX_ROUNDS
from sottovoce.progress import Advance, Reporter
from sottovoce.recipes.load import parse_recipe
from sottovoce.recipes.recipe import Recipe
from sottovoce.runs import CALIBRATION_NAME, SENSITIVITY_NAME, Run, Variant
from sottovoce.runtime.decoding.tokenizer import WhisperTokenizer
from sottovoce.runtime.model.compute import ComputeSpec, usable_precision
from sottovoce.runtime.model.layout import format_of
from sottovoce.runtime.model.requirements import check_machine
from sottovoce.speech.clips import ClipSet
from sottovoce.storage.artifacts import (
    MANIFEST_NAME,
    Manifest,
    Parent,
    created_now,
    list_files,
    sha256_of_file,
    write_manifest,
)
from sottovoce.storage.documents import write_text
from sottovoce.storage.folders import new_folder
from sottovoce.terms import Format

logger = logging.getLogger(__name__)

N_CLIPS = 24
N_STEPS = 3
"""Steps of a block: quantize, compare, time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SensitivitySpec:
    """Options of a sensitivity study.

    Attributes:
        variant: whose recipe; None for the quantized variant of the run's recipe.
        n_clips: clips to compare on.
        n_calibration_clips: recorded clips that ranges of single blocks are estimated from; None takes all, as the
            recipe does. Fewer are quicker and can mislead: the worst block of whisper-tiny.en diverges 45 times as
            much with 16 clips as with 64 (docs/lab-notes.md).
        threads: of inference; None takes all cores.
    """

    variant: str | None = None
    n_clips: int = N_CLIPS
    n_calibration_clips: int | None = None
    threads: int | None = None


def measure_sensitivity(
    run: Run, speech: ClipSet, spec: SensitivitySpec, reporter: Reporter
) -> SensitivityReport:
    """Measure each block of a run's variant, and write the report into the run's folder `sensitivity`.

    Raises:
        SpecError: the variant is float, or not in OpenVINO.
        InputError: the run has no such variant or no calibration record, or the speech cannot be used.
        ResourceError: this machine cannot run the variant.
        StageError: a graph is not of a supported form.
    """
    variant = run.variant(spec.variant or run.recipe.quantize.name)
    recipe = _recipe_of(variant)
    check_machine(variant.folder)
    store = CalibrationStore(run.calibration_folder)
    clips = choose_comparison_clips(run, speech, store, spec.n_clips, reporter)
    with new_folder(run.folder / SENSITIVITY_NAME, force=True) as folder:
        work = folder / "work"
        work.mkdir()
        threads = spec.threads or usable_cores()
        compute = quantized_compute(recipe.quantize)
        computes = ComputeSpecs(
            comparing=ComputeSpec(threads=threads),
            timing=replace(compute, precision=usable_precision(compute.precision), threads=threads),
        )
        quantizer = BlockQuantizer(
            source=run.variant(recipe.quantized_from.name).folder,
            variant=recipe.quantize,
            store=store if spec.n_calibration_clips is None else store.first(spec.n_calibration_clips),
            work=work,
        )
        reporter.note(f"each block is quantized with {len(quantizer.store.clip_ids())} recorded clips")
        report = _measure(quantizer, variant, speech, clips, computes, reporter)
        shutil.rmtree(work)
        _write(folder, run, variant, speech, report)
    return report


def _recipe_of(variant: Variant) -> Recipe:
    """Return the recipe that a variant was made with.

    Raises:
        SpecError: it is float, or of another format.
    """
    raw = variant.manifest.recipe
    if raw is None or not any(
        part.int8_weights + part.int4_weights for part in variant.facts.components.values()
    ):
        raise SpecError(f"variant {variant.name} is float; name a quantized one with --variant")
    if format_of(variant.folder) is not Format.OPENVINO:
        raise SpecError(
            f"variant {variant.name} is {format_of(variant.folder)}; sensitivity is measured for openvino variants"
        )
    return parse_recipe(raw, f"of variant {variant.name}")


def _measure(
    quantizer: BlockQuantizer,
    variant: Variant,
    speech: ClipSet,
    clips: ComparisonClips,
    computes: ComputeSpecs,
    reporter: Reporter,
) -> SensitivityReport:
    blocks = quantizer.blocks()
    reference = quantizer.reference()
    tokenizer = WhisperTokenizer.load(quantizer.source)
    bench = BlockBench(reference, tokenizer, clips.loaded, computes, reporter)
    with reporter.progress(f"quantize {len(blocks)} blocks alone", N_STEPS * len(blocks)) as advance:
        figures = [_measure_block(block, quantizer, reference, bench, advance) for block in blocks]
    with reporter.progress("quantize nothing and everything", None):
        wholes = _measure_wholes(bench, reference, ModelFiles.of(variant.folder), computes)
        encoder_s, decoder_s = bench.float_s()
    results = _results(blocks, figures)
    advice, notes = advise(results, quantizer.variant.components)
    return SensitivityReport(
        variant=variant.name,
        reference=quantizer.source.name,
        speech=speech.name,
        n_clips=len(clips.loaded),
        n_tokens=bench.n_tokens,
        unheard=clips.is_held_out,
        n_calibration_clips=len(quantizer.store.clip_ids()),
        inference_precision=computes.timing.precision,
        threads=computes.timing.threads,
        n_timed_clips=bench.n_timed_clips,
        max_rounds=MAX_ROUNDS,
        encoder_s=encoder_s,
        decoder_s=decoder_s,
        min_divergence_share=MIN_DIVERGENCE_SHARE,
        min_cost_ratio=MIN_COST_RATIO,
        blocks=results,
        wholes=wholes,
        advice=advice,
        notes=notes,
    )


def _measure_block(
    block: ModelBlock, quantizer: BlockQuantizer, reference: ModelFiles, bench: BlockBench, advance: Advance
) -> Figures:
    try:
        with quantizer.quantized(block, reference) as files:
            advance()
            compared, error = bench.compare(files)
            advance()
            saving = bench.time(files)
            advance()
    except StageError as cause:
        raise StageError(f"{block.component}, {block.pattern}: {cause}") from cause
    logger.info(
        "%s %s: %.5f nats, %+.4f s", block.component, block.pattern, compared.kl_divergence, saving.saved_s
    )
    return figures_of(compared, error, saving)


def _measure_wholes(
    bench: BlockBench, reference: ModelFiles, quantized: ModelFiles, computes: ComputeSpecs
) -> tuple[WholeResult, ...]:
    none = figures_of(*bench.compare(reference), bench.time(reference))
    saving = bench.time(quantized)
    wholes = [(Extent.NONE, none), (Extent.ALL, figures_of(*bench.compare(quantized), saving))]
    if computes.timing != computes.comparing:
        wholes.append((Extent.COMPUTED, figures_of(*bench.compare(quantized, computes.timing), saving)))
    return tuple(WholeResult(extent=extent, **figures.model_dump()) for extent, figures in wholes)


def _results(blocks: Sequence[ModelBlock], figures: Sequence[Figures]) -> tuple[BlockResult, ...]:
    verdicts = imply([Cost(divergence=each.divergence, saved_s=each.saved_s) for each in figures])
    return tuple(
        BlockResult(
            component=block.component,
            kind=block.kind,
            layer=block.layer,
            pattern=block.pattern,
            n_weights=len(block.weights),
            divergence_share=verdict.divergence_share,
            saving_share=verdict.saving_share,
            implies=verdict.implies,
            **measured.model_dump(),
        )
        for block, measured, verdict in zip(blocks, figures, verdicts, strict=True)
    )


def _write(folder: Path, run: Run, variant: Variant, speech: ClipSet, report: SensitivityReport) -> None:
    """Write the report as an artifact of the run."""
    parents = (("variant", variant.name), ("variant", report.reference), ("calibration", CALIBRATION_NAME))
    write_text(folder / REPORT_NAME, report.model_dump_json(indent=2) + "\n")
    write_manifest(
        folder,
        Manifest(
            kind="sensitivity",
            name=variant.name,
            created=created_now(),
            made_by=f"sottovoce sensitivity {__version__}",
            parents=(
                *(
                    Parent(role=role, name=name, sha256=sha256_of_file(run.folder / name / MANIFEST_NAME))
                    for role, name in parents
                ),
                Parent(role="speech", name=speech.name),
            ),
            host=read_host(),
            versions=library_versions(),
            files=list_files(folder),
        ),
    )
