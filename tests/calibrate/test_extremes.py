"""The extremes of activations, against NNCF's own ranges and the steps as they are really run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sottovoce.calibrate.convergence import range_after
from sottovoce.calibrate.extremes import (
    constant_weight,
    measure_encoder,
    measure_steps,
    measured_clips,
    short_name,
    weighted_operations,
)
from sottovoce.calibrate.store import CalibrationStore
from sottovoce.optimize.openvino.quantize_graph import quantize_component
from sottovoce.recipes.recipe import ComponentQuantization
from sottovoce.reference_pipeline import quiet_libraries, quiet_output
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import component_path
from sottovoce.terms import Component, Scheme

LEVELS = 255


def quantized_ranges(baseline: Path, record: Path, alpha: float | None) -> dict[str, tuple[float, float]]:
    """Quantize the encoder with NNCF and read the range before each operation with a weight."""
    import openvino

    model = openvino.Core().read_model(component_path(baseline, Component.ENCODER))
    spec = ComponentQuantization(scheme=Scheme.W8A8, smooth_quant_alpha=alpha)
    calls = CalibrationStore(record).calls(Component.ENCODER, baseline)
    with quiet_libraries(), quiet_output():
        quantized = quantize_component(model, calls, spec, lambda: None)
    before = {o.get_friendly_name(): o.input_value(0).get_node() for o in weighted_operations(quantized)}
    return {
        short_name(name): (
            float(node.input_value(1).get_node().data),
            float(node.input_value(2).get_node().data),
        )
        for name, node in before.items()
        if node.get_type_name() == "FakeQuantize"
    }


def widened(low: float, high: float) -> tuple[float, float]:
    """Move one end until zero lies on a level, the one that widens the range, as NNCF does."""
    zero = round(LEVELS * -low / (high - low))
    if not 0 < zero < LEVELS:
        return low, high
    above = low * (zero - LEVELS) / zero
    below = high * zero / (zero - LEVELS)
    return (low, above) if above - low > high - below else (below, high)


@pytest.mark.parametrize("alpha", [None, 0.5, 0.8])
def test_encoder_ranges_are_those_that_nncf_sets(baseline: Path, record: Path, alpha: float | None) -> None:
    store = CalibrationStore(record)
    sequences = (store.read(entry) for entry in measured_clips(store.entries))
    inputs = measure_encoder(baseline, sequences, lambda: None)
    expected = quantized_ranges(baseline, record, alpha)
    compared = [tensor for tensor in inputs if tensor.name in expected]
    assert len(compared) >= 8
    for tensor in compared:
        low, high = expected[tensor.name]
        found = widened(*range_after(tensor, len(tensor.lows), alpha))
        assert found == pytest.approx((low, high), abs=0.1 * (high - low) / LEVELS), tensor.name


def test_one_pass_over_all_tokens_meets_the_extremes_of_the_steps(baseline: Path, record: Path) -> None:
    store = CalibrationStore(record)
    entries = measured_clips(store.entries)
    inputs = measure_steps(baseline, (store.read(entry) for entry in entries), lambda: None)
    stepped = run_steps(baseline, record)
    found = {tensor.name: (tensor.lows.min(axis=0), tensor.highs.max(axis=0)) for tensor in inputs}
    assert set(found) == set(stepped)
    for name, (lows, highs) in stepped.items():
        np.testing.assert_allclose(found[name][0], lows, atol=2e-3, err_msg=name)
        np.testing.assert_allclose(found[name][1], highs, atol=2e-3, err_msg=name)


def run_steps(baseline: Path, record: Path) -> dict[str, tuple[Any, Any]]:
    """Run every recorded step in the decoder with past, and keep what its operations receive."""
    import openvino

    core = openvino.Core()
    model = core.read_model(component_path(baseline, Component.DECODER_WITH_PAST))
    sources: dict[str, Any] = {}
    for operation in sorted(weighted_operations(model), key=lambda o: str(o.get_friendly_name())):
        if constant_weight(operation) is not None:
            source = operation.input_value(0)
            sources.setdefault(
                source.get_node().get_friendly_name(), (short_name(operation.get_friendly_name()), source)
            )
    cut = openvino.Model([source for _, source in sources.values()], model.get_parameters(), "steps")
    compiled = core.compile_model(cut, "CPU", ComputeSpec().properties())
    calls = CalibrationStore(record).calls(Component.DECODER_WITH_PAST, baseline)
    rows = [[np.array(value)[0, 0] for value in compiled(dict(call)).values()] for call in calls]
    return {
        name: (np.min([row[i] for row in rows], axis=0), np.max([row[i] for row in rows], axis=0))
        for i, (name, _) in enumerate(sources.values())
    }


def test_the_prompt_is_left_out_of_the_steps(baseline: Path, record: Path) -> None:
    store = CalibrationStore(record)
    entry = measured_clips(store.entries)[0]
    whole = store.read(entry)
    steps = measure_steps(baseline, iter([whole]), lambda: None)
    n_prompt = whole.n_prompt
    later = measure_steps(
        baseline,
        iter(
            [
                type(whole)(
                    **{f: getattr(whole, f) for f in ("features", "encoder_states", "token_ids")},
                    n_prompt=n_prompt + 1,
                )
            ]
        ),
        lambda: None,
    )
    assert all((a.highs >= b.highs).all() for a, b in zip(steps, later, strict=True))
    assert any((a.highs > b.highs).any() for a, b in zip(steps, later, strict=True))


def test_a_clip_whose_language_was_detected_counts_once(record: Path) -> None:
    entries = CalibrationStore(record).entries
    detected = entries[0].model_copy(update={"n_tokens": entries[0].n_prompt})
    assert measured_clips((detected, *entries)) == entries


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("__module.layers.3.fc2/aten::linear/MatMul", "layers.3.fc2"),
        ("__module.model.model.decoder.layers.0.fc1/aten::linear/MatMul", "layers.0.fc1"),
        ("__module.conv1/aten::_convolution/Convolution", "conv1"),
        ("MatMul_12", "MatMul_12"),
    ],
)
def test_names_are_shortened_to_their_layer(name: str, short: str) -> None:
    assert short_name(name) == short
