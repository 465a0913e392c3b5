"""The plan of a run: everything that can be checked before work begins."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

from sottovoce.calibrate.coverage import describe_transcribed
from sottovoce.calibrate.forecast import check_disk, check_memory, shape_of_checkpoint
from sottovoce.calibrate.record import (
    CALIBRATION_SPLIT,
    CalibrationSelection,
    forecast_planned,
    select_calibration,
)
from sottovoce.errors import ResourceError, SpecError
from sottovoce.machine.environment import library_versions, read_host
from sottovoce.optimize.checkpoint.files import weight_files
from sottovoce.optimize.checkpoint.identity import Identity, read_identity
from sottovoce.optimize.checkpoint.resolve import Checkpoint, resolve_checkpoint
from sottovoce.optimize.ctranslate2.export import require_converter
from sottovoce.optimize.forecast import RunForecast, forecast_run
from sottovoce.recipes.recipe import FloatVariant, QuantizedVariant, Recipe
from sottovoce.runtime.model.requirements import Int8Needs, cpu_problem
from sottovoce.speech.clips import Clip, ClipSet
from sottovoce.storage.artifacts import canonical_sha256, sha256_of_file
from sottovoce.storage.folders import DELETED, OLD, check_output, sibling
from sottovoce.storage.locks import lock_path
from sottovoce.storage.resumable import resumable_path
from sottovoce.terms import Component, Format, Scheme

SETTINGS_SUFFIXES = frozenset({".json", ".txt"})
"""Of a checkpoint's settings and tokenizer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What `optimize` will do: checked, and nothing written yet."""

    checkpoint: Checkpoint
    identity: Identity
    recipe: Recipe
    speech: ClipSet
    calibration: CalibrationSelection
    out: Path
    weight_bytes: int
    """Size of the checkpoint's weights in float32."""
    forecast: RunForecast

    @property
    def n_transcribed_clips(self) -> int:
        """Calibration clips that are transcribed."""
        return min(self.recipe.n_transcribed_clips, len(self.calibration.expected))


def plan(model: str, recipe: Recipe, speech: ClipSet, out: Path, *, force: bool) -> RunPlan:
    """Check everything that can be checked before work begins, but for memory and disk: see `check_resources`.

    An existing output is left to `make_run` where a process is writing it, or was interrupted.

    Raises:
        InputError: the output exists, the checkpoint or the speech cannot be used.
        MissingExtraError: a library that the recipe needs is not installed.
        ResourceError: the CPU cannot run what the recipe makes.
        SpecError: the recipe has choices, which are for a search; or it needs tokens that it does not record.
    """
    if recipe.search is not None:
        raise SpecError(
            f"recipe {recipe.name} has choices; run `sottovoce search {model} --recipe {recipe.name}` to try them"
        )
    _check_transcripts(recipe)
    check_cpu(recipe)
    if not is_begun(out):
        check_output(out, force=force)
    if recipe.quantize.format is Format.CTRANSLATE2:
        require_converter()
    checkpoint = resolve_checkpoint(model)
    identity = read_identity(checkpoint.folder)
    calibration = select_calibration(speech, recipe.calibration, english_only=not identity.is_multilingual)
    weight_bytes = _weight_bytes(checkpoint.folder)
    shape = shape_of_checkpoint(checkpoint.folder, checkpoint_bytes=weight_bytes)
    recording = forecast_planned(shape, calibration.expected, recipe.n_transcribed_clips)
    return RunPlan(
        checkpoint=checkpoint,
        identity=identity,
        recipe=recipe,
        speech=speech,
        calibration=calibration,
        out=out,
        weight_bytes=weight_bytes,
        forecast=forecast_run(recipe, shape, recording),
    )


def _check_transcripts(recipe: Recipe) -> None:
    n_clips, n_transcribed = recipe.calibration.n_clips, recipe.n_transcribed_clips
    if recipe.quantize.needs_transcripts and n_transcribed < n_clips:
        raise SpecError(
            f"recipe {recipe.name}: calibration.n_transcribed_clips is {n_transcribed}, but {recipe.quantize.name} is "
            f"quantized by the tokens of all {n_clips} clips; leave the key out"
        )


def check_resources(planned: RunPlan) -> None:
    """Refuse a run for which the machine has too little memory or disk space.

    Raises:
        ResourceError: the message says how much is needed and available.
    """
    out = planned.out
    check_memory(planned.forecast.memory_bytes, "making the run")
    check_disk(planned.forecast.disk_bytes - _made_bytes(out), out.parent, "what is left of the run")


def check_cpu(recipe: Recipe) -> None:
    """Refuse a recipe whose variants cannot be checked on this CPU.

    Raises:
        ResourceError: the CPU lacks an instruction set; the message names a recipe that works here.
    """
    made = recipe.quantize
    specs = [made.components.of(part) for part in Component]
    needs = Int8Needs(
        has_activations=any(spec.scheme is Scheme.W8A8 or spec.int8_activations for spec in specs),
        instruction_set=made.instruction_set,
    )
    # The baseline is always OpenVINO.
    problem = cpu_problem(Format.OPENVINO, Int8Needs(has_activations=False)) or cpu_problem(
        made.format, needs
    )
    if problem is not None:
        raise ResourceError(f"the recipe {recipe.name} cannot be made on this machine: {problem}")


