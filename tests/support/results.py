"""Results made by hand: three variants of whisper-tiny.en over clips of short sentences."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import jiwer

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import (
    AccuracyVerdict,
    Comparison,
    SpeedVerdict,
    StratumComparison,
    Verdict,
)
from sottovoce.benchmark.schema.precision import ComponentPrecision, Precision
from sottovoce.benchmark.schema.results import (
    CLIPS_NAME,
    RESULTS_NAME,
    Dataset,
    Latency,
    Method,
    Rejected,
    Results,
    Stratum,
    VariantResult,
)
from sottovoce.machine.environment import Host
from sottovoce.statistics.accuracy import WordErrors
from sottovoce.statistics.intervals import Interval
from sottovoce.terms import Stage

BASELINE = "fp32"
SENTENCES = (
    "the harbor lights went out one by one before the storm reached the coast",
    "she counted seventeen boats and wrote the number in a small blue book",
    "nobody in the village remembered when the bell had last been rung",
    "we took the early train north and arrived just after the rain had stopped",
    "his grandfather kept bees behind the mill and sold honey on market days",
    "turn left at the second crossing and follow the river for half a mile",
)
SLIPS = {
    "int8": {
        0: ("harbor", "harper"),
        1: ("small blue", "small"),
        3: ("just", "just just"),
        5: ("half", "a half"),
    },
    "fp16": {3: ("north", "nor")},
    BASELINE: {0: ("coast", "ghost"), 2: ("rung", "wrong"), 3: ("north", "nor")},
}
"""The transcript of a variant with errors, by sentence."""
STAGE_SHARE = {
    Stage.FEATURES: 0.05,
    Stage.ENCODER: 0.42,
    Stage.DECODER: 0.06,
    Stage.DECODER_WITH_PAST: 0.44,
    Stage.OTHER: 0.03,
}
CLIP_S = {BASELINE: 0.182, "fp16": 0.176, "int8": 0.096}
SIZE_MB = {BASELINE: 151.2, "fp16": 76.1, "int8": 41.3}
PARTS = {"encoder": 0.22, "decoder": 0.39, "decoder_with_past": 0.37, "tokenizer": 0.02}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Results and their clips."""

    results: Results
    rows: tuple[ClipRow, ...]


def build_sample(n_clips: int = 12) -> Sample:
    """Make results of three variants: fp16 no faster, int8 faster and of undecided accuracy."""
    rng = random.Random(7)  # noqa: S311 sample data
    names = tuple(CLIP_S)
    rows = tuple(_row(place, name, rng) for place in range(n_clips) for name in names)
    variants = tuple(_variant(name, tuple(row for row in rows if row.variant == name)) for name in names)
    comparisons = (
        _comparison("fp16", variants, rows, speedup=(1.03, 0.98, 1.09), verdict=("undecided", "within")),
        _comparison("int8", variants, rows, speedup=(1.9, 1.84, 1.97), verdict=("faster", "undecided")),
    )
    return Sample(results=_results(n_clips, variants, comparisons), rows=rows)


def with_languages(results: Results, languages: dict[str, tuple[int, Interval]]) -> Results:
    """Give every variant a part for each language: number of clips and, for int8, the change of its errors."""
    part = results.variants[0].strata[0]
    strata = tuple(
        part.model_copy(update={"by": "language", "name": name, "n_clips": n_clips})
        for name, (n_clips, _) in languages.items()
    )
    changes = tuple(
        StratumComparison(by="language", name=name, n_clips=n_clips, speedup=None, wer_delta=delta)
        for name, (n_clips, delta) in languages.items()
    )
    return results.model_copy(
        update={
            "variants": tuple(one.model_copy(update={"strata": strata}) for one in results.variants),
            "comparisons": tuple(
                one.model_copy(update={"strata": changes if one.variant == "int8" else ()})
                for one in results.comparisons
            ),
        }
    )


def count_errors(reference: str, hypothesis: str) -> WordErrors:
    """Count the word errors of normalized texts with jiwer alone."""
    found = jiwer.process_words(reference, hypothesis)
    return WordErrors(
        substitutions=found.substitutions,
        deletions=found.deletions,
        insertions=found.insertions,
        reference_words=len(reference.split()),
    )


