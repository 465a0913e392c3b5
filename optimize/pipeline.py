"""The stage `optimize`: a checkpoint, a recipe and speech in, a run out."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sottovoce.artifacts import (
    MANIFEST_NAME,
    Manifest,
    Parent,
    check_output,
    new_folder,
    sha256_of_file,
)
from sottovoce.calibrate.clips import ClipSet, select_clips
from sottovoce.calibrate.doctor import read_report
from sottovoce.calibrate.forecast import check_disk, check_memory, gib
from sottovoce.calibrate.record import (
    CalibrationClips,
    choose_clips,
    describe_forecast,
    forecast_planned,
    record,
)
from sottovoce.calibrate.store import CalibrationStore
from sottovoce.config import FloatVariant, Int8Variant, Recipe, parse_recipe
from sottovoce.errors import InputError, SpecError
from sottovoce.optimize.checkpoints import Checkpoint, resolve_checkpoint
from sottovoce.optimize.ctranslate2_export import (
    BYTES_PER_WEIGHT,
    check_ctranslate2,
    export_ctranslate2,
    require_converter,
    scheme_of,
)
from sottovoce.optimize.export import TorchWhisper, check_variants, export_variants
from sottovoce.optimize.identity import Identity, check_identity, read_identity
from sottovoce.optimize.manifests import Made, write_run_manifest, write_variant_manifest
from sottovoce.optimize.onnx_export import export_onnx
from sottovoce.optimize.onnx_quantize import quantize_onnx_variant
from sottovoce.optimize.origin import find_checkpoint
from sottovoce.optimize.parity import N_PARITY_CLIPS, ParityClip
from sottovoce.optimize.quantize import QuantizeFile, quantize_variant, quantized_compute
from sottovoce.progress import Reporter
from sottovoce.runs import CALIBRATION_NAME, Run, read_run
from sottovoce.runtime.compute import ComputeSpec
from sottovoce.runtime.layout import components_of
from sottovoce.terms import Component, Format, Layout, Weights

logger = logging.getLogger(__name__)

EXPORT_PROCESS_BYTES = 1 << 30
EXPORT_WEIGHT_COPIES = 4
"""Forecast of the export: libraries, and the weights in PyTorch, traced, as constants, in a check."""

TWO_DECODERS = 1.8
"""Weights of the stateless layout by those of the checkpoint: the decoder's, about 0.8 of all, are there twice."""

MERGED_DECODERS = TWO_DECODERS - 1
"""The same of both decoders as one graph, which shares them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What `optimize` would do: checked, nothing written yet."""

    checkpoint: Checkpoint
    identity: Identity
    recipe: Recipe
    speech: ClipSet
    out: Path
    weight_bytes: int
    """Of the checkpoint in float32."""
    memory_bytes: int
    disk_bytes: int


def plan(model: str, recipe: Recipe, speech: ClipSet, out: Path, *, force: bool) -> Plan:
    """Check everything that can be checked before work begins.

    Raises:
        InputError: the output exists, the checkpoint or the speech cannot be used.
        MissingExtraError: a library that the recipe needs is not installed.
        ResourceError: memory or disk is short.
        SpecError: the recipe holds choices, which are for a search.
    """
    if recipe.search is not None:
        raise SpecError(
            f"recipe {recipe.name} holds choices; run `sottovoce search {model} --recipe {recipe.name}` to try them"
        )
    check_output(out, force=force)
    if recipe.quantize.format is Format.CTRANSLATE2:
        require_converter()
    checkpoint = resolve_checkpoint(model)
    identity = read_identity(checkpoint.folder)
    weight_bytes = _weight_bytes(checkpoint.folder)
    planned = Plan(
        checkpoint=checkpoint,
        identity=identity,
        recipe=recipe,
        speech=speech,
        out=out,
        weight_bytes=weight_bytes,
        memory_bytes=EXPORT_PROCESS_BYTES + EXPORT_WEIGHT_COPIES * weight_bytes,
        disk_bytes=_forecast_disk(recipe, weight_bytes),
    )
    check_memory(planned.memory_bytes, "the export")
    check_disk(planned.disk_bytes, out.parent, "the run")
    return planned


