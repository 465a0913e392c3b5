"""From measurements to results: sums, rates and intervals, no files and no clocks."""

import hashlib
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from sottovoce.benchmark.engines.engine import Spoken
from sottovoce.benchmark.entries import Entry
from sottovoce.benchmark.schema.results import (
    Ceiling,
    ClipRow,
    ColdStart,
    Latency,
    Precision,
    SpokenWord,
    Stage,
    Stratum,
    VariantResult,
)
from sottovoce.benchmark.statistics.comparison import median_latency_s, stage_seconds
from sottovoce.benchmark.statistics.strata import group_by_stratum
from sottovoce.benchmark.timing.measure import VariantMeasurement
from sottovoce.benchmark.timing.pass_runner import Measured
from sottovoce.benchmark.timing.worker import ColdRun
from sottovoce.errors import GateError, StageError
from sottovoce.runtime.audio.decode import SAMPLE_RATE_HZ
from sottovoce.speech.loading import LoadedClip
from sottovoce.speech.properties import estimate_snr_db, sha256_of_wave
from sottovoce.statistics.accuracy import add_errors, normalize, word_errors
from sottovoce.storage.artifacts import canonical_sha256


def clip_rows(
    measurement: VariantMeasurement,
    clips: Sequence[LoadedClip],
    *,
    default_language: str | None,
    timing: Collection[int] | None = None,
) -> tuple[ClipRow, ...]:
    """Score one variant's transcripts clip by clip.

    Args:
        measurement: of all clips.
        clips: in the same order.
        default_language: of clips whose set does not tell; `en` for an English-only model.
        timing: places of the clips that count for speed; None takes all.
    """
    return tuple(
        _row(
            measurement.spec.name,
            clip,
            measured,
            clip.clip.language or default_language,
            counts_for_speed=timing is None or place in timing,
        )
        for place, (clip, measured) in enumerate(zip(clips, measurement.clips, strict=True))
    )


def _spoken(word: Spoken) -> SpokenWord:
    return SpokenWord(text=word.text, start_s=word.start_s, end_s=word.end_s)


def _row(
    variant: str, loaded: LoadedClip, measured: Measured, language: str | None, *, counts_for_speed: bool
) -> ClipRow:
    clip, first = loaded.clip, next(iter(measured.passes), None)
    counted = measured.passes if counts_for_speed else ()
    reference, hypothesis = clip.text or "", "" if first is None else first.text
    normalized_reference, normalized_hypothesis = (
        normalize(reference, language),
        normalize(hypothesis, language),
    )
    return ClipRow(
        clip_id=clip.clip_id,
        variant=variant,
        language=language,
        speaker=clip.speaker,
        source=clip.source,
        audio_s=len(loaded.wave) / SAMPLE_RATE_HZ,
        snr_db=estimate_snr_db(loaded.wave),
        reference=reference,
        hypothesis=hypothesis,
        normalized_reference=normalized_reference,
        normalized_hypothesis=normalized_hypothesis,
        words=word_errors(normalized_reference, normalized_hypothesis),
        tokens=0 if first is None else first.n_tokens,
        latency_s=tuple(timed.latency_s for timed in counted),
        disturbed=measured.disturbed if counts_for_speed else (),
        stage_s=tuple(timed.stage_s for timed in counted),
        calls={} if first is None else first.calls,
        spoken=() if measured.detail is None else tuple(map(_spoken, measured.detail.words)),
        error=measured.error,
    )


