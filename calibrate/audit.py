"""The audit of a calibration record ("doctor"): coverage, convergence of the ranges, leaks into the evaluation split.

It writes its report to `doctor.json` in the record, and the properties of each clip to `clips.jsonl` beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from sottovoce.calibrate.convergence import (
    Convergence,
    InputExtremes,
    describe_convergence,
    measure_convergence,
)
from sottovoce.calibrate.coverage import Coverage, Finding, RecordedClip, find_gaps, summarize_coverage
from sottovoce.calibrate.extremes import measure_encoder, measure_steps, measured_clips
from sottovoce.calibrate.leaks import (
    Leaks,
    describe_leaks,
    find_leaks,
    fingerprint_evaluation,
)
from sottovoce.calibrate.store import RECORD_AGAIN, SequenceEntry, read_sequence
from sottovoce.progress import Reporter
from sottovoce.recipes.recipe import QuantizedVariant
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.model.openvino.memory import give_back_unused
from sottovoce.speech.clips import Clip
from sottovoce.speech.loading import LoadedClip
from sottovoce.speech.properties import estimate_snr_db, loudness_dbfs, sha256_of_text, speaker_of
from sottovoce.storage.documents import Document, read_document, read_json_lines, write_json_lines
from sottovoce.terms import Component

DOCTOR_NAME = "doctor.json"
RECORDED_CLIPS_NAME = "clips.jsonl"

DOCTOR_SCHEMA_VERSION = 1
"""1: first version."""

EVALUATION_SPLIT = "eval"


class DoctorReport(Document):
    """The audit of a calibration record."""

    schema_version: Literal[1] = 1
    coverage: Coverage
    convergence: tuple[Convergence, ...] = Field(description="Of the encoder and of the decoder's steps.")
    leaks: Leaks | None = Field(description="Null where the speech set has no evaluation split.")
    findings: tuple[Finding, ...] = Field(description="Warnings; empty where all is well.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AuditInput:
    """A new record and its inputs.

    Attributes:
        baseline: folder of the stateless float32 variant that was recorded.
        n_transcribed: the first of the clips, which were decoded to their end.
        evaluation: evaluation clips of the same speech set; None if it has no such split.
    """

    folder: Path
    baseline: Path
    entries: tuple[SequenceEntry, ...]
    clips: tuple[LoadedClip, ...]
    n_transcribed: int
    evaluation: tuple[Clip, ...] | None
    is_multilingual: bool
    quantize: QuantizedVariant


def audit_calibration(audited: AuditInput, reporter: Reporter) -> DoctorReport:
    """Audit a record and write `doctor.json` and `clips.jsonl` into it.

    Raises:
        StageError: a graph of the baseline has no matrix product with a weight.
    """
    recorded = describe_clips(audited.clips, audited.entries, audited.n_transcribed)
    convergence = _converge(audited, reporter)
    leaks = _find_leaks(audited, recorded, reporter)
    report = DoctorReport(
        coverage=summarize_coverage(recorded),
        convergence=convergence,
        leaks=leaks,
        findings=(
            *(() if leaks is None else describe_leaks(leaks)),
            *find_gaps(recorded, is_multilingual=audited.is_multilingual),
            *(finding for component in convergence for finding in describe_convergence(component)),
        ),
    )
    _write(report, recorded, audited.folder)
    return report


def describe_clips(
    clips: Sequence[LoadedClip], entries: Sequence[SequenceEntry], n_transcribed: int
) -> tuple[RecordedClip, ...]:
    """Describe each recorded clip; the first `n_transcribed` were decoded to their end."""
    n_steps: dict[str, int] = {}
    for entry in entries:
        n_steps[entry.clip_id] = n_steps.get(entry.clip_id, 0) + entry.n_steps
    return tuple(
        _describe(loaded, n_steps[loaded.clip.clip_id] if number < n_transcribed else None)
        for number, loaded in enumerate(clips)
    )


def _describe(loaded: LoadedClip, n_steps: int | None) -> RecordedClip:
    clip, wave = loaded.clip, loaded.wave
    return RecordedClip(
        clip_id=clip.clip_id,
        language=clip.language,
        speaker=speaker_of(clip),
        source=clip.source,
        audio_s=wave.size / SAMPLE_RATE_HZ,
        loudness_dbfs=round(loudness_dbfs(wave), 2),
        snr_db=round(estimate_snr_db(wave), 2),
        n_steps=n_steps,
        audio_sha256=loaded.audio_sha256,
        text_sha256=sha256_of_text(clip.text),
    )


def _converge(audited: AuditInput, reporter: Reporter) -> tuple[Convergence, ...]:
    entries = measured_clips(audited.entries)
    with reporter.progress("measure ranges", 2 * len(entries)) as advance:
        sequences = (read_sequence(audited.folder, entry) for entry in entries)
        encoder = measure_encoder(audited.baseline, sequences, advance)
        give_back_unused()
        sequences = (read_sequence(audited.folder, entry) for entry in entries)
        steps = measure_steps(audited.baseline, sequences, advance)
    give_back_unused()
    return (
        _follow(encoder, Component.ENCODER, audited.quantize),
        _follow(steps, Component.DECODER_WITH_PAST, audited.quantize),
    )


def _follow(inputs: Sequence[InputExtremes], component: Component, quantize: QuantizedVariant) -> Convergence:
    """Measure the convergence of the ranges that the recipe records; of all ranges if it records none."""
    spec = quantize.components.of(component)
    recorded = [
        tensor
        for tensor in inputs
        if any(spec.has_recorded_range(name, type_name) for name, type_name in tensor.operations)
    ]
    is_quantized = bool(recorded)
    return measure_convergence(
        recorded or inputs,
        component,
        alpha=spec.smooth_quant_alpha if is_quantized else None,
        is_quantized=is_quantized,
    )


def _find_leaks(audited: AuditInput, recorded: Sequence[RecordedClip], reporter: Reporter) -> Leaks | None:
    if audited.evaluation is None:
        return None
    with reporter.progress("compare with the evaluation split", None):
        evaluation = fingerprint_evaluation(audited.evaluation, audited.clips)
    return find_leaks(recorded, evaluation, split=EVALUATION_SPLIT)


def _write(report: DoctorReport, recorded: Sequence[RecordedClip], folder: Path) -> None:
    (folder / DOCTOR_NAME).write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    write_json_lines(folder / RECORDED_CLIPS_NAME, recorded)


def read_report(record: Path) -> DoctorReport | None:
    """Read the audit of a calibration record; None if it has none.

    Raises:
        InputError: it is damaged or of another version.
    """
    path = record / DOCTOR_NAME
    if not path.is_file():
        return None
    return read_document(path, DoctorReport, advice=RECORD_AGAIN)


def read_recorded_clips(record: Path) -> tuple[RecordedClip, ...]:
    """Read the properties of recorded clips; empty for records that were made before there was an audit.

    Raises:
        InputError: it is damaged.
    """
    path = record / RECORDED_CLIPS_NAME
    if not path.is_file():
        return ()
    return read_json_lines(path, RecordedClip, advice=RECORD_AGAIN)