def _weight_bytes(folder: Path) -> int:
    """Return the bytes of a checkpoint's weights in float32."""
    from safetensors import safe_open

    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                count = 1
                for size in file.get_slice(name).get_shape():
                    count *= size
                total += 4 * count
    return total


def _forecast_disk(recipe: Recipe, weight_bytes: int) -> int:
    """Forecast a run's size."""
    return int(sum(_forecast_float(variant, weight_bytes) for variant in recipe.float_variants)) + int(
        _forecast_quantized(recipe.quantize, weight_bytes)
    )


def _forecast_float(variant: FloatVariant, weight_bytes: int) -> float:
    graphs = TWO_DECODERS if variant.layout is Layout.STATELESS else 1.0
    merged = MERGED_DECODERS if variant.merged else 0.0
    return weight_bytes * (graphs + merged) * (1.0 if variant.weights is Weights.FP32 else 0.5)


def _forecast_quantized(variant: Int8Variant, weight_bytes: int) -> float:
    """Forecast the quantized variant; of one with components as if all of them stayed float."""
    if variant.format is Format.CTRANSLATE2:
        return weight_bytes * BYTES_PER_WEIGHT[variant.ctranslate2_type] / 4
    return weight_bytes * TWO_DECODERS


def describe(planned: Plan) -> list[str]:
    """Tell in lines what a plan would do."""
    recipe, identity = planned.recipe, planned.identity
    chosen = select_clips(
        planned.speech.of_split("calib").clips, recipe.calibration.n_clips, seed=recipe.calibration.seed
    )
    recording = forecast_planned(
        planned.checkpoint.folder, chosen, weight_bytes=int(TWO_DECODERS * planned.weight_bytes)
    )
    n_calibration = len(planned.speech.of_split("calib"))
    return [
        (
            f"checkpoint: {planned.checkpoint.name}, {planned.weight_bytes / 4e6:.1f} million weights, "
            f"{identity.encoder_layers}+{identity.decoder_layers} layers, {identity.n_mels} mel bins, "
            f"{'multilingual' if identity.is_multilingual else 'English-only'}"
        ),
        f"recipe: {recipe.name}, sha256 {recipe.sha256()[:16]}",
        f"export: {', '.join(map(_described, recipe.float_variants))}",
        f"record: {min(recipe.calibration.n_clips, n_calibration)} of {n_calibration} calibration clips of {planned.speech.name}",
        f"recording: forecast {describe_forecast(recording)}",
        f"quantize: {recipe.quantize.name} ({recipe.quantize.format}): {_schemes(recipe.quantize)}",
        f"needs about {gib(planned.memory_bytes)} of memory and {gib(planned.disk_bytes)} of disk",
        f"would write {planned.out}",
    ]


def _described(variant: FloatVariant) -> str:
    merged = ", decoders merged too" if variant.merged else ""
    return f"{variant.name} ({variant.format}, {variant.layout}, {variant.weights}{merged})"


def _schemes(variant: Int8Variant) -> str:
    if variant.format is Format.CTRANSLATE2:
        return f"all components {variant.ctranslate2_type}"
    return ", ".join(f"{part} {variant.components.of(part).scheme}" for part in Component)


def optimize(planned: Plan, *, force: bool, reporter: Reporter) -> Run:
    """Make a run: export, check, record, quantize.

    Raises:
        ParityError: an exported variant differs from the checkpoint.
        StageError: a stage did not do what it ensures.
    """
    with new_run(planned, force=force, reporter=reporter) as work:
        into = work / planned.recipe.quantize.name
        _quantize_into(work, into, planned.recipe, lambda: planned.checkpoint, reporter)
    return read_run(planned.out)


