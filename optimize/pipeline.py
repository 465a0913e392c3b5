"""The stage `optimize`: a checkpoint, a recipe and speech in, a run out."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml

from sottovoce import __version__
from sottovoce.artifacts import (
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    Parent,
    check_output,
    list_files,
    new_folder,
    read_manifest,
    sha256_of_file,
    write_manifest,
    write_text,
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
from sottovoce.config import Recipe, parse_recipe
from sottovoce.environment import library_versions, read_host
from sottovoce.errors import InputError
from sottovoce.optimize.checkpoints import Checkpoint, resolve_checkpoint
from sottovoce.optimize.export import TorchWhisper, check_variants, export_variants
from sottovoce.optimize.fidelity import Fidelity
from sottovoce.optimize.graph import count_int8_in_file
from sottovoce.optimize.identity import Identity, check_identity, read_identity
from sottovoce.optimize.parity import N_PARITY_CLIPS, Parity, ParityClip
from sottovoce.optimize.quantize import quantize_variant, quantized_compute
from sottovoce.progress import Reporter
from sottovoce.runs import CALIBRATION_NAME, RECIPE_NAME, Run, VariantFacts, read_run
from sottovoce.runtime.compute import ComputeSpec
from sottovoce.runtime.layout import component_path, components_of, layout_of
from sottovoce.terms import Component, Layout, Scheme, Weights

logger = logging.getLogger(__name__)

EXPORT_PROCESS_BYTES = 1 << 30
EXPORT_WEIGHT_COPIES = 4
"""Forecast of the export: libraries, and the weights in PyTorch, traced, as constants, in a check."""

TWO_DECODERS = 1.8
"""Weights of the stateless layout by those of the checkpoint: the decoder's, about 0.8 of all, are there twice."""


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
        ResourceError: memory or disk is short.
    """
    check_output(out, force=force)
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
    stateless = TWO_DECODERS * weight_bytes
    per_variant = {Layout.STATELESS: stateless, Layout.STATEFUL: float(weight_bytes)}
    floats = sum(
        per_variant[variant.layout] * (1.0 if variant.weights is Weights.FP32 else 0.5)
        for variant in recipe.float_variants
    )
    return int(floats + stateless)


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
    schemes = ", ".join(f"{part} {recipe.quantize.components.of(part).scheme}" for part in Component)
    return [
        (
            f"checkpoint: {planned.checkpoint.name}, {planned.weight_bytes / 4e6:.1f} million weights, "
            f"{identity.encoder_layers}+{identity.decoder_layers} layers, {identity.n_mels} mel bins, "
            f"{'multilingual' if identity.is_multilingual else 'English-only'}"
        ),
        f"recipe: {recipe.name}, sha256 {recipe.sha256()[:16]}",
        f"export: {', '.join(f'{v.name} ({v.layout}, {v.weights})' for v in recipe.float_variants)}",
        f"record: {min(recipe.calibration.n_clips, n_calibration)} of {n_calibration} calibration clips of {planned.speech.name}",
        f"recording: forecast {describe_forecast(recording)}",
        f"quantize: {recipe.quantize.name}: {schemes}",
        f"needs about {gib(planned.memory_bytes)} of memory and {gib(planned.disk_bytes)} of disk",
        f"would write {planned.out}",
    ]


def optimize(planned: Plan, *, force: bool, reporter: Reporter) -> Run:
    """Make a run: export, check, record, quantize.

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
        _quantize(work, planned.recipe, reporter=reporter)
        _write_run_manifest(
            work, planned.recipe, name=planned.checkpoint.name, origin=planned.checkpoint.origin
        )
    return read_run(planned.out)


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


