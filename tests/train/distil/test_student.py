"""Which layers a student has, and that it starts as its teacher without the others."""

from pathlib import Path

import pytest
import torch

from sottovoce.errors import InputError
from sottovoce.optimize.openvino.export import TorchWhisper
from sottovoce.train.distil.student import check_layers, kept_heads, make_student, spaced_layers


@pytest.mark.parametrize(
    ("n_layers", "n_kept", "layers"),
    [
        (6, 2, (0, 5)),
        (6, 3, (0, 2, 5)),
        (32, 2, (0, 31)),
        (32, 4, (0, 10, 21, 31)),
        (4, 1, (0,)),
        (2, 1, (0,)),
    ],
)
def test_layers_are_spaced_from_the_first_to_the_last(
    n_layers: int, n_kept: int, layers: tuple[int, ...]
) -> None:
    assert spaced_layers(n_layers, n_kept) == layers


@pytest.mark.parametrize("n_kept", [0, 6, 7])
def test_a_student_keeps_fewer_layers_than_there_are(n_kept: int) -> None:
    with pytest.raises(InputError, match="the decoder has 6 layers; a student keeps 1 to 5 of them"):
        spaced_layers(6, n_kept)


@pytest.mark.parametrize("layers", [(3, 1), (0, 0), (0, 6), ()])
def test_numbers_of_layers_are_in_order_and_exist(layers: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="give numbers from 0 to 5 in order, each once, such as 0,5"):
        check_layers(layers, 6)


def test_all_layers_are_no_student() -> None:
    with pytest.raises(InputError, match="a student has fewer"):
        check_layers((0, 1, 2), 3)


def test_alignment_heads_move_with_their_layers() -> None:
    heads = [[1, 0], [3, 2], [3, 5], [5, 1]]
    assert kept_heads(heads, (0, 3, 5), 8) == [[1, 2], [1, 5], [2, 1]]


def test_without_an_alignment_head_those_of_the_upper_half_are_taken() -> None:
    assert kept_heads([[1, 0]], (0, 3), 2) == [[1, 0], [1, 1]]


def test_a_student_computes_what_its_teacher_does_without_the_other_layers(tiny: Path) -> None:
    teacher = TorchWhisper(tiny).model.eval()
    student = make_student(teacher, (1,))
    states = torch.randn(1, 1500, teacher.config.d_model)
    tokens = torch.tensor([[1, 2, 3]])
    layers = teacher.model.decoder.layers
    with torch.inference_mode():
        found = student.model.decoder(input_ids=tokens, encoder_hidden_states=states).last_hidden_state
        del layers[0]
        layers[0].self_attn.layer_idx = layers[0].encoder_attn.layer_idx = 0
        expected = teacher.model.decoder(
            input_ids=tokens, encoder_hidden_states=states, use_cache=False
        ).last_hidden_state
    torch.testing.assert_close(found, expected)
    assert student.config.decoder_layers == 1
    assert student.get_output_embeddings().weight is student.model.decoder.embed_tokens.weight
