"""Run a Whisper decoder, in either layout, without copying what does not change.

The decoders on OpenVINO are here, that on onnxruntime in `onnx_session.py`. All are called the same
way: `start` gives the encoder's states, `run` feeds tokens and returns logits. What was fed before is
remembered until the next `start`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import InputError
from sottovoce.runtime.model.compute import ComputeSpec, usable_precision
from sottovoce.runtime.model.layout import component_path, format_of, layout_of
from sottovoce.runtime.model.openvino.memory import GraphFile
from sottovoce.runtime.model.openvino.split_decoder import LOG_COUNTS_NAME, hand_over_in, split_decoder
from sottovoce.terms import Component, Format, InferencePrecision, Layout

Logits = NDArray[np.float32]
States = NDArray[np.float32]
TokenArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a decoder attends to.

    Attributes:
        states: float32, shape (batch, n_states, d_model).
        log_counts: float32, shape (batch, n_states): natural logarithm of the number of positions that each state
            stands for, which is added to the scores of cross-attention; None where each stands for its own alone.
    """

    states: States
    log_counts: NDArray[np.float32] | None = None

    def row(self, number: int) -> "Encoded":
        """Return one window of the batch, as a batch of one."""
        one = slice(number, number + 1)
        return Encoded(self.states[one], None if self.log_counts is None else self.log_counts[one])


class Decoder(Protocol):
    """A decoder that remembers the tokens that it was fed."""

    compiled: Mapping[Component, Any]
    """What the library made of each component: `openvino.CompiledModel` or `onnxruntime.InferenceSession`."""
    can_continue: bool
    """Whether several tokens at once may follow the first pass."""

    def start(self, encoded: Encoded) -> None:
        """Forget everything; decode from encoder states from now on.

        Args:
            encoded: not copied, not to be changed until the first `run` is over.

        Raises:
            InputError: states stand for several positions, and the layout cannot count them.
        """

    def run(self, tokens: TokenArray, at: Sequence[int] | None = None) -> Logits:
        """Feed tokens that follow those fed before.

        Args:
            tokens: int64, shape (batch, n_tokens).
            at: the tokens whose logits are wanted; None takes all.

        Returns:
            float32, shape (batch, n_tokens or len(at), n_vocabulary); the decoder's own memory, valid until
            the next call, and free to be changed.
        """

    def select(self, rows: Sequence[int]) -> None:
        """Let row i continue what row `rows[i]` was fed, in the next `run` (beam search)."""


def load_decoder(folder: Path, compute: ComputeSpec) -> Decoder:
    """Load a variant's decoder in the library of its format."""
    if format_of(folder) is Format.ONNX:
        from sottovoce.runtime.model.onnx.session import OnnxDecoder

        return OnnxDecoder(folder, compute)
    if layout_of(folder) is Layout.STATEFUL:
        return StatefulDecoder(GraphFile(component_path(folder, Component.DECODER)), compute)
    parts = (Component.DECODER, Component.DECODER_WITH_PAST)
    return StatelessDecoder([GraphFile(component_path(folder, part)) for part in parts], compute)


class Heads:
    """The output layer: exact for one window, as the variant is told to compute for several.

    One row takes as long in f32 as in any other way, since all weights are read. Seven rows of base take 10.1 ms in f32,
    6.1 in bf16 and 2.1 with activations quantized on the fly, which is as exact as bf16. The second graph is compiled
    when it is first needed.
    """

    def __init__(self, model: Any, compute: ComputeSpec) -> None:
        self._model = model
        self._compute = compute
        self._exact = self._compile(
            replace(compute, precision=InferencePrecision.F32, dynamic_quantization_group_size=0)
        )
        self._quick: Any = None

    def logits(self, hidden: Any) -> Logits:
        """Return logits of hidden states (`openvino.Tensor`), valid until the next call."""
        request = self._exact
        if hidden.shape[0] > 1:
            self._quick = self._quick or self._compile(self._compute)
            request = self._quick
        request.set_input_tensor(hidden)
        request.infer()
        logits: Logits = request.get_output_tensor().data
        return logits

    def _compile(self, compute: ComputeSpec) -> Any:
        import openvino

        return openvino.Core().compile_model(self._model, "CPU", compute.properties()).create_infer_request()


