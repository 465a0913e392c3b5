"""The split decoder against the graph that it was split from."""

from pathlib import Path

import numpy as np
import openvino
import pytest

from sottovoce.errors import InputError
from sottovoce.runtime.compute import ComputeSpec
from sottovoce.runtime.decoder import load_decoder
from sottovoce.runtime.layout import component_path
from sottovoce.runtime.split import split_decoder
from sottovoce.terms import Component, InferencePrecision

TOKENS = ((5, 6, 7), (8,), (9,), (10,))


def states(batch: int = 1) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, 1500, 64)).astype(np.float32)


def whole_logits(folder: Path) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    path = component_path(folder, Component.DECODER)
    request = openvino.Core().compile_model(path, "CPU", ComputeSpec().properties()).create_infer_request()
    given = {"encoder_hidden_states": states(), "beam_idx": np.zeros(1, np.int32)}
    return [
        request.infer({**given, "input_ids": np.array([tokens], np.int64)})["logits"].copy()
        for tokens in TOKENS
    ]


@pytest.mark.parametrize("name", ["fp32", "fp32-stateful"])
def test_the_split_decoder_gives_the_logits_of_the_whole_one(tiny_run: Path, name: str) -> None:
    decoder = load_decoder(tiny_run / name, ComputeSpec())
    expected = whole_logits(tiny_run / "fp32-stateful")
    for _ in range(2):  # a second start forgets the first
        given = states()
        decoder.start(given)
        for tokens, logits in zip(TOKENS, expected, strict=True):
            np.testing.assert_allclose(decoder.run(np.array([tokens])), logits, atol=2e-4)


@pytest.mark.parametrize("name", ["fp32", "fp32-stateful"])
def test_logits_are_given_for_the_tokens_that_are_asked_for(tiny_run: Path, name: str) -> None:
    decoder = load_decoder(tiny_run / name, ComputeSpec())
    given, tokens = states(), np.array([[5, 6, 7, 8]])
    decoder.start(given)
    every = decoder.run(tokens).copy()
    decoder.start(given)
    np.testing.assert_allclose(decoder.run(tokens, at=(1, 3)), every[:, [1, 3]], atol=1e-4)


@pytest.mark.parametrize("name", ["fp32", "fp32-stateful"])
def test_a_choice_of_rows_holds_for_one_run(tiny_run: Path, name: str) -> None:
    decoder = load_decoder(tiny_run / name, ComputeSpec())
    given = np.repeat(states(), 2, axis=0)
    decoder.start(given)
    decoder.run(np.array([[5, 6], [7, 8]]))
    decoder.select([1, 1])
    decoder.run(np.array([[9], [10]]))
    after = decoder.run(np.array([[11], [11]]))[:, -1].copy()
    for row, tokens in enumerate(((7, 8, 9), (7, 8, 10))):
        alone = states()
        decoder.start(alone)
        decoder.run(np.array([tokens]))
        np.testing.assert_allclose(decoder.run(np.array([[11]]))[0, -1], after[row], atol=2e-4)


def test_a_decoder_without_cross_attention_states_is_refused(tiny_run: Path) -> None:
    path = component_path(tiny_run / "fp32", Component.DECODER)
    model = openvino.Core().read_model(path)
    with pytest.raises(InputError, match="cross-attention"):
        split_decoder(model, InferencePrecision.F32)
