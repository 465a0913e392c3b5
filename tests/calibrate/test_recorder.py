"""What is recorded, against the deep copies that optimum-intel itself would keep."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sottovoce.calibrate.recorder import Recorder, largest_difference
from sottovoce.calibrate.store import DecodedSequence, StepRebuilder
from sottovoce.reference_pipeline import OptimumPipeline
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.terms import Component
from tests.support.tones import tone

WAVES = (tone(1.0, pitch_hz=150), tone(4.0, pitch_hz=420))

Copies = dict[Component, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def copies(baseline: Path) -> Copies:
    """Collect every call of every component as optimum-intel's own quantization does."""
    from optimum.intel.openvino.quantization import InferRequestWrapper

    variant = OptimumPipeline.load(baseline, ComputeSpec())
    kept: Copies = {component: [] for component in Component}
    for component in Component:
        variant.wrap(component, lambda request, into=kept[component]: InferRequestWrapper(request, into))  # type: ignore[misc]
    for wave in WAVES:
        variant.transcribe(wave, "en")
    return kept


@pytest.fixture(scope="module")
def sequences(baseline: Path) -> tuple[DecodedSequence, ...]:
    variant = OptimumPipeline.load(baseline, ComputeSpec())
    recorder = Recorder(variant)
    taken: list[DecodedSequence] = []
    for wave in WAVES:
        variant.transcribe(wave, "en")
        taken += recorder.take()
    assert recorder.take() == ()
    return tuple(taken)


def array(value: Any) -> np.ndarray[Any, Any]:
    return (
        np.asarray(getattr(value, "data", value)) if hasattr(value, "get_element_type") else np.asarray(value)
    )


def test_a_sequence_is_recorded_for_each_wave(sequences: tuple[DecodedSequence, ...], copies: Copies) -> None:
    assert len(sequences) == len(WAVES) == len(copies[Component.ENCODER])
    steps = sum(sequence.token_ids.shape[1] - sequence.n_prompt for sequence in sequences)
    assert steps == len(copies[Component.DECODER_WITH_PAST]) > 10


def test_clips_that_were_encoded_before_are_recorded_as_those_that_are_encoded_one_by_one(
    baseline: Path, sequences: tuple[DecodedSequence, ...]
) -> None:
    variant = OptimumPipeline.load(baseline, ComputeSpec(), compile_all=False)
    encoded = [variant.encode(variant.features(wave)) for wave in WAVES]
    encoder = variant.free_encoder()
    recorder = Recorder(variant)
    for encoder.states, wave, expected in zip(encoded, WAVES, sequences, strict=True):
        variant.transcribe(wave, "en")
        (found,) = recorder.take()
        np.testing.assert_array_equal(found.features, expected.features)
        np.testing.assert_array_equal(found.encoder_states, expected.encoder_states)
        np.testing.assert_array_equal(found.token_ids, expected.token_ids)


def test_what_the_encoder_and_the_first_pass_received_is_recorded_bit_for_bit(
    sequences: tuple[DecodedSequence, ...], copies: Copies
) -> None:
    for sequence, encoder, decoder in zip(
        sequences, copies[Component.ENCODER], copies[Component.DECODER], strict=True
    ):
        np.testing.assert_array_equal(sequence.features, array(encoder["input_features"]))
        np.testing.assert_array_equal(sequence.encoder_states, array(decoder["encoder_hidden_states"]))
        np.testing.assert_array_equal(sequence.token_ids[:, : sequence.n_prompt], array(decoder["input_ids"]))


def test_every_rebuilt_step_is_the_step_that_was_taken(
    baseline: Path, sequences: tuple[DecodedSequence, ...], copies: Copies
) -> None:
    rebuild = StepRebuilder(baseline)
    rebuilt = [call for sequence in sequences for call in rebuild.steps(sequence)]
    for found, expected in zip(rebuilt, copies[Component.DECODER_WITH_PAST], strict=True):
        wanted = {name: array(value) for name, value in expected.items() if name in found}
        assert set(wanted) == set(found)
        np.testing.assert_array_equal(found["input_ids"], wanted["input_ids"])
        for name, values in found.items():
            np.testing.assert_allclose(values, wanted[name], atol=1e-4, err_msg=name)


def test_rebuilt_steps_have_all_inputs_of_the_model(
    baseline: Path, sequences: tuple[DecodedSequence, ...]
) -> None:
    import openvino

    model = openvino.Core().read_model(baseline / "openvino_decoder_with_past_model.xml")
    call = StepRebuilder(baseline).step(sequences[0], sequences[0].n_prompt)
    assert set(call) == {port.get_any_name() for port in model.inputs}


def test_detecting_a_language_is_a_sequence_without_steps(baseline: Path) -> None:
    variant = OptimumPipeline.load(baseline, ComputeSpec())
    recorder = Recorder(variant)
    variant.transcribe(WAVES[0], None)
    detection, transcript = recorder.take()
    assert detection.token_ids.shape[1] == detection.n_prompt
    assert transcript.token_ids.shape[1] > transcript.n_prompt


@pytest.mark.parametrize("language", ["en", None])
def test_a_prefill_is_recorded_as_the_beginning_of_the_transcript(
    baseline: Path, language: str | None
) -> None:
    variant = OptimumPipeline.load(baseline, ComputeSpec())
    recorder, features = Recorder(variant), variant.features(WAVES[0])
    variant.generate(features, language)
    transcribed = recorder.take()
    variant.prefill(features, language)
    for found, expected in zip(recorder.take(), transcribed, strict=True):
        assert found.n_prompt == found.token_ids.shape[1] == expected.n_prompt
        np.testing.assert_array_equal(found.token_ids, expected.token_ids[:, : expected.n_prompt])
        np.testing.assert_array_equal(found.encoder_states, expected.encoder_states)


def test_calls_with_other_names_or_shapes_differ_infinitely() -> None:
    one = {"a": np.zeros((1, 2), np.float32)}
    assert largest_difference(one, {"a": np.zeros((1, 3), np.float32)}) == float("inf")
    assert largest_difference(one, {"b": np.zeros((1, 2), np.float32)}) == float("inf")
    assert largest_difference(one, {"a": np.full((1, 2), 0.5, np.float32)}) == pytest.approx(0.5)
