"""The stage `calibrate`: records what a stateless float32 variant receives while it transcribes clips."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from sottovoce import __version__
from sottovoce.calibrate.audit import EVALUATION_SPLIT, AuditInput, audit_calibration
from sottovoce.calibrate.coverage import describe_transcribed
from sottovoce.calibrate.forecast import (
    Forecast,
    ModelShape,
    Work,
    check_resources,
    estimate_rates,
    forecast_recording,
    forecast_time,
    gib,
    minutes,
    read_shape,
)
from sottovoce.calibrate.recorder import Recorder, keep, largest_difference
from sottovoce.calibrate.store import (
    TRANSCRIBED_KEY,
    DecodedSequence,
    SequenceEntry,
    StepRebuilder,
    write_index,
    write_sequence,
)
from sottovoce.errors import InputError, StageError
from sottovoce.machine.environment import library_versions, read_host
from sottovoce.machine.resources import PeakMemory
from sottovoce.progress import Reporter
from sottovoce.recipes.recipe import CalibrationSpec, Recipe
from sottovoce.reference_pipeline import KnownStates, OptimumPipeline, one_torch_thread
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.openvino.memory import give_back_unused
from sottovoce.speech.clips import (
    Clip,
    ClipSet,
    count_by,
    select_clips,
    spread_over_languages,
    transcribable,
    usable_clips,
)
from sottovoce.speech.loading import LoadedClip, LoadedClips, is_declared_too_long, load_clips
from sottovoce.storage.artifacts import (
    MANIFEST_NAME,
    Manifest,
    Parent,
    created_now,
    list_files,
    read_manifest,
    sha256_of_file,
    write_manifest,
)
from sottovoce.terms import Component

logger = logging.getLogger(__name__)

MAX_REBUILD_DIFFERENCE = 1e-3
"""Largest difference between recorded and rebuilt keys and values; rounding gives 1e-6 to 1e-5 (docs/lab-notes.md)."""

CALIBRATION_SPLIT = "calib"

USUAL_CLIP_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSelection:
    """The clips that a recording tries, checked and not decoded.

    Attributes:
        name: of the speech set.
        spec: number and greatest length of the clips.
        candidates: clips of the split `calib`, in the order in which they are tried.
        expected: those that are recorded if all audio that exists can be used.
        evaluation: the set's clips of split `eval`; None where the set has no such split.
        english_only: whether the model is.
    """

    name: str
    spec: CalibrationSpec
    candidates: tuple[Clip, ...]
    expected: tuple[Clip, ...]
    evaluation: tuple[Clip, ...] | None
    english_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationClips:
    """The clips of a recording.

    Attributes:
        loaded: the decoded clips, and those that were left out.
        evaluation: clips of the split `eval`, not decoded; None if the set has no such split.
    """

    name: str
    loaded: LoadedClips
    evaluation: tuple[Clip, ...] | None
    english_only: bool


def select_calibration(speech: ClipSet, spec: CalibrationSpec, *, english_only: bool) -> CalibrationSelection:
    """Select the clips to record from the split `calib`, by the recipe's seed, evenly over its languages.

    Ranges that were recorded in one language break a multilingual model in others (docs/lab-notes.md).

    Raises:
        InputError: no clip is left.
    """
    usable = usable_clips(speech, CALIBRATION_SPLIT, english_only=english_only).clips
    candidates = spread_over_languages(select_clips(usable, None, seed=spec.seed))
    short = [clip for clip in candidates if not is_declared_too_long(clip, spec.max_clip_s)]
    if not short:
        raise InputError(
            f"{speech.name} has no calibration clip of at most {spec.max_clip_s:g} s; choose other speech"
        )
    expected = tuple(islice((clip for clip in short if _exists(clip)), spec.n_clips))
    if not expected:
        raise InputError(
            f"{short[0].clip_id} does not exist; none of the {len(short)} calibration clips of {speech.name} exists: "
            "check the path of the audio"
        )
    return CalibrationSelection(
        name=speech.name,
        spec=spec,
        candidates=candidates,
        expected=expected,
        evaluation=_evaluation_clips(speech, english_only=english_only),
        english_only=english_only,
    )


def load_calibration(selection: CalibrationSelection, reporter: Reporter) -> CalibrationClips:
    """Decode the selected clips until there are as many as the recipe records.

    Raises:
        InputError: no clip is left, or more than half of the clips tried are broken.
    """
    spec, candidates = selection.spec, selection.candidates
    with reporter.progress("decode calibration clips", min(spec.n_clips, len(candidates))) as advance:
        loaded = load_clips(candidates, wanted=spec.n_clips, max_clip_s=spec.max_clip_s, on_clip=advance)
    for rejected in loaded.rejected:
        reporter.note(f"left out {rejected.clip_id}: {rejected.reason}")
    if len(loaded.loaded) < spec.n_clips:
        reporter.note(
            f"the speech set has {len(loaded.loaded)} usable calibration clips, the recipe wants {spec.n_clips}"
        )
    return CalibrationClips(
        name=selection.name,
        loaded=loaded,
        evaluation=selection.evaluation,
        english_only=selection.english_only,
    )


def _exists(clip: Clip) -> bool:
    return isinstance(clip.audio, bytes) or clip.audio.is_file()


def _evaluation_clips(speech: ClipSet, *, english_only: bool) -> tuple[Clip, ...] | None:
    if EVALUATION_SPLIT not in speech.splits():
        return None
    return transcribable(speech.of_split(EVALUATION_SPLIT), english_only=english_only)


def forecast_for(baseline: Path, clips: Sequence[LoadedClip], n_transcribed: int) -> Forecast:
    """Forecast the recording of a variant; detecting a language is a separate sequence."""
    transcribed_s = [clip.wave.size / SAMPLE_RATE_HZ for clip in clips[:n_transcribed]]
    return _forecast(read_shape(baseline), [clip.clip for clip in clips], transcribed_s)


def forecast_planned(shape: ModelShape, clips: Sequence[Clip], n_transcribed: int) -> Forecast:
    """Forecast a recording before the variant exists and before clips are decoded.

    Args:
        clips: the clips to record; one of unknown length counts as 10 s.
        n_transcribed: the first of them, which are transcribed.
    """
    transcribed_s = [
        USUAL_CLIP_S if clip.duration_s is None else clip.duration_s for clip in clips[:n_transcribed]
    ]
    return _forecast(shape, clips, transcribed_s)


def _forecast(shape: ModelShape, clips: Sequence[Clip], transcribed_s: Sequence[float]) -> Forecast:
    work = Work(
        n_clips=len(clips),
        n_sequences=sum(1 if clip.language else 2 for clip in clips),
        n_transcribed=len(transcribed_s),
        transcribed_s=sum(transcribed_s),
    )
    return forecast_recording(shape, work, forecast_time(shape, work, estimate_rates()))


def describe_forecast(forecast: Forecast) -> str:
    """Return memory, disk space and time of a forecast as text."""
    return (
        f"{gib(forecast.peak_memory_bytes)} of memory, {gib(forecast.disk_bytes)} of disk, "
        f"{minutes(forecast.time.total_s)}"
    )


def record(
    baseline: Path,
    clips: CalibrationClips,
    into: Path,
    *,
    recipe: Recipe,
    compute: ComputeSpec,
    reporter: Reporter,
) -> Manifest:
    """Record the inputs of the components of a variant while it transcribes, and audit the record.

    Args:
        baseline: folder of a stateless float32 variant.
        recipe: that the record is for. It says how many clips are transcribed, and the audit applies its SmoothQuant.

    Raises:
        ResourceError: the machine has too little memory or disk space.
        StageError: the inputs that are rebuilt from the record differ from the recorded ones.
    """
    n_transcribed = min(recipe.n_transcribed_clips, len(clips.loaded.loaded))
    forecast = _checked_forecast(baseline, clips.loaded.loaded, n_transcribed, into, reporter)
    started = time.perf_counter()
    with PeakMemory() as peak, one_torch_thread():
        entries, difference = _record_clips(
            baseline, clips.loaded.loaded, n_transcribed, into, compute, reporter
        )
    recorded_s = time.perf_counter() - started
    give_back_unused()
    write_index(entries, into)
    audit_calibration(
        AuditInput(
            folder=into,
            baseline=baseline,
            entries=entries,
            clips=clips.loaded.loaded,
            n_transcribed=n_transcribed,
            evaluation=clips.evaluation,
            is_multilingual=not clips.english_only,
            quantize=recipe.quantize,
        ),
        reporter,
    )
    manifest = _manifest(
        baseline,
        clips,
        entries,
        into,
        {
            TRANSCRIBED_KEY: n_transcribed,
            **_cost_facts(
                forecast,
                peak_bytes=peak.peak_bytes,
                recording_s=recorded_s,
                examination_s=time.perf_counter() - started - recorded_s,
            ),
            "rebuild_max_difference": difference,
            "precision": compute.precision.value,
        },
    )
    write_manifest(into, manifest)
    return manifest


def _checked_forecast(
    baseline: Path, clips: Sequence[LoadedClip], n_transcribed: int, into: Path, reporter: Reporter
) -> Forecast:
    """Return what a recording will need, after a check that this machine has it.

    Raises:
        ResourceError: it has not.
    """
    forecast = forecast_for(baseline, clips, n_transcribed)
    check_resources(forecast, into)
    reporter.note(
        f"recording {len(clips)} clips{describe_transcribed(n_transcribed, len(clips))}: "
        f"forecast {describe_forecast(forecast)} "
        f"(keeping every call would take {gib(forecast.naive_memory_bytes)})"
    )
    return forecast


def _cost_facts(
    forecast: Forecast, *, peak_bytes: int, recording_s: float, examination_s: float
) -> dict[str, float]:
    return {
        "forecast_peak_memory_bytes": forecast.peak_memory_bytes,
        "measured_peak_memory_bytes": peak_bytes,
        "forecast_disk_bytes": forecast.disk_bytes,
        "forecast_recording_s": round(forecast.time.recording_s, 1),
        "recording_s": round(recording_s, 3),
        "forecast_examination_s": round(forecast.time.examination_s, 1),
        "examination_s": round(examination_s, 3),
    }


def _record_clips(
    baseline: Path,
    clips: Sequence[LoadedClip],
    n_transcribed: int,
    into: Path,
    compute: ComputeSpec,
    reporter: Reporter,
) -> tuple[tuple[SequenceEntry, ...], float]:
    """Encode all clips, then decode them: encoder and decoders are not in memory at once.

    The first `n_transcribed` clips are transcribed.
    """
    variant = OptimumPipeline.load(baseline, compute, compile_all=False)
    entries: list[SequenceEntry] = []
    difference: float | None = None
    with TemporaryDirectory(dir=into) as scratch:
        encoded = _encode(variant, clips, Path(scratch), reporter)
        encoder = variant.free_encoder()
        give_back_unused()
        rebuild = StepRebuilder(baseline, variant.compiled(Component.DECODER))
        decoder = _ClipDecoder(variant, encoder)
        with reporter.progress("record", len(clips)) as advance:
            for number, (clip, file) in enumerate(zip(clips, encoded, strict=True)):
                states = np.load(file, allow_pickle=False)
                sequences = decoder.decode(clip, states, is_transcribed=number < n_transcribed)
                entries += [
                    _write(sequence, clip, len(entries) + i, into) for i, sequence in enumerate(sequences)
                ]
                if difference is None and sequences[-1].token_ids.shape[1] > sequences[-1].n_prompt:
                    difference = check_rebuild(rebuild, sequences[-1], decoder.recorder)
                advance()
    if difference is None:
        raise StageError("no clip gave a decoder step; choose other speech")
    return tuple(entries), difference


class _ClipDecoder:
    """Decodes encoded clips: some to their end, of the others the prompt, once for each language."""

    def __init__(self, variant: OptimumPipeline, encoder: KnownStates) -> None:
        self._variant = variant
        self._encoder = encoder
        self._prompts: dict[str | None, NDArray[np.int64]] = {}
        self.recorder = Recorder(variant)

    def decode(
        self, clip: LoadedClip, states: NDArray[np.float32], *, is_transcribed: bool
    ) -> tuple[DecodedSequence, ...]:
        """Return the sequences of a clip: the detection of its language, if that is unknown, and the transcript.

        Args:
            states: its encoder output, shape (1, 1500, d_model).
            is_transcribed: else the transcript is the prompt alone.
        """
        features = self._variant.features(clip.wave)
        language = self._variant.known_language(clip.clip.language)
        prompt = self._prompts.get(language)
        if prompt is not None and not is_transcribed:
            return (
                DecodedSequence(
                    features=features, encoder_states=states, token_ids=prompt, n_prompt=prompt.shape[1]
                ),
            )
        self._encoder.states = states
        decode = self._variant.generate if is_transcribed else self._variant.prefill
        decode(features, language)
        sequences = self.recorder.take()
        if language is not None or not self._variant.is_multilingual:
            self._prompts[language] = sequences[-1].prompt
        return sequences


def _encode(
    variant: OptimumPipeline, clips: Sequence[LoadedClip], into: Path, reporter: Reporter
) -> list[Path]:
    """Encode clips, and write the states of each to a file."""
    files = [into / f"{number}.npy" for number in range(len(clips))]
    with reporter.progress("encode", len(clips)) as advance:
        for clip, file in zip(clips, files, strict=True):
            np.save(file, variant.encode(variant.features(clip.wave)))
            advance()
    return files


def _write(sequence: DecodedSequence, clip: LoadedClip, number: int, into: Path) -> SequenceEntry:
    file = f"sequences/{number:05d}.safetensors"
    (into / "sequences").mkdir(exist_ok=True)
    write_sequence(sequence, into / file)
    return SequenceEntry(
        file=file,
        clip_id=clip.clip.clip_id,
        language=clip.clip.language,
        audio_s=len(clip.wave) / SAMPLE_RATE_HZ,
        n_prompt=sequence.n_prompt,
        n_tokens=int(sequence.token_ids.shape[1]),
    )


def check_rebuild(rebuild: StepRebuilder, sequence: DecodedSequence, recorder: Recorder) -> float:
    """Check that the last step of a sequence can be rebuilt from the stored values.

    Raises:
        StageError: the rebuilt inputs differ from the recorded ones.
    """
    recorded = keep(recorder.last_step)
    rebuilt = rebuild.step(sequence, sequence.token_ids.shape[1] - 1)
    difference = largest_difference(rebuilt, recorded)
    if not difference <= MAX_REBUILD_DIFFERENCE:  # nan fails too
        raise StageError(
            f"the keys and values rebuilt from the record differ from the recorded ones by {difference:.1e}, "
            f"want at most {MAX_REBUILD_DIFFERENCE:.0e}; this version of optimum-intel is not supported"
        )
    return difference


def _manifest(
    baseline: Path,
    clips: CalibrationClips,
    entries: Sequence[SequenceEntry],
    into: Path,
    further: dict[str, object],
) -> Manifest:
    loaded = clips.loaded.loaded
    facts: dict[str, object] = {
        "n_clips": len(loaded),
        "n_sequences": len(entries),
        "n_steps": sum(entry.n_steps for entry in entries),
        "audio_s": round(sum(len(clip.wave) for clip in loaded) / SAMPLE_RATE_HZ, 3),
        "languages": count_by(clip.clip.language for clip in loaded),
        "speakers": len({clip.clip.speaker for clip in loaded if clip.clip.speaker}),
        "left_out": {rejected.clip_id: rejected.reason for rejected in clips.loaded.rejected},
        **further,
    }
    origin = sha256_of_file(baseline / MANIFEST_NAME) if (baseline / MANIFEST_NAME).is_file() else None
    return Manifest(
        kind="calibration",
        name=clips.name,
        created=created_now(),
        made_by=f"sottovoce calibrate {__version__}",
        parents=(
            Parent(
                role="variant", name=read_manifest(baseline).name if origin else baseline.name, sha256=origin
            ),
            Parent(role="speech", name=clips.name),
        ),
        host=read_host(),
        versions=library_versions(),
        facts=facts,
        files=list_files(into),
    )
