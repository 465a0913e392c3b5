"""From measurements to results: sums, rates and intervals, no files and no clocks."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sottovoce.accuracy import add_errors, normalize, word_errors
from sottovoce.benchmark.entries import Entry
from sottovoce.benchmark.measure import Measured, VariantMeasurement
from sottovoce.benchmark.results import (
    AccuracyVerdict,
    Ceiling,
    ClipRow,
    ColdStart,
    Comparison,
    Latency,
    PeerComparison,
    Precision,
    SpeedVerdict,
    Stage,
    Stratum,
    VariantResult,
    Verdict,
)
from sottovoce.benchmark.worker import ColdRun
from sottovoce.calibrate.loading import LoadedClip
from sottovoce.errors import GateError
from sottovoce.intervals import (
    Blocks,
    Interval,
    rate_delta_interval,
    ratio_interval,
    ratio_of_ratios_interval,
)
from sottovoce.runtime.audio import SAMPLE_RATE_HZ

BlocksOf = Callable[[Sequence[ClipRow]], Blocks]
Entrant = tuple[VariantResult, Sequence[ClipRow]]
"""An entry's summary and its rows, in the order of the clips."""


def clip_rows(
    measurement: VariantMeasurement, clips: Sequence[LoadedClip], *, default_language: str | None
) -> tuple[ClipRow, ...]:
    """Score one variant's transcripts clip by clip.

    Args:
        measurement: of all clips.
        clips: in the same order.
        default_language: of clips whose set does not tell; `en` for an English-only model.
    """
    return tuple(
        _row(measurement.spec.name, clip, measured, clip.clip.language or default_language)
        for clip, measured in zip(clips, measurement.clips, strict=True)
    )


def _row(variant: str, loaded: LoadedClip, measured: Measured, language: str | None) -> ClipRow:
    clip, first = loaded.clip, next(iter(measured.passes), None)
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
        reference=reference,
        hypothesis=hypothesis,
        normalized_reference=normalized_reference,
        normalized_hypothesis=normalized_hypothesis,
        words=word_errors(normalized_reference, normalized_hypothesis),
        tokens=0 if first is None else first.n_tokens,
        latency_s=tuple(timed.latency_s for timed in measured.passes),
        stage_s=tuple(timed.stage_s for timed in measured.passes),
        calls={} if first is None else first.calls,
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
    latencies = [median_latency_s(row) for row in good]
    audio_s = sum(row.audio_s for row in good)
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
            mean=float(np.mean(latencies)),
        ),
        stage_s={stage: sum(stage_seconds(row, stage) for row in good) / len(good) for stage in Stage},
        call_s={
            stage: _per_call(good, stage) for stage in Stage if any(row.calls.get(stage) for row in good)
        },
        tokens=sum(row.tokens for row in good),
        wer=words.wer,
        word_accuracy=1 - words.wer,
        words=words,
        raw_wer=raw.wer,
        raw_words=raw,
        strata=(
            *_strata(good, "language", lambda row: row.language),
            *_strata(good, "source", lambda row: row.source),
        ),
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


def median_latency_s(row: ClipRow) -> float:
    """Return a clip's median latency over its passes."""
    return float(np.median(row.latency_s))


def stage_seconds(row: ClipRow, stage: Stage) -> float:
    """Return a clip's median seconds in a stage over its passes."""
    return float(np.median([seconds.get(stage, 0.0) for seconds in row.stage_s]))


def _per_call(rows: Sequence[ClipRow], stage: Stage) -> float:
    calls = sum(row.calls.get(stage, 0) for row in rows)
    return sum(stage_seconds(row, stage) for row in rows) / calls


