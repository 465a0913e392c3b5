"""The sample results with every optional part of a benchmark, and tones as audio."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE
from sottovoce.benchmark.schema.clips import ClipRow, SpokenWord
from sottovoce.benchmark.schema.comparisons import (
    Comparison,
    ConditionComparison,
    PeerComparison,
    StratumComparison,
)
from sottovoce.benchmark.schema.failures import SkippedEngine
from sottovoce.benchmark.schema.machine import Noise, SelfCheck
from sottovoce.benchmark.schema.output_drift import (
    Hallucination,
    LanguageChanges,
    LengthRatio,
    OutputDrift,
    TimestampDrift,
)
from sottovoce.benchmark.schema.results import ConditionErrors, ThreadPoint, Throughput, VariantResult
from sottovoce.benchmark.statistics.strata import StratumKind, group_by_stratum
from sottovoce.statistics.intervals import Interval
from sottovoce.terms import Condition
from tests.support.results import BASELINE, Sample, build_sample

PEER = "faster-whisper:int8"
CONDITIONS = {Condition.CLEAN: 0.0, Condition.LEVEL_MINUS_40: 0.002, Condition.SNR_5: 0.013}
"""The change of the word error rate of every variant under each condition."""
TONE_HZ = 440
TONE_RATE_HZ = 16_000


def build_detailed_sample(n_clips: int = 12) -> Sample:
    """Make the sample of `build_sample` with another engine, side effects, noise, scaling, and words with times."""
    sample = build_sample(n_clips)
    rows = tuple(_detail_row(row) for row in sample.rows)
    rows += tuple(_peer_row(row) for row in rows if row.variant == "int8")
    variants = tuple(_detail_variant(variant) for variant in sample.results.variants)
    peer = variants[-1].model_copy(
        update={
            "name": PEER,
            "engine": "faster-whisper",
            "throughput": (),
            "thread_sweep": (),
            "conditions": (),
        }
    )
    int8 = sample.results.comparisons[-1]
    speedup = Interval(value=1.42, low=1.35, high=1.5)
    comparisons = (
        *(_detail_comparison(comparison, rows) for comparison in sample.results.comparisons),
        int8.model_copy(update={"variant": PEER, "speedup": speedup}),
    )
    results = sample.results.model_copy(
        update={
            "variants": (*variants, peer),
            "comparisons": comparisons,
            "peers": (PeerComparison(subject="int8", peer=PEER, speedup=speedup, wer_delta=int8.wer_delta),),
            "absent": (
                SkippedEngine(engine="openvino-genai", reason='missing; pip install "sottovoce[peers]"'),
            ),
            "side_effects": (_side_effects("fp16", 0.998), _side_effects("int8", 0.962)),
            "noise": _noise(3 * n_clips),
            "self_check": SelfCheck(
                entry="int8",
                ratio=Interval(value=1.004, low=0.991, high=1.018),
                n_clips=8,
                same_text_rate=1.0,
            ),
        }
    )
    return Sample(results=results, rows=rows)


def audio_name(row: ClipRow) -> str:
    """Name the file of a clip in the results folder, as the sample's rows do."""
    return f"audio/{row.clip_id}.mp3"


def write_tones(rows: Sequence[ClipRow], folder: Path) -> None:
    """Write a tone of each clip's length where its row says."""
    for row in {row.clip_id: row for row in rows}.values():
        write_tone(folder / audio_name(row), row.audio_s)


