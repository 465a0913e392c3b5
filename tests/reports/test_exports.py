"""The comment for a pull request and the model card."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import Results
from sottovoce.cli.app import app
from sottovoce.reports.formats import ReportFormat
from sottovoce.reports.formats.comment import render_comment
from sottovoce.reports.formats.markdown import code, code_block
from sottovoce.reports.formats.model_card import render_model_card
from sottovoce.reports.report import make_report, write_report
from sottovoce.reports.sections.facts import repeat_command
from tests.support.detailed_results import build_detailed_sample
from tests.support.results import Sample

Save = Callable[[Results, tuple[ClipRow, ...], Path], Path]


@pytest.fixture(scope="module")
def sample() -> Sample:
    return build_detailed_sample()


@pytest.fixture(scope="module")
def comment(sample: Sample) -> str:
    return render_comment(sample.results, sample.rows)


@pytest.fixture(scope="module")
def card(sample: Sample) -> ModelCard:
    return ModelCard(render_model_card(sample.results, sample.rows))


def test_a_comment_has_verdict_table_and_host(comment: str) -> None:
    lines = comment.splitlines()
    assert lines[0] == "### `whisper-tiny.en`: speed and accuracy"
    assert lines[2].startswith(
        "**`int8`: 1.9x faster, 73\N{NO-BREAK SPACE}% smaller. Accuracy not proven: about "
    )
    assert "- `int8`: **faster, accuracy undecided**. `int8` is 1.9 times as fast as `fp32`" in comment
    assert any(line.startswith("| `int8` | **1.9** (1.8 to 2.0) |") for line in lines)
    assert "on `Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz` with 4 threads" in comment


def test_a_comment_folds_its_details(comment: str) -> None:
    assert comment.count("<details>") == comment.count("</details>") == 6
    assert comment.index("| Entry |") < comment.index("<details>")
    assert "`openvino-genai` was not measured" in comment


def test_a_comment_holds_the_command_that_repeats_it(sample: Sample, comment: str) -> None:
    command = repeat_command(sample.results)
    assert command == (
        "sottovoce benchmark RUN --data SPEECH --split test --limit 12 --variants fp16,int8 "
        "--engines sottovoce,faster-whisper:int8 --passes 3 --threads 4 --seed 0 --margin 0.5 "
        "--batch-sizes 1,4,8,16 --thread-sweep 1,2,4 --robustness clean,level-40,snr5 --self-check"
    )
    assert f"```sh\n{command}\n```" in comment


def test_the_command_that_repeats_it_is_valid(sample: Sample) -> None:
    import typer

    results = sample.results.model_copy(
        update={"method": sample.results.method.model_copy(update={"timing_clips": ("a",), "long": True})}
    )
    group: Any = typer.main.get_command(app)
    words = shlex.split(repeat_command(results))[2:]
    parsed = group.commands["benchmark"].make_context("benchmark", words, resilient_parsing=False)
    assert (parsed.params["timing_clips"], parsed.params["long"]) == (1, True)


def test_a_comment_says_when_there_is_nothing_to_compare(results: Results, rows: tuple[ClipRow, ...]) -> None:
    alone = results.model_copy(update={"variants": results.variants[:1], "comparisons": ()})
    text = render_comment(alone, rows)
    assert "Only `fp32` was measured: nothing to compare." in text
    assert "Changed transcripts" not in text


def test_a_notice_is_in_every_export(results: Results, rows: tuple[ClipRow, ...]) -> None:
    dataset = results.dataset.model_copy(update={"synthetic": True})
    demo = results.model_copy(update={"dataset": dataset})
    for text in (render_comment(demo, rows), render_model_card(demo, rows)):
        assert "> **Synthetic speech.** The demo speech is synthetic" in text


def test_the_hub_reads_the_metadata_of_a_model_card(card: ModelCard) -> None:
    assert card.data.library_name == "openvino"
    assert card.data.base_model == "openai/whisper-tiny.en"
    assert card.data.language == ["en"]
    assert card.data.pipeline_tag == "automatic-speech-recognition"
    assert {"whisper", "int8", "openvino"} <= set(card.data.tags or [])


def test_the_hub_reads_the_figures_of_a_model_card(sample: Sample, card: ModelCard) -> None:
    found = {result.metric_name: result for result in card.data.eval_results or []}
    int8 = sample.results.variant("int8")
    error_rate = found["WER in %, int8"]
    assert (error_rate.metric_type, error_rate.metric_value) == ("wer", round(100 * int8.wer, 2))
    assert found["RTFx (s of audio per s), int8"].metric_value == round(int8.rtfx, 2)
    assert (error_rate.dataset_name, error_rate.dataset_split) == ("speech", "test")
    assert not any("faster-whisper" in str(name) for name in found)


def test_a_model_card_has_use_loading_evaluation_and_limits(card: ModelCard) -> None:
    headings = [line for line in card.text.splitlines() if line.startswith("## ")]
    assert [heading[3:] for heading in headings] == [
        "Intended use",
        "How to load it",
        "Evaluation",
        "Limits",
        "How it was made",
    ]
    assert 'load("int8")' in card.text
    assert 'OVModelForSpeechSeq2Seq.from_pretrained("int8")' in card.text
    assert "`int8` is not shown to stay within 0.5 points of WER." in card.text


@pytest.mark.parametrize(
    ("quantize", "library", "loads", "does_not"),
    [
        ({"format": "ctranslate2"}, "ctranslate2", "WhisperModel(", "OVModel"),
        ({"format": "onnx"}, "onnx", "runtime import load", "OVModel"),
        ({"elastic": {"edges": 1}}, "openvino", "runtime import load", "OVModel"),
        ({"layout": "stateful"}, "openvino", "runtime import load", "OVModel"),
        ({"format": "of tomorrow"}, "openvino", "OVModel", "WhisperModel("),
    ],
)
def test_a_model_card_loads_a_variant_with_the_library_of_its_format(
    sample: Sample, quantize: dict[str, object], library: str, loads: str, does_not: str
) -> None:
    results = sample.results.model_copy(update={"recipe": {"quantize": quantize}})
    card = ModelCard(render_model_card(results, sample.rows))
    assert card.data.library_name == library
    assert loads in card.text
    assert does_not not in card.text


def test_a_model_of_unknown_origin_names_no_base_model(results: Results, rows: tuple[ClipRow, ...]) -> None:
    card = ModelCard(
        render_model_card(results.model_copy(update={"model": "whisper-tiny.en", "checkpoint": None}), rows)
    )
    assert card.data.base_model is None
    assert "base_model_relation" not in card.data.to_dict()


@pytest.mark.parametrize("kind", ReportFormat)
def test_the_same_results_give_the_same_bytes(
    kind: ReportFormat, sample: Sample, save: Save, tmp_path: Path
) -> None:
    folder = save(sample.results, sample.rows, tmp_path / "results")
    out = write_report(folder, tmp_path / kind.file_name, force=False, kind=kind)
    assert out.read_text(encoding="utf-8") == make_report(folder / "results.json", kind)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("int8", "`int8`"),
        ("a\n b", "`a b`"),
        ("a`b", "``a`b``"),
        ("`", "`` ` ``"),
        ("a|b", "`a\N{BROKEN BAR}b`"),
        ("", "`(empty)`"),
    ],
)
def test_a_code_span_holds_any_text(text: str, written: str) -> None:
    assert code(text) == written


def test_a_block_of_code_ends_where_it_should() -> None:
    assert code_block("a\n```\nb", "sh") == "````sh\na\n```\nb\n````"