@contextmanager
def new_run(planned: Plan, *, force: bool, reporter: Reporter) -> Iterator[Path]:
    """Yield the folder of a run with its float variants and its record, to add to; the run stands when the block ends.

    Raises:
        ParityError: an exported variant differs from the checkpoint.
        StageError: a stage did not do what it ensures.
    """
    compute = ComputeSpec()
    clips = choose_clips(
        planned.speech,
        planned.recipe.calibration,
        english_only=not planned.identity.is_multilingual,
        reporter=reporter,
    )
    with new_folder(planned.out, force=force) as work:
        _export(planned, clips, work, compute=compute, reporter=reporter)
        _record(work, planned.recipe, clips, compute=compute, reporter=reporter)
        yield work
        write_run_manifest(
            work, planned.recipe, name=planned.checkpoint.name, origin=planned.checkpoint.origin
        )


def calibrate_again(run: Run, speech: ClipSet, recipe: Recipe, reporter: Reporter) -> Manifest:
    """Record a run's baseline again and replace its calibration record."""
    clips = choose_clips(
        speech, recipe.calibration, english_only=not run.baseline.facts.is_multilingual, reporter=reporter
    )
    compute = ComputeSpec()
    with new_folder(run.folder / CALIBRATION_NAME, force=True) as work:
        manifest = record(
            run.baseline.folder,
            clips,
            work,
            quantize=recipe.quantize,
            compute=compute,
            reporter=reporter,
        )
    _refresh_run_manifest(run, run.recipe.model_copy(update={"calibration": recipe.calibration}))
    return manifest


def quantize_again(
    run: Run,
    recipe: Recipe,
    reporter: Reporter,
    *,
    checkpoint: str | None = None,
    write: QuantizeFile | None = None,
) -> Run:
    """Quantize a run's baseline again from its record, with the recipe's settings.

    Args:
        run: a finished one.
        recipe: its baseline is the run's; of its other keys only `quantize` counts.
        reporter: follows the work.
        checkpoint: what the run was made of, for a CTranslate2 variant; None looks for it.
        write: writes a quantized component of an OpenVINO variant; None quantizes it.

    Raises:
        InputError: the run has no record, or the recipe has another baseline.
        MissingExtraError: a CTranslate2 variant is asked for, and the extra `ct2` is not installed.
        SpecError: the run lacks the export that the recipe quantizes, or its checkpoint cannot be found.
    """
    if run.calibration is None:
        raise InputError(
            f"{run.folder} has no calibration record; run `sottovoce calibrate {run.folder} --data SPEECH` first"
        )
    if recipe.baseline != run.recipe.baseline:
        raise InputError(
            f"recipe {recipe.name} has another baseline than {run.folder}; make a new run with it"
        )
    kept = run.recipe.resolved()
    merged = parse_recipe(
        {**recipe.resolved(), "exports": kept["exports"], "calibration": kept["calibration"]}, recipe.name
    )
    with new_folder(run.folder / merged.quantize.name, force=True) as work:
        work.rmdir()
        find = partial(find_checkpoint, run, checkpoint)
        _quantize_into(run.folder, work, merged, find, reporter, write)
    _refresh_run_manifest(run, merged)
    return read_run(run.folder)


def _export(
    planned: Plan, clips: CalibrationClips, work: Path, *, compute: ComputeSpec, reporter: Reporter
) -> None:
    whisper = TorchWhisper(planned.checkpoint.folder)
    variants = planned.recipe.float_variants
    export_variants(whisper, [v for v in variants if v.format is Format.OPENVINO], work, reporter)
    for variant in variants:
        if variant.format is Format.ONNX:
            into = work / variant.name
            export_onnx(whisper, into, reporter, weights=variant.weights, merged=variant.merged)
    parity = check_variants(
        whisper,
        variants,
        work,
        identity=planned.identity,
        clips=_parity_clips(clips, planned.identity),
        compute=compute,
        reporter=reporter,
    )
    for variant in variants:
        write_variant_manifest(
            work / variant.name,
            planned.recipe,
            Made(
                name=variant.name,
                is_multilingual=planned.identity.is_multilingual,
                weights=variant.weights,
                parents=(planned.checkpoint.origin,),
                parity=parity[variant.name],
            ),
        )