def is_begun(out: Path) -> bool:
    """Return whether a process is writing an output, or was when it was killed."""
    unfinished = resumable_path(out)
    leftovers = (unfinished, sibling(unfinished, DELETED), sibling(out, OLD), lock_path(out))
    return any(path.exists() for path in leftovers)


def _made_bytes(out: Path) -> int:
    """Return the size of the files that an interrupted command finished."""
    return sum(path.stat().st_size for path in resumable_path(out).rglob("*") if path.is_file())


def settings_of(planned: RunPlan) -> dict[str, str]:
    """Return everything that a run's files depend on, which must be the same to resume a run."""
    return {
        "checkpoint": checkpoint_sha256(planned.checkpoint.folder),
        "recipe": planned.recipe.sha256(),
        "speech": _speech_sha256(planned),
        **machine_settings(),
    }


def machine_settings() -> dict[str, str]:
    """Return the properties of this machine that a run's files and measurements depend on."""
    host = read_host()
    versions = sorted(library_versions().items())
    return {
        "CPU": f"{host.cpu}, {host.usable_cores} cores",
        "versions": ", ".join(f"{name} {number}" for name, number in versions),
    }


def checkpoint_sha256(folder: Path) -> str:
    """Hash a checkpoint's weights, settings and tokenizer."""
    settings = (path for path in folder.iterdir() if path.suffix in SETTINGS_SUFFIXES)
    files = sorted({*settings, *weight_files(folder)})
    return canonical_sha256([(path.name, sha256_of_file(path)) for path in files])


def _speech_sha256(planned: RunPlan) -> str:
    """Hash the metadata of all clips of a speech set, and the audio of those to record."""
    metadata = [
        (clip.clip_id, clip.text, clip.language, clip.split, clip.speaker, clip.source, clip.duration_s)
        + ((clip.part,) if clip.part else ())
        for clip in planned.speech.clips
    ]
    return canonical_sha256([metadata, [_audio_sha256(clip) for clip in planned.calibration.expected]])


def _audio_sha256(clip: Clip) -> str:
    if isinstance(clip.audio, bytes):
        return hashlib.sha256(clip.audio).hexdigest()
    return sha256_of_file(clip.audio)


def _weight_bytes(folder: Path) -> int:
    """Return the size of a checkpoint's weights in float32."""
    from safetensors import safe_open

    total = 0
    for path in weight_files(folder):
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                total += 4 * math.prod(file.get_slice(name).get_shape())
    return total


def summarize(planned: RunPlan) -> dict[str, object]:
    """Return a plan and its forecast as JSON values."""
    return {
        "checkpoint": planned.checkpoint.name,
        "recipe": planned.recipe.name,
        "recipe_sha256": planned.recipe.sha256(),
        "out": str(planned.out),
        "float_variants": [variant.name for variant in planned.recipe.float_variants],
        "quantized_variant": planned.recipe.quantize.name,
        "n_weights": planned.weight_bytes // 4,
        "n_calibration_clips": len(planned.calibration.expected),
        "n_transcribed_clips": planned.n_transcribed_clips,
        "forecast": {
            "memory_bytes": planned.forecast.memory_bytes,
            "disk_bytes": planned.forecast.disk_bytes,
            "time_s": round(planned.forecast.time_s, 1),
        },
    }


def describe(planned: RunPlan) -> list[str]:
    """Describe a plan in lines."""
    recipe, identity = planned.recipe, planned.identity
    n_calibration = len(planned.speech.of_split(CALIBRATION_SPLIT))
    n_recorded = len(planned.calibration.expected)
    return [
        (
            f"checkpoint: {planned.checkpoint.name}, {planned.weight_bytes / 4e6:.1f} million weights, "
            f"{identity.encoder_layers}+{identity.decoder_layers} layers, {identity.n_mels} mel bins, "
            f"{'multilingual' if identity.is_multilingual else 'English-only'}"
        ),
        f"recipe: {recipe.name}, sha256 {recipe.sha256()[:16]}",
        f"export: {', '.join(map(_described, recipe.float_variants))}",
        (
            f"record: {n_recorded} of {n_calibration} calibration clips of {planned.speech.name}"
            f"{describe_transcribed(planned.n_transcribed_clips, n_recorded)}"
        ),
        f"quantize: {recipe.quantize.name} ({recipe.quantize.format}): {_schemes(recipe.quantize)}",
        f"in all: {planned.forecast.describe()}",
        f"would write {planned.out}",
    ]


def _described(variant: FloatVariant) -> str:
    merged = ", decoders merged too" if variant.merged else ""
    return f"{variant.name} ({variant.format}, {variant.layout}, {variant.weights}{merged})"


def _schemes(variant: QuantizedVariant) -> str:
    if variant.format is Format.CTRANSLATE2:
        return f"all components {variant.ctranslate2_type}"
    return ", ".join(f"{part} {variant.components.of(part).scheme}" for part in Component)
