"""Make an encoder elastic: any number of frames, and the states of silence behind them.

Cut to its speech, a window loses more than the padding: in each layer its positions can no longer attend to the
silence behind them, and what they attend to instead changes what the decoder hears. So each layer may keep some keys
and values of silence, computed once for each level of silence: the means of cells of positions, counted as
`runtime/elastic.py` counts states.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.calibrate.store import Call, Calls
from sottovoce.errors import StageError
from sottovoce.runtime.compute import ComputeSpec
from sottovoce.runtime.elastic import (
    NO_POSITION,
    WINDOW_POSITIONS,
    ElasticSpec,
    SilenceStates,
    plan_window,
    silence_cells,
)
from sottovoce.runtime.encoder import load_encoder_graph
from sottovoce.runtime.features import (
    DYNAMIC_RANGE_DECADES,
    HOP_SAMPLES,
    LOWEST_FEATURE,
    WINDOW_FRAMES,
    Features,
)

FLOORS = np.array([-1.5, -1.3, -1.1, -1.0, -0.9, -0.8, -0.7, -0.6, -0.5, -0.3], dtype=np.float32)
"""Feature values of silence. 157 clips of real speech had -1.11 to -0.50; -1.5 is digital silence."""

TABLE_RANK = 3
"""Of the position embedding: (1, 1500, d_model)."""

SILENCE_FLOOR = -0.8
"""Of the call of silence: what a clip of usual loudness has."""

FLOOR_TOLERANCE = 1e-6

SDPA = "ScaledDotProductAttention"

SCALE_PORT = 4


def make_elastic(model: Any, silence_cell_s: float | None = None) -> None:
    """Let an exported encoder take any even number of frames, in place.

    optimum-intel exports the encoder for 3,000 frames: its position embedding has 1,500 rows, and
    its reshapes name that number. Of 3,000 frames the elastic encoder makes what the exported one made.

    Args:
        model: `openvino.Model` with the input `input_features`, shape (batch, n_mels, 3000).
        silence_cell_s: seconds of silence that share a key in each layer; None lets the layers attend to the speech
            alone.

    Raises:
        StageError: the graph is not of the form that this version of optimum-intel exports.
    """
    exported = model.clone()
    reshaped = sum(_free_reshape(operation) for operation in model.get_ops())
    sliced = sum(_slice_positions(operation) for operation in model.get_ops())
    if sliced != 1 or reshaped == 0:
        raise StageError(
            f"encoder: found {sliced} position embeddings and {reshaped} fixed reshapes, want 1 and some; "
            "this version of optimum-intel is not supported"
        )
    shape = model.input("input_features").get_partial_shape()
    model.reshape({"input_features": [shape[0] if silence_cell_s is None else 1, shape[1], -1]})
    if silence_cell_s is not None:
        _attend_to_silence(model, keys_of_silence(exported, silence_cell_s), silence_cell_s)
    model.validate_nodes_and_infer_types()


def keys_of_silence(model: Any, cell_s: float) -> NDArray[np.float32]:
    """Compute each layer's keys and values of silence.

    Args:
        model: an exported encoder, `openvino.Model`; it is not changed.
        cell_s: seconds of silence that share a key.

    Returns:
        float32, shape (n_levels, 2 * n_layers, n_heads, n_cells, d_head): keys and values in turns, means over the
        positions of a cell.

    Raises:
        StageError: the graph has no attention of the form that this version of optimum-intel exports.
    """
    import openvino

    asked = model.clone()
    ports = [attention.input_value(port) for attention in _attentions(asked) for port in (1, 2)]
    if not ports:
        raise StageError("encoder: found no attention; this version of optimum-intel is not supported")
    asked.add_outputs(ports)
    compiled = openvino.Core().compile_model(asked, "CPU", ComputeSpec().properties())
    levels = []
    for window in _windows_of_silence(int(asked.input("input_features").get_partial_shape()[1].get_length())):
        outputs = list(compiled({"input_features": window}).values())[-len(ports) :]
        levels.append(np.stack([means_of_cells(output[0], cell_s) for output in outputs]))
    return np.stack(levels).astype(np.float32)


def means_of_cells(values: NDArray[np.float32], cell_s: float) -> NDArray[np.float32]:
    """Return the means of cells of silence.

    Args:
        values: of each position, float32, shape (..., 1500, width).
        cell_s: seconds of a cell.

    Returns:
        float32, shape (..., n_cells, width).
    """
    first, last = silence_cells(cell_s)
    sums = np.add.reduceat(values, first, axis=-2, dtype=np.float64)
    means: NDArray[np.float32] = (sums / (last - first)[:, None]).astype(np.float32)
    return means


def _attentions(model: Any) -> list[Any]:
    return [operation for operation in model.get_ordered_ops() if operation.get_type_name() == SDPA]


def _attend_to_silence(model: Any, keys: NDArray[np.float32], cell_s: float) -> None:
    """Put keys and values of silence behind those of each layer, as many as the window's rest weighs."""
    from openvino import opset13 as ops

    features = model.input("input_features").get_node()
    level = _level(features)
    attentions = _attentions(model)
    length = ops.gather(ops.shape_of(attentions[0].input_value(1)), np.array([2]), np.array(0))
    mask = _mask(length, cell_s)
    for layer, attention in enumerate(attentions):
        table = keys[:, 2 * layer : 2 * layer + 2]
        more = [
            ops.slice(
                ops.convert(ops.constant(table[:, kind].astype(np.float16)), "f32"),
                level,
                ops.add(level, np.array([1])),
                np.array([1]),
                np.array([0]),
            )
            for kind in (0, 1)
        ]
        key, value = (
            ops.concat([attention.input_value(port), silent], axis=2)
            for port, silent in zip((1, 2), more, strict=True)
        )
        elastic = ops.scaled_dot_product_attention(
            attention.input_value(0), key, value, mask, *_scale(attention), causal=False
        )
        elastic.set_friendly_name(attention.get_friendly_name())
        attention.output(0).replace(elastic.output(0))


