"""Facts about the speech, the method and the host, the terms of the report, and the command that repeats it."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE
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


def describe_setting(results: Results, *, name: Callable[[str], str] = str) -> str:
    """Describe speech, machine and threads in a few words; `name` formats names."""
    dataset = results.dataset
    return (
        f"{count(dataset.n_clips, 'clip')}, {duration(dataset.audio_s)} of {name(dataset.name)}, "
        f"on {name(results.host.cpu)} with {count(results.method.threads, 'thread')}"
    )


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
    """Explain the terms of the report."""
    confidence = f"{100 * results.method.confidence:g}"
    terms = {
        "Baseline": f"The variant that the others are compared with, clip by clip: {results.baseline}.",
        "RTFx": "Seconds of audio per second of work. Higher is faster; below 1 it is slower than real time.",
        "Speed-up": "The baseline's total time divided by the variant's. Below 1 the variant is slower.",
        "Latency": "From waveform to text, per clip; a clip counts with its median over the passes.",
        "Decoder, first pass": "The prompt through the decoder, once for a clip.",
        "Decoder with past": "All later steps: one token each, with the cached keys and values of the earlier ones.",
        "WER": "Word error rate: (S + D + I) divided by the number of reference words, under Whisper's normalizer. "
        "In languages written without spaces a character counts as a word. Raw WER compares the texts without normalization.",
        "S, D, I": "Words substituted, deleted (missing) and inserted (invented).",
        "Word errors": "WER, the word error rate.",
        "Matched pairs": "A test of the difference in errors; p is the probability of so large a one if both are equally good.",
        "SNR": "Signal-to-noise ratio: how far the speech is above the noise, in dB; an estimate from the levels of a clip's frames.",
        "Token agreement": "1 minus the edit distance between the tokens of two transcripts, by the baseline's tokens.",
        "Points": "A difference of two percentages: from 5 % to 6 % is one point.",
        "Interval": f"The figure lies in it with {confidence} % confidence, by resampling the clips.",
        "Margin": "The largest increase in WER that was declared tolerable before measuring.",
        "Effective precision": "The precision that the compiled model computes in; its file may be stored in another.",
        "Peak memory": "The largest resident set of the process. 1 MB is a million bytes.",
    }
    if any(variant.cold_start for variant in results.variants):
        terms["Cold start"] = (
            "From starting a fresh process to the first transcript: imports, loading and the first clip."
        )
    if results.self_check is not None:
        terms["A/A check"] = (
            "An entry against itself: the true ratio is 1, so the measured one shows the noise of the machine."
        )
    if results.noise is not None:
        terms["Block"] = (
            "One clip in every entry, in turn. It is disturbed if others took more of the CPU than a limit."
        )
    if results.machine is not None:
        terms["Roofline"] = (
            "The time that the arithmetic of the encoder, or the memory traffic of a decode step, takes alone "
            "at the highest rate that this machine reached. Efficiency is this time divided by the achieved one."
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
        **({} if method.timing_clips is None else {"Timed": _timed(len(method.timing_clips))}),
    }


def _timed(n_clips: int) -> str:
    return f"{count(n_clips, 'clip')}; the others were transcribed once, for accuracy"


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


def repeat_command(results: Results) -> str:
    """Write the command that repeats the measurement; RUN and SPEECH stand for the paths, which results do not hold."""
    values = {option: value for option, value in _options(results).items() if value}
    words = (
        word for option, value in values.items() for word in (option, *(() if value is True else (value,)))
    )
    return shlex.join(("sottovoce", "benchmark", "RUN", "--data", "SPEECH", *words))


def _options(results: Results) -> dict[str, str | bool | None]:
    """Return the options of the measurement; an empty value leaves an option out, True is a flag."""
    method, variants = results.method, results.variants
    ours = [v.name for v in variants if v.engine == DEFAULT_ENGINE and v.name != results.baseline]
    others = [v.name for v in variants if v.engine != DEFAULT_ENGINE]
    starts = {len(variant.cold_start.seconds) for variant in variants if variant.cold_start is not None}
    batch_sizes = {point.batch_size for variant in variants for point in variant.throughput}
    threads = {point.threads for variant in variants for point in variant.thread_sweep}
    conditions = dict.fromkeys(each.condition for variant in variants for each in variant.conditions)
    margins = [f"{100 * comparison.verdict.margin:g}" for comparison in results.comparisons]
    return {
        "--split": results.dataset.split,
        "--limit": f"{results.dataset.n_clips}",
        "--long": method.long,
        "--variants": ",".join(ours),
        "--engines": ",".join((DEFAULT_ENGINE, *others)) if others else None,
        "--passes": f"{method.passes}",
        "--threads": f"{method.threads}",
        "--seed": f"{method.seed}",
        "--timing-clips": None if method.timing_clips is None else f"{len(method.timing_clips)}",
        "--margin": next(iter(margins), None),  # the same for all
        "--cold-starts": f"{max(starts)}" if starts else None,
        "--ceilings": results.machine is not None,
        "--batch-sizes": ",".join(map(str, sorted(batch_sizes))),
        "--thread-sweep": ",".join(map(str, sorted(threads))),
        "--robustness": ",".join(conditions),
        "--self-check": results.self_check is not None,
    }