def _strata(rows: Sequence[ClipRow], by: str, key: Callable[[ClipRow], str | None]) -> Iterable[Stratum]:
    names = sorted({name for row in rows if (name := key(row)) is not None})
    for name in names:
        part = [row for row in rows if key(row) == name]
        words = add_errors(row.words for row in part)
        if words.reference_words == 0:
            continue  # a rate needs words to divide by
        yield Stratum(
            by=by,
            name=name,
            n_clips=len(part),
            audio_s=sum(row.audio_s for row in part),
            words=words,
            wer=words.wer,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairing:
    """Two entries on the clips that both transcribed.

    Attributes:
        speedup: ratio of total times, `before` by `after`.
        wer_delta: `after` minus `before`.
    """

    before: tuple[ClipRow, ...]
    after: tuple[ClipRow, ...]
    cut: Blocks
    speedup: Interval
    wer_delta: Interval


def _pair(
    before_rows: Sequence[ClipRow], after_rows: Sequence[ClipRow], blocks: BlocksOf, rng: np.random.Generator
) -> _Pairing:
    pairs = [
        (a, b) for a, b in zip(before_rows, after_rows, strict=True) if a.error is None and b.error is None
    ]
    before, after = tuple(a for a, _ in pairs), tuple(b for _, b in pairs)
    cut = blocks(before)
    words = cut.sums([row.words.reference_words for row in before])
    if words.sum() == 0:
        raise GateError("the references hold no words after normalizing; nothing can be compared")
    speedup = ratio_interval(
        cut.sums([median_latency_s(row) for row in before]),
        cut.sums([median_latency_s(row) for row in after]),
        rng=rng,
    )
    delta = rate_delta_interval(
        cut.sums([row.words.errors for row in before]),
        cut.sums([row.words.errors for row in after]),
        words,
        rng=rng,
    )
    return _Pairing(before=before, after=after, cut=cut, speedup=speedup, wer_delta=delta)


def compare(
    baseline: Entrant, variant: Entrant, blocks: BlocksOf, *, margin: float, rng: np.random.Generator
) -> Comparison:
    """Compare an entry with the baseline on the clips that both transcribed.

    Args:
        baseline: its summary and its rows.
        variant: the same, rows in the same order.
        blocks: makes the blocks that are resampled.
        margin: largest tolerated WER increase, a fraction.
        rng: draws the resamples.

    Raises:
        GateError: there is no word to compare.
    """
    paired = _pair(baseline[1], variant[1], blocks, rng)
    before, after = paired.before, paired.after
    sizes = (baseline[0].component_size_bytes, variant[0].component_size_bytes)
    return Comparison(
        variant=variant[0].name,
        speedup=paired.speedup,
        stage_speedup=_stage_speedups(before, after, paired.cut, rng),
        size_ratio=variant[0].size_bytes / baseline[0].size_bytes,
        component_size_ratio={name: sizes[1][name] / sizes[0][name] for name in sizes[0] if name in sizes[1]},
        wer_delta=paired.wer_delta,
        n_changed=sum(
            a.normalized_hypothesis != b.normalized_hypothesis for a, b in zip(before, after, strict=True)
        ),
        n_worse=sum(b.words.errors > a.words.errors for a, b in zip(before, after, strict=True)),
        n_better=sum(b.words.errors < a.words.errors for a, b in zip(before, after, strict=True)),
        verdict=judge(paired.speedup, paired.wer_delta, margin=margin),
    )


def compare_peer(
    subject: Entrant, peer: Entrant, blocks: BlocksOf, *, rng: np.random.Generator
) -> PeerComparison:
    """Compare an entry of our engine with one of another on the clips that both transcribed.

    Args:
        subject: its summary and its rows.
        peer: the same, rows in the same order.
        blocks: makes the blocks that are resampled.
        rng: draws the resamples.

    Raises:
        GateError: there is no word to compare.
    """
    paired = _pair(peer[1], subject[1], blocks, rng)
    return PeerComparison(
        subject=subject[0].name, peer=peer[0].name, speedup=paired.speedup, wer_delta=paired.wer_delta
    )


def _stage_speedups(
    before: Sequence[ClipRow], after: Sequence[ClipRow], cut: Blocks, rng: np.random.Generator
) -> dict[Stage, Interval]:
    """Compare seconds per call, so that a different number of tokens does not count as speed."""
    timed = [
        stage
        for stage in Stage
        if all(sum(row.calls.get(stage, 0) for row in rows) > 0 for rows in (before, after))
    ]
    return {
        stage: ratio_of_ratios_interval(
            (
                cut.sums([stage_seconds(row, stage) for row in before]),
                cut.sums([row.calls.get(stage, 0) for row in before]),
            ),
            (
                cut.sums([stage_seconds(row, stage) for row in after]),
                cut.sums([row.calls.get(stage, 0) for row in after]),
            ),
            rng=rng,
        )
        for stage in timed
    }


def judge(speedup: Interval, wer_delta: Interval, *, margin: float) -> Verdict:
    """Say what the intervals allow to say, and nothing more."""
    if speedup.low > 1:
        speed = SpeedVerdict.FASTER
    elif speedup.high < 1:
        speed = SpeedVerdict.SLOWER
    else:
        speed = SpeedVerdict.UNDECIDED
    if wer_delta.high <= margin:
        accuracy = AccuracyVerdict.WITHIN
    elif wer_delta.low > margin:
        accuracy = AccuracyVerdict.BEYOND
    else:
        accuracy = AccuracyVerdict.UNDECIDED
    return Verdict(speed=speed, accuracy=accuracy, margin=margin)


def dataset_sha256(clips: Sequence[LoadedClip]) -> str:
    """Hash ids and references: two results with the same hash share their clips."""
    digest = hashlib.sha256()
    for loaded in sorted(clips, key=lambda clip: clip.clip.clip_id):
        digest.update(f"{loaded.clip.clip_id}\0{loaded.clip.text}\0".encode())
    return digest.hexdigest()


def check_baseline_precision(name: str, precision: Precision) -> None:
    """Refuse to call a baseline fp32 that computes in anything else.

    On CPUs with bf16 units OpenVINO runs float32 models in bf16 unless told otherwise.

    Raises:
        GateError: a component's hint or one of its nodes is not f32.
    """
    for part, component in precision.components.items():
        other = {kind: count for kind, count in component.nodes.items() if kind != "f32"}
        if component.inference != "f32" or other:
            raise GateError(
                f"{name} is to be the fp32 baseline, but its {part} computes in {component.inference} "
                f"(nodes: {component.nodes}); no figure against it would be true"
            )
