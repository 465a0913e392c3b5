"""The keys of cross-attention are rounded once for each clip: the same values in fewer bytes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sottovoce.calibrate.store import CalibrationStore
from sottovoce.optimize.openvino.int8_cross_attention_cache import cache_int8_cross_attention
from sottovoce.optimize.openvino.quantize_graph import quantize_component
from sottovoce.recipes.recipe import ComponentQuantization, KeepFloat
from sottovoce.reference_pipeline import quiet_libraries, quiet_output
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import component_path
from sottovoce.terms import Component, Scheme

N_LAYERS = 2


def decoders(baseline: Path, record: Path, **changed: object) -> tuple[Any, Any]:
    """Read the float first pass and quantize the steps."""
    import openvino

    core = openvino.Core()
    first, steps = (
        core.read_model(component_path(baseline, part))
        for part in (Component.DECODER, Component.DECODER_WITH_PAST)
    )
    spec = ComponentQuantization.model_validate({"scheme": Scheme.W8A8} | changed)
    calls = CalibrationStore(record).calls(Component.DECODER_WITH_PAST, baseline)
    with quiet_libraries(), quiet_output():
        return first, quantize_component(steps, calls, spec, lambda: None)


def first_step_logits(baseline: Path, first: Any, steps: Any) -> NDArray[np.float32]:
    """Run a prompt, then one step on the keys and values of the first pass."""
    import openvino

    core = openvino.Core()
    prompt, step = (core.compile_model(model, "CPU", ComputeSpec().properties()) for model in (first, steps))
    width = json.loads((baseline / "config.json").read_text(encoding="utf-8"))["d_model"]
    states = np.random.default_rng(0).standard_normal((1, 1500, width)).astype(np.float32)
    handed = prompt({"input_ids": np.array([[1, 2]]), "encoder_hidden_states": states})
    past = {
        output.any_name.replace("present", "past_key_values"): handed[output]
        for output in prompt.outputs
        if output.any_name.startswith("present")
    }
    known = {name for each in step.inputs for name in each.get_names()}
    inputs = {"input_ids": np.array([[3]]), "encoder_hidden_states": states, **past}
    logits: NDArray[np.float32] = step({name: value for name, value in inputs.items() if name in known})[
        "logits"
    ]
    return logits


def test_a_step_computes_the_same_logits_from_cached_int8_keys(baseline: Path, record: Path) -> None:
    first, steps = decoders(baseline, record)
    before = first_step_logits(baseline, first, steps)
    assert cache_int8_cross_attention(first, steps) == N_LAYERS
    after = first_step_logits(baseline, first, steps)
    assert np.abs(after - before).max() < 0.02 * np.abs(before).max()
    assert first.output("present.0.encoder.key").get_element_type().get_type_name() == "i8"
    assert steps.input("past_key_values.0.encoder.key").get_element_type().get_type_name() == "i8"


def test_only_the_names_that_optimum_looks_for_are_there_afterwards(baseline: Path, record: Path) -> None:
    first, steps = decoders(baseline, record)
    before = [sorted(port.any_name for port in (*model.inputs, *model.outputs)) for model in (first, steps)]
    cache_int8_cross_attention(first, steps)
    after = [sorted(port.any_name for port in (*model.inputs, *model.outputs)) for model in (first, steps)]
    assert after == before


@pytest.mark.parametrize("scheme", ["kept float", "not quantized"])
def test_float_keys_stay_as_they_are(baseline: Path, record: Path, scheme: str) -> None:
    import openvino

    keep = KeepFloat(reason="test", types=("ScaledDotProductAttention",))
    first, steps = decoders(baseline, record, keep_float=(keep,))
    if scheme == "not quantized":
        steps = openvino.Core().read_model(component_path(baseline, Component.DECODER_WITH_PAST))
    assert cache_int8_cross_attention(first, steps) == 0
    assert first.output("present.0.encoder.key").get_element_type().get_type_name() == "f32"
