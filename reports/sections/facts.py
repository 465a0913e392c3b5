"""What was measured, on what and how: labels with their values, and the terms of the report."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sottovoce.benchmark.schema.results import Results
from sottovoce.reports.text.units import count, duration, gibibytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A label and its value."""

    label: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FactSheet:
    """Facts under one heading."""

    title: str
    facts: tuple[Fact, ...]


def fact_sheets(results: Results) -> tuple[FactSheet, ...]:
    """Gather speech, method, host, versions and calibration; sheets without facts are left out."""
    sheets = (
        _sheet("Speech", _speech_facts(results)),
        _sheet("Method", _method_facts(results)),
        _sheet("Host", _host_facts(results)),
        _sheet("Calibration", dict(_flatten(results.calibration or {}))),
        _sheet("Versions", {**results.versions, "python": results.host.python}),
    )
    return tuple(sheet for sheet in sheets if sheet.facts)


def glossary(results: Results) -> tuple[Fact, ...]:
    """Explain the few terms that the report uses."""
    confidence = f"{100 * results.method.confidence:g}"
    terms = {
        "Baseline": f"The variant that the others are compared with, clip by clip: {results.baseline}.",
        "RTFx": "Seconds of audio per second of work. Higher is faster; below 1 it cannot keep up.",
        "Speed-up": "The baseline's total time divided by the variant's. Below 1 the variant is slower.",
        "Latency": "From waveform to text, per clip; a clip counts with its median over the passes.",
        "Decoder, first pass": "The prompt through the decoder, once for a clip.",
        "Decoder with past": "All later steps: one token each, reusing what is kept of the earlier ones.",
        "WER": "Word error rate: S + D + I by the number of reference words, under Whisper's normalizer. "
        "In Chinese, Japanese and Thai a character counts as a word. Raw WER compares the texts as they are.",
        "S, D, I": "Words substituted, deleted (missing) and inserted (invented).",
        "Points": "A difference of two percentages: from 5 % to 6 % is one point.",
        "Interval": f"Where the figure lies with {confidence} % confidence, by resampling the clips.",
        "Margin": "The largest increase in WER that was declared tolerable before measuring.",
        "Effective precision": "What the compiled model computes in; its file may hold another.",
        "Peak memory": "The largest resident set of the process. 1 MB is a million bytes.",
    }
    if any(variant.cold_start for variant in results.variants):
        terms["Cold start"] = (
            "From starting a fresh process to the first transcript: imports, loading and the first clip."
        )
    if results.self_check is not None:
        terms["A/A check"] = (
            "An entry against itself: the true ratio is 1, so what is measured is the noise of the machine."
        )
    if results.noise is not None:
        terms["Block"] = (
            "One clip in every entry, in turn. It is disturbed where others took more of the CPU than a limit."
        )
    if results.machine is not None:
        terms["RooflinePoint"] = (
            "The time that the arithmetic of the encoder, or the memory traffic of a decode step, takes alone "
            "at the highest rate that this machine reached."
        )
    return tuple(Fact(label=label, value=value) for label, value in terms.items())


def _sheet(title: str, facts: Mapping[str, str]) -> FactSheet:
    return FactSheet(
        title=title, facts=tuple(Fact(label=label, value=value) for label, value in facts.items())
    )


def _speech_facts(results: Results) -> dict[str, str]:
    dataset = results.dataset
    return {
        "Set": dataset.name if dataset.split is None else f"{dataset.name}, {dataset.split}",
        "Clips": f"{dataset.n_clips:,}",
        "Audio": duration(dataset.audio_s),
        "Reference words": f"{dataset.n_words:,}",
        "Languages": _tally(dataset.languages),
        "Sources": _tally(dataset.sources),
        "Spoken by": "a machine (synthetic)" if dataset.synthetic else "people",
        "Left out": count(len(dataset.left_out), "clip"),
        "SHA-256": dataset.sha256,
    }


def _method_facts(results: Results) -> dict[str, str]:
    method = results.method
    return {
        "Passes": f"{method.passes}, after {count(method.warm_up_clips, 'warm-up clip')}",
        "Order of the first two blocks": ", ".join(method.order),
        "Threads": f"{method.threads}",
        "Beam size": f"{method.beam_size}" if method.beam_size > 1 else "1 (greedy)",
        "Normalizer": method.normalizer,
        "Intervals": f"{100 * method.confidence:g} %, {method.n_resamples:,} resamples by {method.blocks}",
        "Seed": f"{method.seed}",
        **({"Recordings": "over 30 s only"} if method.long else {}),
        **({} if method.timing_clips is None else {"TimedTranscript": _timed(len(method.timing_clips))}),
    }


def _timed(n_clips: int) -> str:
    return f"{count(n_clips, 'clip')}; the others were heard once, for accuracy"


def _host_facts(results: Results) -> dict[str, str]:
    host = results.host
    return {
        "CPU": host.cpu,
        "Cores": f"{host.physical_cores} physical, {host.logical_cores} logical, {host.usable_cores} usable",
        "Memory": gibibytes(host.memory_bytes),
        "Instruction sets": ", ".join(host.instruction_sets) or "none of those that matter",
        "System": f"{host.os}, {host.machine}",
    }


def _tally(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({number:,})" for name, number in counts.items()) or "not stated"


def _flatten(facts: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested facts with dotted labels."""
    for key, value in facts.items():
        label = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield label, _spell(value)


def _spell(value: object) -> str:
    match value:
        case str():
            return value
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case int():
            return f"{value:,}"
        case list() | tuple():
            return ", ".join(map(_spell, value)) or "none"
        case _:  # an empty mapping, or nothing
            return "none" if not value else json.dumps(value, ensure_ascii=False, default=str)