def summarize_variant(
    measurement: VariantMeasurement,
    rows: Sequence[ClipRow],
    entry: Entry,
    *,
    ceilings: tuple[Ceiling, ...] = (),
) -> VariantResult:
    """Summarize one entry over the clips that it transcribed."""
    good = [row for row in rows if row.error is None]
    raw = add_errors(word_errors(row.reference, row.hypothesis) for row in good)
    words = add_errors(row.words for row in good)
    timed = [row for row in good if row.latency_s]
    if not timed:
        raise StageError(f"{entry.spec.name} failed on every clip that counts for speed")
    latencies = [median_latency_s(row) for row in timed]
    audio_s = sum(row.audio_s for row in timed)
    return VariantResult(
        name=entry.spec.name,
        engine=entry.spec.engine,
        size_bytes=sum(entry.component_size_bytes.values()),
        component_size_bytes=entry.component_size_bytes,
        load_s=measurement.loaded.load_s,
        warm_up_s=measurement.warm_up_s,
        peak_rss_bytes=measurement.peak_rss_bytes,
        rtfx=audio_s / sum(latencies),
        latency_s=Latency(
            p50=float(np.quantile(latencies, 0.5)),
            p90=float(np.quantile(latencies, 0.9)),
            p99=float(np.quantile(latencies, 0.99)),
            mean=float(np.mean(latencies)),
        ),
        stage_s={stage: sum(stage_seconds(row, stage) for row in timed) / len(timed) for stage in Stage},
        call_s={
            stage: _per_call(timed, stage) for stage in Stage if any(row.calls.get(stage) for row in timed)
        },
        tokens=sum(row.tokens for row in good),
        wer=words.wer,
        word_accuracy=1 - words.wer,
        words=words,
        raw_wer=raw.wer,
        raw_words=raw,
        strata=tuple(_strata(good)),
        precision=measurement.loaded.precision,
        int8_nodes=entry.int8_nodes,
        cold_start=_cold_start(measurement.cold_runs),
        ceilings=ceilings,
    )


def _cold_start(runs: Sequence[ColdRun]) -> ColdStart | None:
    if not runs:
        return None
    return ColdStart(
        seconds=tuple(run.seconds for run in runs),
        median_s=float(np.median([run.seconds for run in runs])),
        peak_rss_bytes=int(np.median([run.peak_rss_bytes for run in runs])),
    )


def _per_call(rows: Sequence[ClipRow], stage: Stage) -> float:
    calls = sum(row.calls.get(stage, 0) for row in rows)
    return sum(stage_seconds(row, stage) for row in rows) / calls


def _strata(rows: Sequence[ClipRow]) -> Iterable[Stratum]:
    for (kind, name), places in group_by_stratum(rows).items():
        part = [rows[place] for place in places]
        words = add_errors(row.words for row in part)
        if words.reference_words == 0:
            continue  # a rate needs words to divide by
        yield Stratum(
            by=kind,
            name=name,
            n_clips=len(part),
            audio_s=sum(row.audio_s for row in part),
            words=words,
            wer=words.wer,
        )


def dataset_sha256(clips: Sequence[LoadedClip]) -> str:
    """Hash ids and references: two results with the same hash share their clips, if not what is heard in them."""
    digest = hashlib.sha256()
    for loaded in sorted(clips, key=lambda clip: clip.clip.clip_id):
        digest.update(f"{loaded.clip.clip_id}\0{loaded.clip.text}\0".encode())
    return digest.hexdigest()


def audio_sha256(clips: Sequence[LoadedClip]) -> str:
    """Hash the samples that are transcribed, in the order of the ids."""
    in_order = sorted(clips, key=lambda clip: clip.clip.clip_id)
    return canonical_sha256([sha256_of_wave(clip.wave) for clip in in_order])


def check_float_precision(name: str, precision: Precision) -> None:
    """Refuse to call a variant fp32, the baseline above all, that computes in anything else.

    On CPUs with bf16 units OpenVINO runs float32 models in bf16 unless told otherwise.

    Raises:
        GateError: a component's hint, its cache or one of its nodes is not f32, or activations are quantized on the fly.
    """
    for part, component in precision.components.items():
        other = {kind: count for kind, count in component.nodes.items() if kind != "f32"}
        if component.inference != "f32" or other:
            raise GateError(
                f"{name} is to compute in float32, but its {part} computes in {component.inference} "
                f"(nodes: {component.nodes}); no figure against it would be true"
            )
        if component.kv_cache != "f32" or component.dynamic_quantization_group_size:
            raise GateError(
                f"{name} is to compute in float32, but its {part} keeps its cache in {component.kv_cache} and quantizes "
                f"activations in groups of {component.dynamic_quantization_group_size} (0: not at all)"
            )
