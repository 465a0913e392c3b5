"""The steps of a run: each writes one folder, completely or not at all."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from sottovoce.calibrate.audit import read_report
from sottovoce.calibrate.record import CalibrationClips, load_calibration, record
from sottovoce.calibrate.store import CalibrationStore
from sottovoce.optimize.checkpoint.identity import Identity, check_identity, read_identity
from sottovoce.optimize.checkpoint.resolve import Checkpoint
from sottovoce.optimize.checks.parity import N_PARITY_CLIPS, ParityClip, Reference
from sottovoce.optimize.ctranslate2.export import check_ctranslate2, export_ctranslate2, scheme_of
from sottovoce.optimize.manifests import BuildInfo, write_variant_manifest
from sottovoce.optimize.onnx.export import export_onnx
from sottovoce.optimize.onnx.quantize import quantize_onnx_variant
from sottovoce.optimize.openvino.export import TorchWhisper, check_variant, export_variant
from sottovoce.optimize.openvino.quantize import QuantizeFile, quantize_variant, quantized_compute
from sottovoce.optimize.openvino.tensor_names import renumber_nodes
from sottovoce.optimize.plan import RunPlan
from sottovoce.progress import Reporter
from sottovoce.recipes.recipe import FloatVariant, Recipe
from sottovoce.runs import CALIBRATION_NAME
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import components_of
from sottovoce.runtime.model.openvino.memory import give_back_unused
from sottovoce.storage.artifacts import MANIFEST_NAME, Parent, is_artifact, sha256_of_file
from sottovoce.storage.folders import new_folder
from sottovoce.terms import Format, Weights


class Sources:
    """Inputs of the steps of a run, each loaded when it is first needed."""

    def __init__(self, planned: RunPlan, reporter: Reporter) -> None:
        self.planned = planned
        self.reporter = reporter
        self.compute = ComputeSpec()
        self._references: dict[Weights, tuple[Reference, ...]] = {}

    @cached_property
    def clips(self) -> CalibrationClips:
        """The calibration clips, decoded."""
        return load_calibration(self.planned.calibration, self.reporter)

    @cached_property
    def whisper(self) -> TorchWhisper:
        """The checkpoint in PyTorch."""
        return TorchWhisper(self.planned.checkpoint.folder)

    def references(self, weights: Weights) -> tuple[Reference, ...]:
        """Return what PyTorch computes for the first clips."""
        if weights not in self._references:
            clips = _parity_clips(self.clips, self.planned.identity)
            self._references[weights] = self.whisper.references(clips, weights)
        return self._references[weights]

    def drop_whisper(self) -> None:
        """Free the checkpoint in PyTorch; it is loaded again where it is needed."""
        self.__dict__.pop("whisper", None)
        give_back_unused()


def export_missing(sources: Sources, work: Path) -> None:
    """Export and check the float variants that do not exist yet.

    Raises:
        ParityError: a variant differs from the checkpoint.
        StageError: the exporter left a component out.
    """
    variants = sources.planned.recipe.float_variants
    missing = [variant for variant in variants if not is_artifact(work / variant.name)]
    for variant in sorted(missing, key=lambda each: each.weights is not Weights.FP32):
        sources.clips  # noqa: B018 - unusable speech is an error before the export
        with new_folder(work / variant.name) as made:
            _export(sources, variant, made, same=_float32_of(variant, variants, work))


def _float32_of(variant: FloatVariant, variants: tuple[FloatVariant, ...], work: Path) -> Path | None:
    """Return the folder of the float32 variant with the same graphs, if the run has one."""
    return next(
        (
            work / each.name
            for each in variants
            if each.format is variant.format
            and each.layout is variant.layout
            and each.weights is Weights.FP32
            and is_artifact(work / each.name)
        ),
        None,
    )


def _export(sources: Sources, variant: FloatVariant, into: Path, *, same: Path | None) -> None:
    planned, reporter = sources.planned, sources.reporter
    if variant.format is Format.ONNX:
        export_onnx(sources.whisper, into, reporter, weights=variant.weights, merged=variant.merged)
    else:
        with reporter.progress(f"export {variant.name}", 1) as advance:
            export_variant(sources.whisper, variant, into, same=same)
            advance()
    with reporter.progress(f"parity of {variant.name} with PyTorch", 1) as advance:
        references = sources.references(variant.weights)
        sources.drop_whisper()
        parity = check_variant(into, variant, planned.identity, references, sources.compute)
        give_back_unused()
        advance()
    write_variant_manifest(
        into,
        planned.recipe,
        BuildInfo(
            name=variant.name,
            is_multilingual=planned.identity.is_multilingual,
            weights=variant.weights,
            parents=(planned.checkpoint.origin,),
            parity=parity,
        ),
    )


def _parity_clips(clips: CalibrationClips, identity: Identity) -> tuple[ParityClip, ...]:
    """Take the first calibration clips, with a language where the model is multilingual."""
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


def record_missing(sources: Sources, work: Path) -> None:
    """Record calibration if it does not exist yet.

    Raises:
        StageError: tensors rebuilt from the record differ from the recorded ones.
    """
    folder, recipe = work / CALIBRATION_NAME, sources.planned.recipe
    if not is_artifact(folder):
        with new_folder(folder) as made:
            record(
                work / recipe.baseline.name,
                sources.clips,
                made,
                recipe=recipe,
                compute=sources.compute,
                reporter=sources.reporter,
            )
    report = read_report(folder)
    for finding in () if report is None else report.findings:
        sources.reporter.note(f"warning: {finding.text}")


FindCheckpoint = Callable[[], Checkpoint]
"""Finds the checkpoint of a run; called only where it is needed."""


def quantize_into(
    run_folder: Path,
    into: Path,
    recipe: Recipe,
    find: FindCheckpoint,
    reporter: Reporter,
    write: QuantizeFile | None = None,
) -> None:
    """Write the quantized variant of a recipe, with its manifest."""
    convert = recipe.quantize.format is Format.CTRANSLATE2
    made = (
        _convert(run_folder, into, recipe, find(), reporter)
        if convert
        else _quantize(run_folder, into, recipe, reporter, write)
    )
    write_variant_manifest(into, recipe, made)


def _quantize(
    run_folder: Path, into: Path, recipe: Recipe, reporter: Reporter, write: QuantizeFile | None
) -> BuildInfo:
    """Quantize a float variant of the run in its format."""
    section = recipe.quantize
    source, calibration = run_folder / recipe.quantized_from.name, run_folder / CALIBRATION_NAME
    store, identity = CalibrationStore(calibration), read_identity(source)
    if section.format is Format.ONNX:
        baseline = run_folder / recipe.baseline.name
        fidelities = quantize_onnx_variant(source, store, section, into, reporter, baseline=baseline)
    else:
        fidelities = quantize_variant(source, store, section, into, reporter, write=write)
        renumber_nodes(into)
    check_identity(into, identity)
    return BuildInfo(
        name=section.name,
        is_multilingual=identity.is_multilingual,
        weights=section.weights,
        compute=quantized_compute(section),
        schemes={part: section.components.of(part).scheme for part in components_of(into)},
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
) -> BuildInfo:
    """Convert the checkpoint to CTranslate2, and compare it with the baseline on recorded calls."""
    kind, baseline = recipe.quantize.ctranslate2_type, run_folder / recipe.baseline.name
    identity = read_identity(baseline)
    with reporter.progress(f"convert to CTranslate2, {kind}", 1) as advance:
        export_ctranslate2(checkpoint.folder, into, kind)
        advance()
    store = CalibrationStore(run_folder / CALIBRATION_NAME)
    return BuildInfo(
        name=recipe.quantize.name,
        is_multilingual=identity.is_multilingual,
        weights=None,
        ctranslate2_type=kind,
        schemes=dict.fromkeys(components_of(into), scheme_of(kind)),
        fidelities=check_ctranslate2(into, store, baseline, identity),
        parents=(checkpoint.origin,),
    )