def _scale(attention: Any) -> list[Any]:
    return [attention.input_value(SCALE_PORT)] if attention.get_input_size() > SCALE_PORT else []


def _level(features: Any) -> Any:
    """Return the place of the level of silence in a clip's features, as `runtime.features.mel_floor` tells it."""
    from openvino import opset13 as ops

    peak = ops.reduce_max(features, np.array([0, 1, 2]), keep_dims=False)
    floor = ops.maximum(
        ops.subtract(peak, np.float32(DYNAMIC_RANGE_DECADES / 4.0)), np.float32(LOWEST_FEATURE)
    )
    distance = ops.abs(ops.subtract(ops.constant(FLOORS), floor))
    nearest = ops.topk(distance, np.array(1), 0, "min", "value", index_element_type="i64")
    return nearest.output(1)


def _mask(length: Any, cell_s: float) -> Any:
    """Return what is added to scores: nothing to those of the speech, the logarithm of their number to the others.

    Args:
        length: positions of the speech, shape (1,).
        cell_s: seconds of silence that share a key.

    Returns:
        Shape (1, 1, 1, n_positions + n_keys).
    """
    from openvino import opset13 as ops

    first, last = (positions.astype(np.float32) for positions in silence_cells(cell_s))
    n_silent = ops.subtract(ops.constant(last), ops.maximum(ops.constant(first), ops.convert(length, "f32")))
    scores = ops.log(ops.maximum(n_silent, np.float32(NO_POSITION)))
    speech = ops.broadcast(np.float32(0), ops.concat([ops.constant(np.array([1, 1, 1])), length], axis=0))
    return ops.concat([speech, ops.unsqueeze(scores, np.array([0, 1, 2]))], axis=3)


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
    states = [encoder.run(window)[0].copy() for window in _windows_of_silence(encoder.n_mels)]
    if spec.silence_cell_s is not None:
        states = [means_of_cells(each, spec.silence_cell_s) for each in states]
    SilenceStates.save(folder, spec, FLOORS, np.stack(states).astype(np.float16))


def _windows_of_silence(n_mels: int) -> Iterator[Features]:
    """Yield a window of silence at each level, float32, shape (1, n_mels, 3000)."""
    return (np.full((1, n_mels, WINDOW_FRAMES), floor, dtype=np.float32) for floor in FLOORS)
