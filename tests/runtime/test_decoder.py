"""The split decoder against the graph that it was split from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino
import pytest

from sottovoce.errors import InputError
from sottovoce.runtime.model.base import Decoder, Encoded, stacked
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.elastic import NO_POSITION
from sottovoce.runtime.model.layout import component_path
from sottovoce.runtime.model.load import load_decoder
from sottovoce.runtime.model.openvino.split_decoder import split_decoder
from sottovoce.terms import Component, InferencePrecision

SHORT = ((5, 6, 7), (8,), (9,), (10,))

LONG = (tuple(range(5, 24)), (8,), (9,))
"""The prompt has 19 tokens: a stateful decoder pads it to 32, and forgets the padding."""


def states(batch: int = 1) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, 1500, 64)).astype(np.float32)


def whole_logits(
    folder: Path, fed: Sequence[tuple[int, ...]]
) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    path = component_path(folder, Component.DECODER)
    request = openvino.Core().compile_model(path, "CPU", ComputeSpec().properties()).create_infer_request()
    given = {"encoder_hidden_states": states(), "beam_idx": np.zeros(1, np.int32)}
    return [
        request.infer({**given, "input_ids": np.array([tokens], np.int64)})["logits"].copy() for tokens in fed
    ]


@pytest.mark.parametrize("fed", [SHORT, LONG])
@pytest.mark.parametrize("name", ["fp32", "fp32-stateful"])
def test_the_split_decoder_gives_the_logits_of_the_whole_one(
    tiny_run: Path, name: str, fed: Sequence[tuple[int, ...]]
) -> None:
    decoder = load_decoder(tiny_run / name, ComputeSpec())
    expected = whole_logits(tiny_run / "fp32-stateful", fed)
    for _ in range(2):  # a second start forgets the first
        given = states()
        decoder.start(Encoded(given))
        for tokens, logits in zip(fed, expected, strict=True):
            np.testing.assert_allclose(decoder.run(np.array([tokens])), logits, atol=2e-4)


@pytest.mark.parametrize("name", ["fp32", "fp32-stateful"])
def test_logits_are_given_for_the_tokens_in_at(tiny_run: Path, name: str) -> None:
    decoder = load_decoder(tiny_run / name, ComputeSpec())
    given, tokens = states(), np.array([LONG[0]])
    decoder.start(Encoded(given))
    every = decoder.run(tokens).copy()
    decoder.start(Encoded(given))
    np.testing.assert_allclose(decoder.run(tokens, at=(1, 3)), every[:, [1, 3]], atol=1e-4)


@pytest.mark.parametrize("name", ["fp32", "fp32-stateful"])
def test_a_choice_of_rows_holds_for_one_run(tiny_run: Path, name: str) -> None:
    decoder = load_decoder(tiny_run / name, ComputeSpec())
    given = np.repeat(states(), 2, axis=0)
    decoder.start(Encoded(given))
    decoder.run(np.array([[5, 6], [7, 8]]))
    decoder.select([1, 1])
    decoder.run(np.array([[9], [10]]))
    after = decoder.run(np.array([[11], [11]]))[:, -1].copy()
    for row, tokens in enumerate(((7, 8, 9), (7, 8, 10))):
        alone = states()
        decoder.start(Encoded(alone))
        decoder.run(np.array([tokens]))
        np.testing.assert_allclose(decoder.run(np.array([[11]]))[0, -1], after[row], atol=2e-4)


LAYOUTS = ("fp32", "fp32-stateful", "onnx")


@pytest.fixture(params=LAYOUTS)
def decoder(tiny_run: Path, tiny_onnx: Path, request: pytest.FixtureRequest) -> Decoder:
    folder = tiny_onnx if request.param == "onnx" else tiny_run / str(request.param)
    return load_decoder(folder, ComputeSpec())


PROMPT, DRAFT, REST = [[5, 6, 7]], [[8, 9, 10, 11]], [[12], [13]]


def test_a_draft_in_one_call_has_the_logits_of_its_tokens_one_by_one(decoder: Decoder) -> None:
    given = states()
    decoder.start(Encoded(given))
    decoder.run(np.array(PROMPT))
    expected = [decoder.run(np.array([[token]]))[:, -1].copy() for token in DRAFT[0]]
    decoder.start(Encoded(given))
    decoder.run(np.array(PROMPT))
    np.testing.assert_allclose(decoder.run(np.array(DRAFT)), np.stack(expected, axis=1), atol=2e-4)
    decoder.rewind(len(DRAFT[0]))
    np.testing.assert_allclose(decoder.run(np.array(DRAFT), at=(1, 3))[0, 1], expected[3][0], atol=2e-4)


@pytest.mark.parametrize("n_tokens", [0, 1, 3, 4])
def test_tokens_that_are_rewound_were_never_fed(decoder: Decoder, n_tokens: int) -> None:
    given = states()
    kept = DRAFT[0][: len(DRAFT[0]) - n_tokens]
    decoder.start(Encoded(given))
    decoder.run(np.array(PROMPT))
    for token in kept:
        decoder.run(np.array([[token]]))
    expected = [decoder.run(np.array([token])).copy() for token in REST]
    decoder.start(Encoded(given))
    decoder.run(np.array(PROMPT))
    decoder.run(np.array(DRAFT))
    decoder.rewind(n_tokens)
    for step, logits in zip(REST, expected, strict=True):
        np.testing.assert_allclose(decoder.run(np.array([step])), logits, atol=2e-4)


def test_a_decoder_can_be_rewound_to_its_start_and_again_and_again(decoder: Decoder) -> None:
    decoder.start(Encoded(states()))
    expected = decoder.run(np.array(PROMPT)).copy()
    after = decoder.run(np.array([[8]])).copy()
    decoder.rewind(4)
    np.testing.assert_allclose(decoder.run(np.array(PROMPT)), expected, atol=2e-4)
    for _ in range(3):
        np.testing.assert_allclose(decoder.run(np.array([[8]])), after, atol=2e-4)
        decoder.rewind(1)


def test_rows_of_a_batch_are_rewound_together(decoder: Decoder) -> None:
    decoder.start(Encoded(np.repeat(states(), 2, axis=0)))
    decoder.run(np.array([[5, 6], [7, 8]]))
    expected = decoder.run(np.array([[11], [12]])).copy()
    decoder.rewind(1)
    decoder.run(np.array([[9], [10]]))
    decoder.rewind(1)
    np.testing.assert_allclose(decoder.run(np.array([[11], [12]])), expected, atol=2e-4)


def test_more_tokens_than_were_fed_cannot_be_rewound(decoder: Decoder) -> None:
    decoder.start(Encoded(states()))
    decoder.run(np.array(PROMPT))
    with pytest.raises(ValueError, match="4 tokens cannot be forgotten, 3 were fed"):
        decoder.rewind(4)


def test_a_decoder_without_cross_attention_states_is_refused(tiny_run: Path) -> None:
    path = component_path(tiny_run / "fp32", Component.DECODER)
    model = openvino.Core().read_model(path)
    with pytest.raises(InputError, match="cross-attention"):
        split_decoder(model, InferencePrecision.F32)


COUNTS = np.array([[1, 3, 2, 40, 1], [7, 1, 1, 20, 5]])


def counted() -> Encoded:
    rng = np.random.default_rng(3)
    given = rng.standard_normal((2, COUNTS.shape[1], 64)).astype(np.float32)
    return Encoded(given, np.log(COUNTS).astype(np.float32))


def test_a_state_that_stands_for_many_positions_counts_as_often(tiny_run: Path) -> None:
    decoder = load_decoder(tiny_run / "fp32-stateful", ComputeSpec())
    decoder.start(counted())
    found = [decoder.run(np.array([tokens, tokens])).copy() for tokens in LONG]
    for row, counts in enumerate(COUNTS):
        decoder.start(Encoded(np.repeat(counted().row(row).states, counts, axis=1)))
        for step, logits in zip(LONG, found, strict=True):
            np.testing.assert_allclose(decoder.run(np.array([step]))[0], logits[row], atol=2e-4)


def test_a_state_that_stands_for_no_position_does_not_count(tiny_run: Path) -> None:
    decoder = load_decoder(tiny_run / "fp32-stateful", ComputeSpec())
    counts = counted().row(0)
    assert counts.log_counts is not None
    noise = np.random.default_rng(4).standard_normal((1, 4, 64)).astype(np.float32)
    nothing = np.full((1, 4), np.log(NO_POSITION), np.float32)
    padded = Encoded(
        np.concatenate([counts.states, noise], axis=1), np.concatenate([counts.log_counts, nothing], axis=1)
    )
    logits = []
    for encoded in (counts, padded):
        decoder.start(encoded)
        logits.append(decoder.run(np.array([[5, 6, 7]])).copy())
    np.testing.assert_allclose(logits[1], logits[0], atol=2e-4)


def test_windows_of_a_batch_keep_their_counts() -> None:
    rows = [counted().row(number) for number in (0, 1)]
    batch = stacked(rows)
    assert batch.log_counts is not None
    np.testing.assert_array_equal(batch.states, counted().states)
    np.testing.assert_array_equal(np.exp(batch.log_counts).round(), COUNTS)


def test_a_stateless_decoder_cannot_count(tiny_run: Path) -> None:
    decoder = load_decoder(tiny_run / "fp32", ComputeSpec())
    with pytest.raises(InputError, match="stateful decoder"):
        decoder.start(counted())