def write_tone(path: Path, seconds: float) -> None:
    """Write a quiet tone as MP3."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(int(seconds * TONE_RATE_HZ)) / TONE_RATE_HZ
    wave = (0.1 * np.sin(2 * np.pi * TONE_HZ * times)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave[np.newaxis], format="fltp", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = TONE_RATE_HZ, Fraction(1, TONE_RATE_HZ), 0
    with av.open(path, "w") as file:
        stream = file.add_stream("libmp3lame", rate=TONE_RATE_HZ, layout="mono")
        stream.bit_rate = 32_000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)


def _detail_row(row: ClipRow) -> ClipRow:
    words = row.hypothesis.split()
    step_s = row.audio_s / (len(words) + 1)
    place = int(row.clip_id.rsplit("-", 1)[-1])
    return row.model_copy(
        update={
            "spoken": tuple(
                SpokenWord(text=f" {word}", start_s=(i + 0.5) * step_s, end_s=(i + 1.4) * step_s)
                for i, word in enumerate(words)
            ),
            "audio": audio_name(row),
            "snr_db": 8.0 + 3 * place,
            "disturbed": tuple(place == 1 and turn == 0 for turn in range(len(row.latency_s))),
        }
    )


def _peer_row(row: ClipRow) -> ClipRow:
    slower = tuple(1.3 * seconds for seconds in row.latency_s)
    return row.model_copy(update={"variant": PEER, "latency_s": slower, "spoken": ()})


def _detail_variant(variant: VariantResult) -> VariantResult:
    latency = variant.latency_s.model_copy(update={"p99": 1.2 * variant.latency_s.p90})
    return variant.model_copy(
        update={
            "engine": DEFAULT_ENGINE,
            "latency_s": latency,
            "throughput": tuple(
                Throughput(
                    batch_size=size,
                    rtfx=variant.rtfx * (1 + 0.4 * np.log2(size)),
                    peak_rss_bytes=variant.peak_rss_bytes + 30_000_000 * size,
                )
                for size in (1, 4, 8, 16)
            ),
            "thread_sweep": tuple(
                ThreadPoint(threads=threads, rtfx=variant.rtfx * threads**0.7 / 2.6, n_clips=6)
                for threads in (1, 2, 4)
            ),
            "conditions": tuple(
                ConditionErrors(
                    condition=condition,
                    n_clips=12,
                    words=variant.words,
                    wer=variant.wer + (0 if variant.name == BASELINE else delta),
                )
                for condition, delta in CONDITIONS.items()
            ),
        }
    )


def _detail_comparison(comparison: Comparison, rows: Sequence[ClipRow]) -> Comparison:
    own = [row for row in rows if row.variant == BASELINE]
    parts = {
        name: len(places)
        for (kind, name), places in group_by_stratum(own).items()
        if kind is StratumKind.LENGTH
    }
    speed = comparison.speedup
    return comparison.model_copy(
        update={
            "strata": tuple(
                StratumComparison(
                    by=StratumKind.LENGTH,
                    name=name,
                    n_clips=n_clips,
                    speedup=Interval(value=speed.value, low=speed.low - 0.05, high=speed.high + 0.05),
                    wer_delta=comparison.wer_delta,
                )
                for name, n_clips in parts.items()
            ),
            "conditions": tuple(
                ConditionComparison(
                    condition=condition,
                    n_clips=12,
                    wer_delta=Interval(value=delta, low=delta - 0.003, high=delta + 0.004),
                )
                for condition, delta in CONDITIONS.items()
            ),
        }
    )


def _side_effects(variant: str, agreement: float) -> OutputDrift:
    return OutputDrift(
        variant=variant,
        n_clips=12,
        token_agreement=agreement,
        same_tokens_rate=0.75,
        language=LanguageChanges(n_clips=12, n_flips=1, baseline_wrong=0, variant_wrong=1),
        drift=TimestampDrift(n_words=140, mean_s=0.004, median_s=0.02, p95_s=0.12),
        length_ratio=LengthRatio(total=1.002, p5=0.97, p95=1.04),
        hallucinations=(
            Hallucination(
                sound="white noise",
                audio_s=10.0,
                baseline_words=0,
                variant_words=2,
                variant_text="Thank you.",
            ),
            Hallucination(sound="silence", audio_s=10.0, baseline_words=0, variant_words=0, variant_text=""),
        ),
    )


def _noise(n_blocks: int) -> Noise:
    return Noise(
        n_blocks=n_blocks,
        n_marked=1,
        n_repeated=3,
        steal_share=0.002,
        foreign_share=0.011,
        throttled=None,
        max_steal_share=0.02,
        max_foreign_share=0.1,
    )
