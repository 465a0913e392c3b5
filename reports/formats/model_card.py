"""Results as a model card for the Hugging Face hub: metadata for machines, then text for people."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE
from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import AccuracyVerdict
from sottovoce.benchmark.schema.results import Results, VariantResult
from sottovoce.reports.formats.comment import figures_table, host_line, notice_lines, verdict_lines
from sottovoce.reports.formats.markdown import code, code_block, one_line
from sottovoce.reports.sections.facts import repeat_command
from sottovoce.reports.sections.noise import describe_noise
from sottovoce.reports.sections.output_drift import describe_drift
from sottovoce.reports.text.units import count, duration
from sottovoce.terms import Format, Layout

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

TASK = "automatic-speech-recognition"
TAGS = ("whisper", "int8", "quantized", "cpu", "sottovoce")
ENGLISH_ONLY = ".en"
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")
_SLUG = re.compile(r"[^a-z0-9]+")


def render_model_card(results: Results, rows: Sequence[ClipRow]) -> str:
    """Write a model card: YAML that `huggingface_hub.ModelCard` reads back, then Markdown."""
    sections = (
        f"# {code(results.model)} for CPUs",
        verdict_lines(results),
        *notice_lines(results, rows),
        _opening(results),
        "## Intended use",
        _intended_use(results),
        "## How to load it",
        *_loading(results),
        "## Evaluation",
        figures_table(results),
        host_line(results),
        "To measure the same again:",
        code_block(repeat_command(results), "sh"),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(results)),
        "## How it was made",
        "The recipe, resolved:",
        code_block(yaml.safe_dump(results.recipe, sort_keys=False, allow_unicode=True), "yaml"),
        f"SHA-256 of the recipe: {code(results.recipe_sha256)}.",
    )
    return f"---\n{_metadata(results)}\n---\n\n" + "\n\n".join(sections) + "\n"


def _base_model(results: Results) -> str | None:
    """Return the hub id of the checkpoint; None if it has no valid one."""
    checkpoint = results.checkpoint
    return checkpoint if checkpoint is not None and _HUB_ID.fullmatch(checkpoint) else None


def _metadata(results: Results) -> str:
    from huggingface_hub import ModelCardData

    base = _base_model(results)
    data = ModelCardData(
        language=_languages(results) or None,
        library_name=str(_format(results)),
        pipeline_tag=TASK,
        tags=[*TAGS, str(_format(results))],
        base_model=base,
        model_name=one_line(results.model),
        eval_results=list(_eval_results(results)),
        **({} if base is None else {"base_model_relation": "quantized"}),
    )
    return str(data.to_yaml())


def _eval_results(results: Results) -> Iterator["EvalResult"]:
    """Yield error rate and speed of each entry of ours except the baseline, or of the baseline if it is alone."""
    from huggingface_hub import EvalResult

    for variant in _ours(results):
        name = one_line(variant.name)
        metrics = {
            "wer": (f"WER in %, {name}", 100 * variant.wer),
            "rtfx": (f"RTFx (s of audio per s), {name}", variant.rtfx),
        }
        for kind, (metric_name, value) in metrics.items():
            if math.isfinite(value):
                yield EvalResult(
                    task_type=TASK,
                    task_name="Automatic Speech Recognition",
                    dataset_type=_slug(results.dataset.name),
                    dataset_name=one_line(results.dataset.name),
                    dataset_split=None if results.dataset.split is None else one_line(results.dataset.split),
                    metric_type=kind,
                    metric_name=metric_name,
                    metric_value=round(value, 2),
                    metric_args={"cpu": one_line(results.host.cpu), "threads": results.method.threads},
                )


def _ours(results: Results) -> tuple[VariantResult, ...]:
    found = [v for v in results.variants if v.name != results.baseline and v.engine == DEFAULT_ENGINE]
    return tuple(found) or results.variants[:1]


def _languages(results: Results) -> list[str]:
    if results.model.endswith(ENGLISH_ONLY):
        return ["en"]
    return sorted(code for code in results.dataset.languages if _LANGUAGE.fullmatch(code))


def _slug(text: str) -> str:
    return _SLUG.sub("-", text.lower()).strip("-") or "speech"


def _quantize(results: Results) -> Mapping[str, Any]:
    found = results.recipe.get("quantize")
    return found if isinstance(found, dict) else {}


def _format(results: Results) -> Format:
    name = _quantize(results).get("format", Format.OPENVINO)
    return Format(name) if name in set(Format) else Format.OPENVINO


def _opening(results: Results) -> str:
    base = _base_model(results)
    of = f"[{base}](https://huggingface.co/{base})" if base else code(results.model)
    names = ", ".join(code(variant.name) for variant in _ours(results))
    return (
        f"{of}, made small and quick for CPUs by sottovoce; measured against {code(results.baseline)} of the same "
        f"checkpoint on the same clips. Variants: {names}."
    )


def _intended_use(results: Results) -> str:
    languages = ", ".join(map(code, _languages(results)))
    measured = f" It was measured on {languages}." if languages else ""
    return (
        "Transcribing speech on CPUs and small devices, where the float checkpoint is too slow or too large. "
        f"The variants are not fit for uses that the checkpoint is not fit for.{measured}"
    )


def _loading(results: Results) -> Iterator[str]:
    """Yield Markdown that loads the first quantized variant."""
    ours = _ours(results)
    name = next((variant.name for variant in ours if variant.int8_nodes), ours[0].name)
    folder = json.dumps(one_line(name), ensure_ascii=False)
    yield "With `pip install sottovoce`, which needs no torch:"
    yield code_block(
        f"from sottovoce.runtime import load\n\ntranscriber = load({folder})\n"
        'print(transcriber.transcribe("speech.wav").text)',
        "python",
    )
    kind, recipe = _format(results), _quantize(results)
    is_plain = recipe.get("layout", Layout.STATELESS) == Layout.STATELESS and not recipe.get("elastic")
    if kind is Format.CTRANSLATE2:
        yield "In faster-whisper:"
        yield code_block(
            f'from faster_whisper import WhisperModel\n\nmodel = WhisperModel({folder}, device="cpu")',
            "python",
        )
    elif kind is Format.OPENVINO and is_plain:
        yield "In optimum-intel:"
        yield code_block(
            "from optimum.intel import OVModelForSpeechSeq2Seq\n\n"
            f"model = OVModelForSpeechSeq2Seq.from_pretrained({folder})",
            "python",
        )


def _limits(results: Results) -> Iterator[str]:
    dataset = results.dataset
    yield (
        f"Word errors were counted on {count(dataset.n_clips, 'clip')} ({duration(dataset.audio_s)}) of "
        f"{code(dataset.name)}; other speech, other figures."
    )
    yield (
        f"Speed is that of {code(results.host.cpu)} with {count(results.method.threads, 'thread')}; "
        "other machines have other instructions."
    )
    not_within = [c for c in results.comparisons if c.verdict.accuracy is not AccuracyVerdict.WITHIN]
    for comparison in not_within:
        margin = f"{100 * comparison.verdict.margin:g} points"
        is_beyond = comparison.verdict.accuracy is AccuracyVerdict.BEYOND
        loss = "loses more than" if is_beyond else "is not shown to stay within"
        yield f"{code(comparison.variant)} {loss} {margin} of WER."
    yield from (describe_drift(drift, name=code) for drift in results.side_effects)
    yield from describe_noise(results, name=code)
    if dataset.left_out:
        yield f"Left out before measuring: {count(len(dataset.left_out), 'clip')}."
