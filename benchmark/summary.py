"""From measurements to rows and summaries, without files and clocks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sottovoce.benchmark.engines.engine import Entry
from sottovoce.benchmark.plan import Plan
from sottovoce.benchmark.schema.clips import ClipRow, SpokenWord
from sottovoce.benchmark.schema.machine import RooflinePoint
from sottovoce.benchmark.schema.precision import Precision
from sottovoce.benchmark.schema.results import ColdStart, Latency, Stratum, VariantResult
from sottovoce.benchmark.statistics.comparison import median_latency_s, stage_seconds
from sottovoce.benchmark.statistics.strata import group_by_stratum
from sottovoce.benchmark.timing.journal import BlockRecord
from sottovoce.benchmark.timing.measure import Measurement, VariantMeasurement
from sottovoce.benchmark.timing.worker import ColdRun
from sottovoce.errors import GateError, StageError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.speech.clips import Clip
from sottovoce.speech.properties import estimate_snr_db
from sottovoce.statistics.accuracy import add_errors, normalize, word_errors
from sottovoce.terms import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class _ClipFacts:
    """The part of a row that is the same for every entry.

    Attributes:
        records: the blocks of the clip, by pass.
    """

    clip: Clip
    language: str | None
    audio_s: float
    snr_db: float
    reference: str
    normalized_reference: str
    counts_for_speed: bool
    records: tuple[BlockRecord, ...]


def score_clips(plan: Plan, measurement: Measurement) -> dict[str, tuple[ClipRow, ...]]:
    """Score the transcripts of every entry; the rows of an entry are in the order of the clips."""
    facts = tuple(_clip_facts(plan, measurement))
    return {entry.spec.name: tuple(_row(clip, entry) for clip in facts) for entry in measurement.entries}


def _clip_facts(plan: Plan, measurement: Measurement) -> Iterable[_ClipFacts]:
    by_clip: dict[str, list[BlockRecord]] = {}
    for record in sorted(measurement.blocks.values(), key=lambda record: record.number):
        by_clip.setdefault(record.clip_id, []).append(record)
    for index, loaded in enumerate(plan.clips.loaded):
        language, reference = loaded.clip.language or plan.default_language, loaded.clip.text or ""
        yield _ClipFacts(
            clip=loaded.clip,
            language=language,
            audio_s=len(loaded.wave) / SAMPLE_RATE_HZ,
            snr_db=estimate_snr_db(loaded.wave),
            reference=reference,
            normalized_reference=normalize(reference, language),
            counts_for_speed=plan.timing is None or index in plan.timing,
            records=tuple(by_clip[loaded.clip.clip_id]),
        )


def _row(facts: _ClipFacts, entry: VariantMeasurement) -> ClipRow:
    name, clip = entry.spec.name, facts.clip
    error = next((record.errors[name] for record in facts.records if name in record.errors), None)
    passes = [record for record in facts.records if name in record.timed and error is None]
    first = passes[0].timed[name] if passes else None
    counted = passes if facts.counts_for_speed else []
    hypothesis = "" if first is None else first.text
    normalized = normalize(hypothesis, facts.language)
    detail = entry.details.get(clip.clip_id)
    return ClipRow(
        clip_id=clip.clip_id,
        variant=name,
        language=facts.language,
        speaker=clip.speaker,
        source=clip.source,
        audio_s=facts.audio_s,
        snr_db=facts.snr_db,
        reference=facts.reference,
        hypothesis=hypothesis,
        normalized_reference=facts.normalized_reference,
        normalized_hypothesis=normalized,
        words=word_errors(facts.normalized_reference, normalized),
        tokens=0 if first is None else first.n_tokens,
        latency_s=tuple(record.timed[name].latency_s for record in counted),
        disturbed=tuple(record.disturbance.is_beyond for record in counted),
        stage_s=tuple(record.timed[name].stage_s for record in counted),
        calls={} if first is None else first.calls,
        spoken=tuple(
            SpokenWord(text=word.text, start_s=word.start_s, end_s=word.end_s)
            for word in (() if detail is None else detail.words)
        ),
        error=error,
    )


def summarize_variant(
    measurement: VariantMeasurement,
    rows: Sequence[ClipRow],
    entry: Entry,
    *,
    cold_runs: Sequence[ColdRun] = (),
    roofline: tuple[RooflinePoint, ...] = (),
) -> VariantResult:
    """Summarize one entry over the clips that it transcribed.

    Raises:
        StageError: it failed on every clip that counts for speed.
    """
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
        cold_start=_cold_start(cold_runs),
        ceilings=roofline,
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
    for (kind, name), indices in group_by_stratum(rows).items():
        part = [rows[index] for index in indices]
        words = add_errors(row.words for row in part)
        if words.reference_words == 0:
            continue  # the rate would divide by 0
        yield Stratum(
            by=kind,
            name=name,
            n_clips=len(part),
            audio_s=sum(row.audio_s for row in part),
            words=words,
            wer=words.wer,
        )


def check_float_precision(name: str, precision: Precision) -> None:
    """Refuse a float32 variant that computes in another type.

    On CPUs with bf16 units, OpenVINO runs float32 models in bf16 by default.

    Raises:
        GateError: a component's hint, its cache or one of its nodes is not f32, or activations are quantized dynamically.
    """
    for part, component in precision.components.items():
        other = {kind: count for kind, count in component.nodes.items() if kind != "f32"}
        if component.inference != "f32" or other:
            raise GateError(
                f"{name} must compute in float32, but its {part} computes in {component.inference} "
                f"(nodes: {component.nodes}); comparisons with it would be wrong"
            )
        if component.kv_cache != "f32" or component.dynamic_quantization_group_size:
            raise GateError(
                f"{name} must compute in float32, but its {part} keeps its cache in {component.kv_cache} and quantizes "
                f"activations in groups of {component.dynamic_quantization_group_size} (0: not at all)"
            )
