"""A student: the encoder of its teacher, and a decoder of some of the teacher's layers.

Source: distil-whisper (Gandhi et al. 2023, arXiv:2311.00430), which copies layers that are spaced as far as possible.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from sottovoce.errors import InputError


def spaced_layers(n_layers: int, n_kept: int) -> tuple[int, ...]:
    """Choose layers that are spaced as far as possible: the first and the last among them.

    Args:
        n_layers: of the teacher's decoder.
        n_kept: of the student's.

    Raises:
        InputError: the teacher has not more of them.
    """
    if not 1 <= n_kept < n_layers:
        raise InputError(
            f"--layers {n_kept}: the decoder has {n_layers} layers; a student keeps 1 to {n_layers - 1} of them"
        )
    return tuple(int(place) for place in np.linspace(0, n_layers - 1, n_kept).round())


def check_layers(layers: Sequence[int], n_layers: int) -> tuple[int, ...]:
    """Check layers that were chosen by number.

    Args:
        layers: from 0, of the teacher's decoder.
        n_layers: that it has.

    Raises:
        InputError: a number is of no layer, one is given twice, they are not in order, or none is left out.
    """
    given = tuple(layers)
    if not given or list(given) != sorted(set(given)) or given[0] < 0 or given[-1] >= n_layers:
        raise InputError(
            f"--layers {','.join(map(str, given))}: give numbers from 0 to {n_layers - 1} in order, each once, such as "
            f"0,{n_layers - 1}"
        )
    if len(given) == n_layers:
        raise InputError("--layers names all layers of the decoder; a student has fewer")
    return given


def make_student(teacher: Any, layers: Sequence[int]) -> Any:
    """Make a student that shares the encoder, the embedding and the positions of its teacher.

    Args:
        teacher: `transformers.WhisperForConditionalGeneration`.
        layers: of its decoder that are copied, in order.
    """
    config = copy.deepcopy(teacher.config)
    config.decoder_layers = len(layers)
    student = type(teacher)(config)
    decoder, source = student.model.decoder, teacher.model.decoder
    for number, layer in enumerate(layers):
        decoder.layers[number].load_state_dict(source.layers[layer].state_dict())
    decoder.layer_norm.load_state_dict(source.layer_norm.state_dict())
    student.model.encoder = teacher.model.encoder
    decoder.embed_tokens = source.embed_tokens
    decoder.embed_positions = source.embed_positions
    student.proj_out = teacher.proj_out
    student.generation_config = copy.deepcopy(teacher.generation_config)
    heads = getattr(teacher.generation_config, "alignment_heads", None)
    if heads is not None:
        n_heads = teacher.config.decoder_attention_heads
        student.generation_config.alignment_heads = kept_heads(heads, layers, n_heads)
    return student.eval()


def kept_heads(heads: Sequence[Sequence[int]], layers: Sequence[int], n_heads: int) -> list[list[int]]:
    """Return the alignment heads of the layers that are kept, by the student's numbers of layers.

    Where none is kept, all heads of the upper half of the layers, as openai/whisper takes for models of unknown heads.

    Args:
        heads: pairs of a layer and a head in it.
        layers: that are kept.
        n_heads: of each layer.
    """
    place = {layer: number for number, layer in enumerate(layers)}
    kept = [[place[layer], head] for layer, head in heads if layer in place]
    upper = range(len(layers) // 2, len(layers))
    return kept or [[layer, head] for layer in upper for head in range(n_heads)]