def _parity_clips(clips: CalibrationClips, identity: Identity) -> tuple[ParityClip, ...]:
    """Take the first calibration clips; a language is needed where the model has several."""
    known = {token.strip("<|>") for token, _ in identity.languages}
    return tuple(
        ParityClip(
            clip_id=clip.clip.clip_id,
            wave=clip.wave,
            language=(clip.clip.language if clip.clip.language in known else "en")
            if identity.is_multilingual
            else None,
        )
        for clip in clips.loaded.loaded[:N_PARITY_CLIPS]
    )


def _record(
    work: Path, recipe: Recipe, clips: CalibrationClips, *, compute: ComputeSpec, reporter: Reporter
) -> None:
    folder = work / CALIBRATION_NAME
    folder.mkdir()
    record(
        work / recipe.baseline.name,
        clips,
        folder,
        quantize=recipe.quantize,
        compute=compute,
        reporter=reporter,
    )
    report = read_report(folder)
    for finding in () if report is None else report.findings:
        reporter.note(f"warning: {finding.text}")


FindCheckpoint = Callable[[], Checkpoint]
"""Finds what a run is made of; called where it is needed."""


def _quantize_into(
    run_folder: Path,
    into: Path,
    recipe: Recipe,
    find: FindCheckpoint,
    reporter: Reporter,
    write: QuantizeFile | None = None,
) -> None:
    """Write the variant that a recipe is about, with its manifest."""
    convert = recipe.quantize.format is Format.CTRANSLATE2
    made = (
        _convert(run_folder, into, recipe, find(), reporter)
        if convert
        else _quantize(run_folder, into, recipe, reporter, write)
    )
    write_variant_manifest(into, recipe, made)


def _quantize(
    run_folder: Path, into: Path, recipe: Recipe, reporter: Reporter, write: QuantizeFile | None
) -> Made:
    """Quantize a float variant of the run, in its format."""
    asked = recipe.quantize
    source, calibration = run_folder / recipe.quantized_from.name, run_folder / CALIBRATION_NAME
    store, identity = CalibrationStore(calibration), read_identity(source)
    if asked.format is Format.ONNX:
        baseline = run_folder / recipe.baseline.name
        fidelities = quantize_onnx_variant(source, store, asked, into, reporter, baseline=baseline)
    else:
        fidelities = quantize_variant(source, store, asked, into, reporter, write=write)
    check_identity(into, identity)
    return Made(
        name=asked.name,
        is_multilingual=identity.is_multilingual,
        weights=asked.weights,
        compute=quantized_compute(asked),
        schemes={part: asked.components.of(part).scheme for part in components_of(into)},
        fidelities=fidelities,
        parents=(
            Parent(role="variant", name=source.name, sha256=sha256_of_file(source / MANIFEST_NAME)),
            Parent(
                role="calibration", name=CALIBRATION_NAME, sha256=sha256_of_file(calibration / MANIFEST_NAME)
            ),
        ),
    )


def _convert(
    run_folder: Path, into: Path, recipe: Recipe, checkpoint: Checkpoint, reporter: Reporter
) -> Made:
    """Convert the checkpoint to CTranslate2, and compare it with the baseline on the record."""
    kind, baseline = recipe.quantize.ctranslate2_type, run_folder / recipe.baseline.name
    identity = read_identity(baseline)
    with reporter.progress(f"convert to CTranslate2, {kind}", 1) as advance:
        export_ctranslate2(checkpoint.folder, into, kind)
        advance()
    store = CalibrationStore(run_folder / CALIBRATION_NAME)
    return Made(
        name=recipe.quantize.name,
        is_multilingual=identity.is_multilingual,
        weights=None,
        ctranslate2_type=kind,
        schemes=dict.fromkeys(components_of(into), scheme_of(kind)),
        fidelities=check_ctranslate2(into, store, baseline, identity),
        parents=(checkpoint.origin,),
    )


def _refresh_run_manifest(run: Run, recipe: Recipe) -> None:
    """Write the run's manifest anew after one of its parts was replaced."""
    write_run_manifest(run.folder, recipe, name=run.manifest.name, origin=run.manifest.parents[0])
