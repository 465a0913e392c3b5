"""Make an encoder elastic: any number of frames, and the states of silence behind them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sottovoce.calibrate.store import Call, Calls
from sottovoce.errors import StageError
from sottovoce.runtime.compute import ComputeSpec
from sottovoce.runtime.elastic import WINDOW_POSITIONS, ElasticSpec, SilenceStates, plan_window
from sottovoce.runtime.encoder import load_encoder_graph
from sottovoce.runtime.features import HOP_SAMPLES, WINDOW_FRAMES, Features

FLOORS = np.array([-1.5, -1.3, -1.1, -1.0, -0.9, -0.8, -0.7, -0.6, -0.5, -0.3], dtype=np.float32)
"""Feature values of silence. 157 clips of real speech had -1.11 to -0.50; -1.5 is digital silence."""

TABLE_RANK = 3
"""Of the position embedding: (1, 1500, d_model)."""

SILENCE_FLOOR = -0.8
"""Of the call of silence: what a clip of usual loudness has."""

FLOOR_TOLERANCE = 1e-6


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


def elastic_calls(calls: Calls, spec: ElasticSpec) -> Calls:
    """Cut recorded encoder calls to the frames that an elastic encoder receives, and add one of silence.

    Args:
        calls: with `input_features`, float32, shape (1, n_mels, 3000).
        spec: margin and bucket.
    """

    def make() -> Iterator[Call]:
        for call in calls:
            yield {"input_features": _cut(call["input_features"], spec)}
        shape = next(iter(calls))["input_features"].shape
        yield {"input_features": np.full(shape, SILENCE_FLOOR, dtype=np.float32)}

    return Calls(length=len(calls) + 1, make=make)


def _cut(features: Features, spec: ElasticSpec) -> Features:
    """Leave out the frames behind the speech that hold what silence holds."""
    floor = features.min()
    loud = np.flatnonzero((features[0] > floor + FLOOR_TOLERANCE).any(axis=0))
    n_frames = int(loud[-1]) + 1 if loud.size else 0
    plan = plan_window(n_frames * HOP_SAMPLES, spec)
    return np.ascontiguousarray(features[:, :, : plan.n_frames])


def add_silence_states(folder: Path, spec: ElasticSpec, compute: ComputeSpec) -> None:
    """Encode pure silence at each level and write the states into the variant's folder.

    Args:
        folder: of the variant, in either format.
        spec: stored with the states.
        compute: what the variant is to run in.
    """
    encoder = load_encoder_graph(folder, compute)
    windows = (np.full((1, encoder.n_mels, WINDOW_FRAMES), floor, dtype=np.float32) for floor in FLOORS)
    states = [encoder.run(window)[0].astype(np.float16) for window in windows]
    SilenceStates.save(folder, spec, FLOORS, np.stack(states))
