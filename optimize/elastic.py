"""Make an encoder elastic: any number of frames, and the states of silence behind them."""

from pathlib import Path
from typing import Any

import numpy as np

from sottovoce.errors import StageError
from sottovoce.runtime.elastic import WINDOW_POSITIONS, ElasticSpec, SilenceStates
from sottovoce.runtime.features import WINDOW_FRAMES

FLOORS = np.round(np.arange(-1.5, 0.05, 0.1), 1).astype(np.float32)
"""Feature values of silence: -1.5 for a digital silence, 0 for a clip whose peak fills the scale."""


TABLE_RANK = 3
"""Of the position embedding: (1, 1500, d_model)."""


def make_elastic(model: Any) -> None:
    """Let an exported encoder take any even number of frames, in place.

    optimum-intel exports the encoder for 3,000 frames: its position embedding has 1,500 rows, and
    its reshapes name that number.

    Args:
        model: `openvino.Model` with the input `input_features`, shape (batch, n_mels, 3000).

    Raises:
        StageError: the graph is not of the form that this version of optimum-intel exports.
    """
    reshaped = sum(_free_reshape(operation) for operation in model.get_ops())
    sliced = sum(_slice_positions(operation) for operation in model.get_ops())
    if sliced != 1 or reshaped == 0:
        raise StageError(
            f"encoder: found {sliced} position embeddings and {reshaped} fixed reshapes, want 1 and some; "
            "this version of optimum-intel is not supported"
        )
    shape = model.input("input_features").get_partial_shape()
    model.reshape({"input_features": [shape[0], shape[1], -1]})


def _free_reshape(operation: Any) -> bool:
    """Replace the fixed length in a reshape by -1; tell whether there was one."""
    if operation.get_type_name() != "Reshape":
        return False
    from openvino import opset13 as ops

    target = operation.input_value(1).get_node()
    if target.get_type_name() != "Constant" or WINDOW_POSITIONS not in target.data.tolist():
        return False
    free = np.where(target.data == WINDOW_POSITIONS, -1, target.data)
    operation.input(1).replace_source_output(ops.constant(free).output(0))
    return True


def _slice_positions(operation: Any) -> bool:
    """Cut the position embedding to the length of what it is added to; tell whether this was it."""
    if operation.get_type_name() != "Add":
        return False
    for port in (0, 1):
        table = operation.input_value(port)
        shape = table.get_partial_shape()
        is_table = len(shape) == TABLE_RANK and shape[0] == 1 and shape[1] == WINDOW_POSITIONS
        if is_table and _is_constant(table.get_node()):
            _insert_slice(operation, port)
            return True
    return False


def _is_constant(node: Any) -> bool:
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")


def _insert_slice(add: Any, port: int) -> None:
    from openvino import opset13 as ops

    other = add.input_value(1 - port)
    length = ops.gather(ops.shape_of(other), np.array([1]), np.array(0))
    cut = ops.slice(add.input_value(port), np.array([0]), length, np.array([1]), np.array([1]))
    add.input(port).replace_source_output(cut.output(0))


def compute_silence_states(encoder: Any, spec: ElasticSpec) -> SilenceStates:
    """Encode pure silence at each level.

    Args:
        encoder: compiled encoder (`openvino.CompiledModel`) of the variant itself.
        spec: stored with the states.
    """
    n_mels = encoder.input(0).get_partial_shape()[1].get_length()
    states = [
        encoder(np.full((1, n_mels, WINDOW_FRAMES), floor, dtype=np.float32))[0][0].astype(np.float16)
        for floor in FLOORS
    ]
    return SilenceStates(spec, FLOORS, np.stack(states))


def add_silence_states(folder: Path, encoder: Any, spec: ElasticSpec) -> None:
    """Write the silence states of a variant's encoder into its folder."""
    compute_silence_states(encoder, spec).save(folder)