def _row(place: int, variant: str, rng: random.Random) -> ClipRow:
    sentence = place % len(SENTENCES)
    reference = SENTENCES[sentence]
    is_slip = sentence in SLIPS[variant] and place // len(SENTENCES) % 2 == 0
    hypothesis = reference.replace(*SLIPS[variant][sentence], 1) if is_slip else reference
    audio_s = 3.5 + rng.random() * 6
    latency_s = CLIP_S[variant] * (0.6 + audio_s / 16) * (1 + rng.random() * 0.08)
    return ClipRow(
        clip_id=f"1188-133604-{place:04d}",
        variant=variant,
        language="en",
        speaker=f"{1188 + place % 4}",
        source="librispeech" if place % 3 else "fleurs",
        audio_s=audio_s,
        reference=reference.capitalize() + ".",
        hypothesis=hypothesis.capitalize() + ".",
        normalized_reference=reference,
        normalized_hypothesis=hypothesis,
        words=count_errors(reference, hypothesis),
        tokens=len(hypothesis.split()) + 3,
        latency_s=(latency_s, latency_s * 1.02, latency_s * 0.99),
        stage_s=tuple({stage: share * latency_s for stage, share in STAGE_SHARE.items()} for _ in range(3)),
        calls={stage: 16 if stage is Stage.DECODER_WITH_PAST else 1 for stage in STAGE_SHARE},
    )


def _sum_errors(rows: tuple[ClipRow, ...]) -> WordErrors:
    return WordErrors(
        substitutions=sum(row.words.substitutions for row in rows),
        deletions=sum(row.words.deletions for row in rows),
        insertions=sum(row.words.insertions for row in rows),
        reference_words=sum(row.words.reference_words for row in rows),
    )