class StatefulDecoder:
    """One decoder on disk, split into three graphs; keys and values never move."""

    can_continue = True

    def __init__(self, file: GraphFile, compute: ComputeSpec) -> None:
        """Read, split and compile a stateful decoder."""
        import openvino

        self._file = file
        split = split_decoder(file.read(), usable_precision(compute.precision))
        core = openvino.Core()
        cross = core.compile_model(split.cross, "CPU", compute.properties())
        steps = core.compile_model(split.steps, "CPU", compute.properties())
        self.compiled: Mapping[Component, Any] = {Component.DECODER: steps}
        self._tensor = openvino.Tensor
        self._cross = cross.create_infer_request()
        self._cross_names = _names(cross.outputs)
        self._steps = steps.create_infer_request()
        self._heads = Heads(split.head, compute)
        self._one = np.zeros((1, 1), dtype=np.int64)
        self._one_tensor = openvino.Tensor(self._one, shared_memory=True)
        self._is_one = False
        self._rows = np.zeros(0, dtype=np.int32)
        self._kept: tuple[Any, Any] | None = None

    def start(self, encoded: Encoded) -> None:
        """Forget everything; decode from encoder states from now on."""
        states, log_counts = encoded.states, mask_of(encoded)
        self._kept = (states, log_counts)  # alive: the tensors share their memory
        self._cross.set_input_tensor(self._tensor(states, shared_memory=True))
        self._cross.infer()
        self._file.give_back()
        self._steps.reset_state()
        self._steps.set_tensor(LOG_COUNTS_NAME, self._tensor(log_counts, shared_memory=True))
        for name in self._cross_names:
            self._steps.set_tensor(name, self._cross.get_tensor(name))
        self._set_rows(np.arange(len(states), dtype=np.int32))

    def run(self, tokens: TokenArray, at: Sequence[int] | None = None) -> Logits:
        """Feed tokens that follow those fed before."""
        if tokens.shape == (1, 1):
            self._feed_one(int(tokens[0, 0]))
        else:
            self._steps.set_tensor("input_ids", self._tensor(np.ascontiguousarray(tokens)))
            self._is_one = False
        self._steps.infer()
        self._set_rows(np.arange(len(tokens), dtype=np.int32))
        hidden = self._steps.get_output_tensor()
        if at is not None:
            hidden = self._tensor(np.ascontiguousarray(hidden.data[:, list(at)]))
        logits = self._heads.logits(hidden)
        if not self._is_one:
            self._file.give_back()
        return logits

    def select(self, rows: Sequence[int]) -> None:
        """Let row i continue what row `rows[i]` was fed, in the next `run`."""
        self._set_rows(np.asarray(rows, dtype=np.int32))

    def _feed_one(self, token: int) -> None:
        self._one[0, 0] = token
        if not self._is_one:
            self._steps.set_tensor("input_ids", self._one_tensor)
            self._is_one = True

    def _set_rows(self, rows: NDArray[np.int32]) -> None:
        if not np.array_equal(rows, self._rows):
            self._rows = rows
            self._steps.set_tensor("beam_idx", self._tensor(rows, shared_memory=True))


class StatelessDecoder:
    """Two graphs; the second takes and returns keys and values, handed over without a copy."""

    can_continue = False

    def __init__(self, files: Sequence[GraphFile], compute: ComputeSpec) -> None:
        """Compile the first pass and the decoder with past."""
        import openvino

        self._files = files
        models = hand_over_in(usable_precision(compute.precision), *(file.read() for file in files))
        core = openvino.Core()
        first, steps = (core.compile_model(model, "CPU", compute.properties()) for model in models)
        self.compiled: Mapping[Component, Any] = {
            Component.DECODER: first,
            Component.DECODER_WITH_PAST: steps,
        }
        self._tensor = openvino.Tensor
        self._first = first.create_infer_request()
        # Two requests take turns: the output of one is the input of the other, where it lies.
        self._steps = (steps.create_infer_request(), steps.create_infer_request())
        self._turn = 0
        self._past: Any = None
        self._takes_states = _has_input(steps, "encoder_hidden_states")
        self._cross = [name for name in _names(first.outputs) if ".encoder." in name]
        self._own = [name for name in _names(first.outputs) if ".decoder." in name]
        self._states: States | None = None
        self._rows: NDArray[np.int64] | None = None

    def start(self, encoded: Encoded) -> None:
        """Forget everything; decode from encoder states from now on."""
        self._states = uncounted(encoded)
        self._past = None
        self._rows = None
        for file in self._files:
            file.give_back()
        self._first.set_tensor("encoder_hidden_states", self._tensor(self._states, shared_memory=True))

    def run(self, tokens: TokenArray, at: Sequence[int] | None = None) -> Logits:
        """Feed tokens that follow those fed before."""
        request = self._first if self._past is None else self._prepare_step()
        request.set_tensor("input_ids", self._tensor(np.ascontiguousarray(tokens)))
        request.infer()
        if self._past is None:
            self._hand_over_cross()
        self._past = request
        logits: Logits = request.get_tensor("logits").data
        return logits if at is None else logits[:, list(at)]

    def select(self, rows: Sequence[int]) -> None:
        """Let row i continue what row `rows[i]` was fed."""
        chosen = np.asarray(rows, dtype=np.int64)
        self._rows = None if np.array_equal(chosen, np.arange(len(chosen))) else chosen

    def _prepare_step(self) -> Any:
        request = self._steps[self._turn]
        self._turn = 1 - self._turn
        for name in self._own:
            past = self._past.get_tensor(name)
            if self._rows is not None:
                past = self._tensor(np.ascontiguousarray(past.data[self._rows]))
            request.set_tensor(_past_name(name), past)
        self._rows = None
        return request

    def _hand_over_cross(self) -> None:
        for request in self._steps:
            for name in self._cross:
                request.set_tensor(_past_name(name), self._first.get_tensor(name))
            if self._takes_states:
                request.set_tensor("encoder_hidden_states", self._tensor(self._states, shared_memory=True))


def stacked(encoded: Sequence[Encoded]) -> Encoded:
    """Join windows of as many states each, all of one encoder, in one batch."""
    counts = [each.log_counts for each in encoded if each.log_counts is not None]
    states = np.concatenate([each.states for each in encoded])
    return Encoded(states, np.concatenate(counts) if counts else None)


def mask_of(encoded: Encoded) -> NDArray[np.float32]:
    """Return what is added to the scores of cross-attention, float32, shape (batch or 1, 1, 1, n_states)."""
    if encoded.log_counts is None:
        return np.zeros((1, 1, 1, encoded.states.shape[1]), dtype=np.float32)
    return encoded.log_counts[:, None, None, :]


def uncounted(encoded: Encoded) -> States:
    """Return states each of which stands for its own position.

    Raises:
        InputError: some stand for several.
    """
    if encoded.log_counts is not None:
        raise InputError("states of silence that stand for several positions need a stateful decoder")
    return encoded.states


def _past_name(name: str) -> str:
    return name.replace("present", "past_key_values", 1)


def _names(ports: Sequence[Any]) -> list[str]:
    return [port.any_name for port in ports]


def _has_input(compiled: Any, name: str) -> bool:
    return any(name in port.get_names() for port in compiled.inputs)
