"""The smallest and largest inputs of the operations with weights, for each clip.

The graph is cut down to reductions of these inputs, so that its outputs are small. The steps of the decoder are not run
one by one: one pass of the first-step decoder over all tokens gives the values of every step, because attention is
causal (see `store`).
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.calibrate.convergence import InputExtremes
from sottovoce.calibrate.store import DecodedSequence, SequenceEntry
from sottovoce.errors import StageError
from sottovoce.progress import Advance
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import component_path
from sottovoce.terms import Component

MAX_CLIPS = 256
"""Clips of a record that are measured: enough to see whether the ranges settle."""

WEIGHTED_OPERATIONS = ("Convolution", "GroupConvolution", "MatMul")

PASSING_OPERATIONS = ("Convert", "FakeQuantize", "Multiply", "Subtract", "Reshape", "Transpose")
"""Operations between a weight and the operation that uses it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Input:
    """A tensor that is the input of operations with a weight."""

    source: Any
    operations: tuple[Any, ...]

    @property
    def name(self) -> str:
        return min(short_name(operation.get_friendly_name()) for operation in self.operations)

    @property
    def channel_axis(self) -> int:
        """Convolutions have channels before time."""
        return 2 if self.operations[0].get_type_name() == "MatMul" else 1

    def weight_maxima(self) -> tuple[NDArray[np.float32], ...]:
        return tuple(
            maxima for operation in self.operations if (maxima := _weight_maxima(operation)) is not None
        )


def weighted_operations(model: Any) -> Iterator[Any]:
    """Yield the convolutions and matrix products of a graph."""
    return (operation for operation in model.get_ops() if operation.get_type_name() in WEIGHTED_OPERATIONS)


def constant_weight(operation: Any, port: int = 1) -> Any | None:
    """Return the constant behind an input, through scaling and conversion; None for an activation."""
    queue = deque([operation.input_value(port).get_node()])
    while queue:
        node = queue.popleft()
        if node.get_type_name() == "Constant":
            return node
        if node.get_type_name() in PASSING_OPERATIONS:
            queue.append(node.input_value(0).get_node())
    return None


def short_name(friendly_name: str) -> str:
    """Shorten `__module.model.decoder.layers.3.fc2/aten::linear/MatMul` to `layers.3.fc2`."""
    path = friendly_name.partition("/")[0].removeprefix("__module.").split(".")
    kept = [part for part in path if part not in {"model", "decoder", "encoder"}]
    return ".".join(kept) or friendly_name


def measured_clips(entries: Sequence[SequenceEntry]) -> tuple[SequenceEntry, ...]:
    """Return the transcript of each recorded clip, at most 256, without the sequences that detect a language."""
    transcripts = {entry.clip_id: entry for entry in entries}
    return tuple(transcripts.values())[:MAX_CLIPS]


def measure_encoder(
    baseline: Path, sequences: Iterator[DecodedSequence], advance: Advance
) -> tuple[InputExtremes, ...]:
    """Measure the extremes of the inputs of the encoder's operations for each sequence.

    Raises:
        StageError: the graph has no operation with a weight.
    """
    model, inputs = _cut(component_path(baseline, Component.ENCODER), skip_parameters=False)
    compiled = _compile(model, inputs, is_reduced=True)
    found = []
    for sequence in sequences:
        outputs = compiled({"input_features": sequence.features})
        found.append([np.array(outputs[i]).reshape(-1) for i in range(2 * len(inputs))])
        advance()
    return _join(inputs, found)


def measure_steps(
    baseline: Path, sequences: Iterator[DecodedSequence], advance: Advance
) -> tuple[InputExtremes, ...]:
    """Measure the extremes of the inputs of the decoder's operations in the steps of each sequence.

    Two kinds of inputs are left out: those of the prompt, whose first token has far larger values than any step, and
    the encoder's output, which no step computes.

    Raises:
        StageError: the graph has no operation with a weight.
    """
    model, inputs = _cut(component_path(baseline, Component.DECODER), skip_parameters=True)
    compiled = _compile(model, inputs, is_reduced=False)
    found = []
    for sequence in sequences:
        if sequence.token_ids.shape[1] > sequence.n_prompt:
            outputs = compiled(
                {"input_ids": sequence.token_ids, "encoder_hidden_states": sequence.encoder_states}
            )
            steps = [outputs[i][0, sequence.n_prompt :] for i in range(len(inputs))]
            found.append([part for step in steps for part in (step.min(axis=0), step.max(axis=0))])
        advance()
    return _join(inputs, found)


def _cut(path: Path, *, skip_parameters: bool) -> tuple[Any, tuple[_Input, ...]]:
    import openvino

    model = openvino.Core().read_model(path)
    groups: dict[tuple[str, int], list[Any]] = {}
    for operation in weighted_operations(model):
        source = operation.input_value(0)
        is_parameter = source.get_node().get_type_name() == "Parameter"
        if constant_weight(operation) is not None and not (is_parameter and skip_parameters):
            groups.setdefault((source.get_node().get_friendly_name(), source.get_index()), []).append(
                operation
            )
    if not groups:
        raise StageError(f"{path.name} has no matrix product with a weight; make the run again")
    inputs = tuple(
        _Input(source=group[0].input_value(0), operations=tuple(group)) for group in groups.values()
    )
    return model, tuple(sorted(inputs, key=lambda tensor: tensor.name))


def _compile(model: Any, inputs: Sequence[_Input], *, is_reduced: bool) -> Any:
    import openvino

    if is_reduced:
        outputs = [output for tensor in inputs for output in _reduced(tensor)]
    else:
        outputs = [tensor.source for tensor in inputs]
    cut = openvino.Model(outputs, model.get_parameters(), "extremes")
    return openvino.Core().compile_model(cut, "CPU", ComputeSpec().properties())


def _reduced(tensor: _Input) -> tuple[Any, Any]:
    from openvino import opset13 as ops

    time_axis = np.array([3 - tensor.channel_axis])
    return (
        ops.reduce_min(tensor.source, time_axis, keep_dims=False).output(0),
        ops.reduce_max(tensor.source, time_axis, keep_dims=False).output(0),
    )


def _join(
    inputs: Sequence[_Input], found: Sequence[Sequence[NDArray[np.float32]]]
) -> tuple[InputExtremes, ...]:
    return tuple(
        InputExtremes(
            name=tensor.name,
            operations=tuple(
                (operation.get_friendly_name(), operation.get_type_name()) for operation in tensor.operations
            ),
            lows=np.stack([extremes[2 * i] for extremes in found]),
            highs=np.stack([extremes[2 * i + 1] for extremes in found]),
            weight_maxima=tensor.weight_maxima(),
        )
        for i, tensor in enumerate(inputs)
    )


def _weight_maxima(operation: Any) -> NDArray[np.float32] | None:
    """Return the largest absolute weight of each input channel; None if NNCF does not apply SmoothQuant.

    NNCF skips convolutions, and weights that several operations use, such as those of the output layer.
    """
    constant = constant_weight(operation)
    if constant is None or operation.get_type_name() != "MatMul":
        return None
    if len(constant.output(0).get_target_inputs()) > 1:
        return None
    axis = 0 if operation.get_attributes()["transpose_b"] else 1
    maxima: NDArray[np.float32] = np.abs(constant.data).max(axis=axis).astype(np.float32)
    return maxima