def quantize_again(run: Run, recipe: Recipe, reporter: Reporter) -> Run:
    """Quantize a run's baseline again from its record, with the recipe's settings.

    Raises:
        InputError: the run has no record, or the recipe has another baseline.
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
        _quantize_into(run.folder, work, merged, reporter)
    _refresh_run_manifest(run, merged)
    return read_run(run.folder)


def _export(
    planned: Plan, clips: CalibrationClips, work: Path, *, compute: ComputeSpec, reporter: Reporter
) -> None:
    whisper = TorchWhisper(planned.checkpoint.folder)
    variants = planned.recipe.float_variants
    export_variants(whisper, variants, work, reporter)
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
        _write_variant_manifest(
            work / variant.name,
            planned.recipe,
            {},
            fidelities={},
            arithmetic=_Arithmetic(weights=variant.weights, compute=ComputeSpec()),
            parents=(planned.checkpoint.origin,),
            parity=parity[variant.name],
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


def _quantize(work: Path, recipe: Recipe, *, reporter: Reporter) -> None:
    _quantize_into(work, work / recipe.quantize.name, recipe, reporter)


def _quantize_into(run_folder: Path, into: Path, recipe: Recipe, reporter: Reporter) -> None:
    source, calibration = run_folder / recipe.quantized_from.name, run_folder / CALIBRATION_NAME
    fidelities = quantize_variant(source, CalibrationStore(calibration), recipe.quantize, into, reporter)
    check_identity(into, read_identity(source))
    schemes = {str(part): recipe.quantize.components.of(part).scheme for part in components_of(into)}
    _write_variant_manifest(
        into,
        recipe,
        schemes,
        fidelities=fidelities,
        arithmetic=_Arithmetic(weights=recipe.quantize.weights, compute=quantized_compute(recipe.quantize)),
        parents=(
            Parent(role="variant", name=source.name, sha256=sha256_of_file(source / MANIFEST_NAME)),
            Parent(
                role="calibration", name=CALIBRATION_NAME, sha256=sha256_of_file(calibration / MANIFEST_NAME)
            ),
        ),
        parity=None,
        name=recipe.quantize.name,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arithmetic:
    """What a variant's numbers are: float ones on disk, and all when it runs."""

    weights: Weights
    compute: ComputeSpec


def _write_variant_manifest(
    folder: Path,
    recipe: Recipe,
    schemes: Mapping[str, Scheme],
    *,
    fidelities: Mapping[Component, Fidelity],
    arithmetic: _Arithmetic,
    parents: Sequence[Parent],
    parity: Parity | None,
    name: str | None = None,
) -> None:
    facts = {
        "layout": layout_of(folder),
        "weights": arithmetic.weights,
        "inference_precision": arithmetic.compute.precision,
        "dynamic_quantization_group_size": arithmetic.compute.dynamic_quantization_group_size,
        "kv_cache_precision": arithmetic.compute.kv_cache_precision,
        "is_multilingual": read_identity(folder).is_multilingual,
        "components": {
            str(component): _component_facts(
                component_path(folder, component),
                schemes.get(component, Scheme.FLOAT),
                fidelities.get(component),
            )
            for component in components_of(folder)
        },
        "parity": None if parity is None else asdict(parity),
    }
    write_manifest(
        folder,
        Manifest(
            kind="variant",
            name=name or folder.name,
            created=datetime.now(UTC),
            made_by=f"sottovoce optimize {__version__}",
            recipe=recipe.resolved(),
            recipe_sha256=recipe.sha256(),
            parents=tuple(parents),
            host=read_host(),
            versions=library_versions(),
            facts=VariantFacts.model_validate(facts, strict=False).model_dump(mode="json"),
            files=list_files(folder),
        ),
    )


def _component_facts(path: Path, scheme: Scheme, fidelity: Fidelity | None) -> dict[str, object]:
    count = count_int8_in_file(path)
    return {
        "scheme": scheme,
        "size_bytes": path.stat().st_size + path.with_suffix(".bin").stat().st_size,
        "int8_weights": count.weights,
        "int4_weights": count.int4_weights,
        "int8_activations": count.activations,
        "weighted_nodes": count.weighted,
        "fidelity": None if fidelity is None else asdict(fidelity),
    }


def _write_run_manifest(work: Path, recipe: Recipe, *, name: str, origin: Parent) -> None:
    write_text(work / RECIPE_NAME, yaml.safe_dump(recipe.resolved(), sort_keys=False, allow_unicode=True))
    children = sorted(path.parent for path in work.glob(f"*/{MANIFEST_NAME}"))
    own = [work / RECIPE_NAME, *(child / MANIFEST_NAME for child in children)]
    write_manifest(
        work,
        Manifest(
            kind="run",
            name=name,
            created=datetime.now(UTC),
            made_by=f"sottovoce optimize {__version__}",
            recipe=recipe.resolved(),
            recipe_sha256=recipe.sha256(),
            parents=(origin,),
            host=read_host(),
            versions=library_versions(),
            facts={"variants": [child.name for child in children if read_manifest(child).kind == "variant"]},
            files=tuple(
                FileEntry(
                    path=path.relative_to(work).as_posix(),
                    size_bytes=path.stat().st_size,
                    sha256=sha256_of_file(path),
                )
                for path in own
            ),
        ),
    )


def _refresh_run_manifest(run: Run, recipe: Recipe) -> None:
    """Write the run's manifest anew after one of its parts was replaced."""
    _write_run_manifest(run.folder, recipe, name=run.manifest.name, origin=run.manifest.parents[0])
