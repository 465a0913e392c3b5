"""The plan of a device: what each variant is predicted to do there, which one to take, and how far predictions were off."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from sottovoce.errors import SpecError
from sottovoce.runtime.model.layout import format_of
from sottovoce.runtime.model.shape import PUBLISHED, WhisperShape
from sottovoce.runtime.model.variant import read_variant_manifest
from sottovoce.runtime.planning.choose import ACCURACY, Needs, choose, predict_all
from sottovoce.runtime.planning.costs import VariantCosts, read_costs
from sottovoce.runtime.planning.device import Device
from sottovoce.runtime.planning.predict import (
    USUAL_CLIP,
    Prediction,
    first_transcript_s,
    memory_bytes,
    predict,
    rtfx,
)
from sottovoce.runtime.planning.trial import run_trial
from sottovoce.storage.documents import Document
from sottovoce.terms import Format, MemoryUse

ASSUMED = (
    f"clips of {USUAL_CLIP.audio_s:g} s with {USUAL_CLIP.n_tokens} tokens, decoded greedily one after another; memory after clips of "
    "all lengths up to 30 s, without word timestamps or voice activity detection; first transcript with files read from the disk"
)


class Compared(Document):
    """A prediction beside what a process on this machine did with the same clips, its files in memory."""

    variant: str
    memory_use: MemoryUse
    predicted_rtfx: float
    measured_rtfx: float
    predicted_first_transcript_s: float
    measured_first_transcript_s: float
    predicted_memory_bytes: int
    measured_memory_bytes: int

    def errors(self) -> dict[str, float]:
        """Return by what share each prediction is too high, or, negative, too low."""
        return {
            "speed": self.predicted_rtfx / self.measured_rtfx - 1,
            "first transcript": self.predicted_first_transcript_s / self.measured_first_transcript_s - 1,
            "memory": self.predicted_memory_bytes / self.measured_memory_bytes - 1,
        }


class DevicePlan(Document):
    """What `sottovoce plan --json` prints."""

    device: Device
    max_memory_bytes: float
    min_rtfx: float
    assumed: str = ASSUMED
    predictions: tuple[Prediction, ...]
    choice: Prediction | None = Field(description="Null where nothing fits.")
    compared: tuple[Compared, ...] = Field(description="Of the variants of a run on this machine.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    folder: Path
    shape: WhisperShape
    costs: VariantCosts


def plan_device(device: Device, model: str | None, needs: Needs, clips: Sequence[Path]) -> DevicePlan:
    """Plan for a device.

    Args:
        device: measured here or elsewhere.
        model: a published name, the folder of a checkpoint or of a run; None: all published sizes that know other languages than
            English.
        needs: that the choice meets.
        clips: English speech to measure the variants of a run with; none: nothing is measured.

    Raises:
        SpecError: `model` is nothing of that kind.
        StageError: a variant cannot be measured.
    """
    candidates = _variants(Path(model)) if model is not None and Path(model).is_dir() else ()
    if candidates:
        predictions = tuple(
            predict(device, each.folder.name, each.shape, each.costs, use)
            for each in candidates
            for use in MemoryUse
        )
    else:
        predictions = predict_all(device, _shapes(model))
    return DevicePlan(
        device=device,
        max_memory_bytes=needs.max_memory_bytes,
        min_rtfx=needs.min_rtfx,
        predictions=predictions,
        choice=choose(predictions, needs),
        compared=tuple(_compare(device, each, clips) for each in candidates) if clips else (),
    )


def _shapes(model: str | None) -> Mapping[str, WhisperShape]:
    if model is None:
        return {name: PUBLISHED[name] for name in ACCURACY if not name.endswith(".en")}
    if (Path(model) / "config.json").is_file():
        return {Path(model).name: WhisperShape.read(Path(model))}
    name = model.partition("@")[0].removeprefix("openai/whisper-").removeprefix("distil-whisper/")
    name = {"large": "large-v3"}.get(name, name)
    shape = PUBLISHED.get(name) or PUBLISHED.get(name.removesuffix(".en"))
    if shape is None:
        raise SpecError(
            f"{model} is no run, no checkpoint and none of the sizes known here; give one of {', '.join(PUBLISHED)}"
        )
    return {name: shape}


def _variants(path: Path) -> tuple[_Candidate, ...]:
    """Return the OpenVINO variants of a run; none where the folder is no run."""
    manifest = read_variant_manifest(path)
    facts = manifest.get("facts")
    names = facts.get("variants") if isinstance(facts, dict) and manifest.get("kind") == "run" else None
    folders = [path / name for name in names] if isinstance(names, list) else []
    return tuple(_candidate(folder) for folder in folders if format_of(folder) is Format.OPENVINO)


def _candidate(folder: Path) -> _Candidate:
    shape = WhisperShape.read(folder)
    return _Candidate(folder=folder, shape=shape, costs=read_costs(folder, shape))


def _compare(device: Device, candidate: _Candidate, clips: Sequence[Path]) -> Compared:
    use = MemoryUse.NORMAL
    in_cache = device.model_copy(update={"disk_bytes_per_s": None})
    _read_files(candidate.folder)
    trial = run_trial(candidate.folder, clips, device.threads, use)
    shape, costs = candidate.shape, candidate.costs
    return Compared(
        variant=candidate.folder.name,
        memory_use=use,
        predicted_rtfx=round(rtfx(device, shape, costs, trial.clips), 1),
        measured_rtfx=round(trial.rtfx, 1),
        predicted_first_transcript_s=round(first_transcript_s(in_cache, shape, costs), 2),
        measured_first_transcript_s=round(trial.first_transcript_s, 2),
        predicted_memory_bytes=memory_bytes(shape, costs, use),
        measured_memory_bytes=trial.peak_bytes,
    )


def _read_files(folder: Path) -> None:
    """Read the files of a variant, so that none has to come from the disk while it is measured."""
    for path in folder.iterdir():
        if path.is_file():
            with path.open("rb") as file:
                while file.read(1 << 20):
                    pass