def _variant(name: str, rows: tuple[ClipRow, ...]) -> VariantResult:
    words = _sum_errors(rows)
    mean_s = sum(row.latency_s[0] for row in rows) / len(rows)
    ordered = sorted(row.latency_s[0] for row in rows)
    stage_s = {stage: share * mean_s for stage, share in STAGE_SHARE.items()}
    raw = words.model_copy(update={"substitutions": words.substitutions + 2 * len(rows)})
    return VariantResult(
        name=name,
        engine="openvino",
        size_bytes=int(SIZE_MB[name] * 1e6),
        component_size_bytes={part: int(share * SIZE_MB[name] * 1e6) for part, share in PARTS.items()},
        load_s=0.41,
        warm_up_s=(mean_s * 1.7, mean_s * 1.1),
        peak_rss_bytes=int(420e6 + SIZE_MB[name] * 2e6),
        rtfx=sum(row.audio_s for row in rows) / (mean_s * len(rows)),
        latency_s=Latency(p50=ordered[len(rows) // 2], p90=ordered[len(rows) * 9 // 10], mean=mean_s),
        stage_s=stage_s,
        call_s={**stage_s, Stage.DECODER_WITH_PAST: stage_s[Stage.DECODER_WITH_PAST] / 16},
        tokens=sum(row.tokens for row in rows),
        wer=words.wer,
        word_accuracy=1 - words.wer,
        words=words,
        raw_wer=raw.wer,
        raw_words=raw,
        strata=tuple(_strata(rows)),
        precision=_precision(name),
        int8_nodes={"encoder": 24, "decoder": 40} if name == "int8" else {},
    )


def _strata(rows: tuple[ClipRow, ...]) -> list[Stratum]:
    keys = {("language", row.language or "") for row in rows} | {("source", row.source or "") for row in rows}
    parts = {key: tuple(row for row in rows if key[1] in (row.language, row.source)) for key in sorted(keys)}
    return [
        Stratum(
            by=by,
            name=name,
            n_clips=len(part),
            audio_s=sum(row.audio_s for row in part),
            words=_sum_errors(part),
            wer=_sum_errors(part).wer,
        )
        for (by, name), part in parts.items()
    ]


def _precision(name: str) -> Precision:
    is_int8 = name == "int8"
    component = ComponentPrecision(
        inference="f32",
        kv_cache="f32",
        execution_mode="PERFORMANCE",
        dynamic_quantization_group_size=0,
        nodes={"i8": 24, "f32": 12} if is_int8 else {"f32": 36},
    )
    return Precision(
        label="int8+f32" if is_int8 else "f32",
        components=dict.fromkeys(("encoder", "decoder", "decoder_with_past"), component),
        threads=4,
        streams=1,
    )


def _comparison(
    name: str,
    variants: tuple[VariantResult, ...],
    rows: tuple[ClipRow, ...],
    *,
    speedup: tuple[float, float, float],
    verdict: tuple[str, str],
) -> Comparison:
    by_name = {variant.name: variant for variant in variants}
    ours, theirs = by_name[name], by_name[BASELINE]
    delta = ours.wer - theirs.wer
    before = {row.clip_id: row for row in rows if row.variant == BASELINE}
    mine = [row for row in rows if row.variant == name]
    interval = Interval(value=speedup[0], low=speedup[1], high=speedup[2])
    return Comparison(
        variant=name,
        speedup=interval,
        stage_speedup=dict.fromkeys(STAGE_SHARE, interval),
        size_ratio=ours.size_bytes / theirs.size_bytes,
        component_size_ratio=dict.fromkeys(PARTS, ours.size_bytes / theirs.size_bytes),
        wer_delta=Interval(value=delta, low=delta - 0.004, high=delta + 0.007),
        n_changed=sum(row.normalized_hypothesis != before[row.clip_id].normalized_hypothesis for row in mine),
        n_worse=sum(row.words.errors > before[row.clip_id].words.errors for row in mine),
        n_better=sum(row.words.errors < before[row.clip_id].words.errors for row in mine),
        verdict=Verdict(speed=SpeedVerdict(verdict[0]), accuracy=AccuracyVerdict(verdict[1]), margin=0.005),
    )


def _results(
    n_clips: int, variants: tuple[VariantResult, ...], comparisons: tuple[Comparison, ...]
) -> Results:
    return Results(
        created=datetime(2026, 3, 14, 15, 9, tzinfo=UTC),
        model="whisper-tiny.en",
        checkpoint="openai/whisper-tiny.en",
        recipe={"name": "int8", "quantize": {"preset": "mixed", "n_clips": 64, "smooth_quant_alpha": 0.5}},
        recipe_sha256="ab" * 32,
        calibration={"n_clips": 64, "audio_s": 421.5, "records": {"encoder": 64, "decoder": 1204}},
        host=Host(
            os="Linux 6.8.0",
            machine="x86_64",
            cpu="Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
            physical_cores=4,
            logical_cores=8,
            usable_cores=4,
            memory_bytes=16 * 2**30,
            instruction_sets=["avx2", "avx512f", "avx512_vnni", "amx_int8"],
            python="3.11.9",
        ),
        versions={"sottovoce": "0.1.0", "openvino": "2026.1.0", "nncf": "3.1.0"},
        dataset=Dataset(
            name="speech",
            split="test",
            n_clips=n_clips,
            audio_s=6.4 * n_clips,
            n_words=variants[0].words.reference_words,
            languages={"en": n_clips},
            sources={"librispeech": n_clips * 2 // 3, "fleurs": n_clips // 3},
            sha256="cd" * 32,
            synthetic=False,
            left_out=(Rejected(clip_id="1188-133604-0099", reason="longer than 30 s"),),
        ),
        method=Method(
            passes=3,
            warm_up_clips=2,
            threads=4,
            order=tuple(variant.name for variant in variants) * 3,
            beam_size=1,
            normalizer="whisper english",
            confidence=0.95,
            n_resamples=10_000,
            blocks="speaker",
            seed=0,
        ),
        baseline=BASELINE,
        variants=variants,
        comparisons=comparisons,
    )


def save_sample(results: Results, rows: tuple[ClipRow, ...], folder: Path) -> Path:
    """Write results and rows into a folder as `sottovoce benchmark` would."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULTS_NAME).write_text(results.model_dump_json(), encoding="utf-8")
    lines = [row.model_dump_json() for row in rows]
    (folder / CLIPS_NAME).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
