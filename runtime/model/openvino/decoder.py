"""Run a Whisper decoder with OpenVINO, in either layout, without copying what does not change."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.runtime.model.base import (
    Encoded,
    Logits,
    States,
    TokenArray,
    mask_of,
    n_tokens_left,
    pad_tokens,
    past_name,
    plain_states,
)
from sottovoce.runtime.model.compute import ComputeSpec, usable_precision
from sottovoce.runtime.model.openvino.memory import GraphFile
from sottovoce.runtime.model.openvino.quiet_import import shared_core
from sottovoce.runtime.model.openvino.split_decoder import LOG_COUNTS_NAME, hand_over_in, split_decoder
from sottovoce.runtime.model.openvino.token_embedding import (
    EMBEDDINGS_NAME,
    TOKENS_NAME,
    TokenEmbedding,
    take_out_embedding,
)
from sottovoce.terms import Component, InferencePrecision, MemoryUse


class OutputLayerModel:
    """The output layer: exact for one window, in the variant's precision for several.

    One row takes as long in f32 as in any other precision, since all weights are read. Seven rows of base take 10.1 ms
    in f32, 6.1 in bf16 and 2.1 with activations quantized on the fly, which is as exact as bf16. The second graph is
    compiled when it is first needed, and never where memory is to be low.
    """

    def __init__(self, model: Any, compute: ComputeSpec) -> None:
        self._model = model
        self._compute = compute
        self._lock = Lock()
        self.exact = self._compile(
            replace(compute, precision=InferencePrecision.F32, dynamic_quantization_group_size=0)
        )
        self._quick: Any = None

    def quick(self) -> Any:
        """Return the graph for several windows (`openvino.CompiledModel`)."""
        if self._compute.memory is MemoryUse.LOW:
            return self.exact
        with self._lock:
            self._quick = self._quick or self._compile(self._compute)
            return self._quick

    def _compile(self, compute: ComputeSpec) -> Any:
        return shared_core().compile_model(self._model, "CPU", compute.properties())


class OutputLayer:
    """A session of the output layer."""

    def __init__(self, model: OutputLayerModel) -> None:
        self._model = model
        self._exact = model.exact.create_infer_request()

    @cached_property
    def _quick(self) -> Any:
        return self._model.quick().create_infer_request()

    def logits(self, hidden: Any) -> Logits:
        """Return logits of hidden states (`openvino.Tensor`), valid until the next call."""
        request = self._quick if hidden.shape[0] > 1 else self._exact
        request.set_input_tensor(hidden)
        request.infer()
        logits: Logits = request.get_output_tensor().data
        return logits


class StatefulDecoderModel:
    """One decoder on disk, compiled as three graphs; see `DecoderModel`."""

    def __init__(self, file: GraphFile, compute: ComputeSpec) -> None:
        """Read, split and compile a stateful decoder."""
        self.file = file
        split = split_decoder(file.read(), usable_precision(compute.precision))
        core = shared_core()
        self.cross = core.compile_model(split.cross, "CPU", compute.properties())
        self.steps = core.compile_model(split.steps, "CPU", compute.properties())
        self.output_layer = OutputLayerModel(split.head, compute)
        self.compiled: Mapping[Component, Any] = {Component.DECODER: self.steps}

    def session(self) -> "StatefulDecoder":
        """Return a decoder for one stream."""
        return StatefulDecoder(self)


class StatefulDecoder:
    """A session of a stateful decoder: OpenVINO keeps self-attention's keys and values in states of the request."""

    can_continue = True

    def __init__(self, model: StatefulDecoderModel) -> None:
        import openvino

        self._file = model.file
        self._tensor = openvino.Tensor
        self._cross = model.cross.create_infer_request()
        self._cross_names = _names(model.cross.outputs)
        self._steps = model.steps.create_infer_request()
        self._output_layer = OutputLayer(model.output_layer)
        self._one = np.zeros((1, 1), dtype=np.int64)
        self._one_tensor = openvino.Tensor(self._one, shared_memory=True)
        self._is_one = False
        self._rows = np.zeros(0, dtype=np.int32)
        self._n_fed = 0
        self._kept: tuple[Any, Any] | None = None

    def start(self, encoded: Encoded) -> None:
        """Forget all tokens; decode from encoder states from now on."""
        states, log_counts = encoded.states, mask_of(encoded)
        self._kept = (states, log_counts)  # alive: the tensors share their memory
        self._cross.set_input_tensor(self._tensor(states, shared_memory=True))
        self._cross.infer()
        self._file.give_back()
        self._steps.reset_state()
        self._n_fed = 0
        self._steps.set_tensor(LOG_COUNTS_NAME, self._tensor(log_counts, shared_memory=True))
        for name in self._cross_names:
            self._steps.set_tensor(name, self._cross.get_tensor(name))
        self._set_rows(np.arange(len(states), dtype=np.int32))

    def run(self, tokens: TokenArray, at: Sequence[int] | None = None) -> Logits:
        """Feed tokens that follow those fed before."""
        n_tokens = tokens.shape[1]
        if self._n_fed == 0:
            tokens = pad_tokens(tokens)
        if tokens.shape == (1, 1):
            self._feed_one(int(tokens[0, 0]))
        else:
            self._steps.set_tensor("input_ids", self._tensor(np.ascontiguousarray(tokens)))
            self._is_one = False
        self._steps.infer()
        self._n_fed += tokens.shape[1]
        self._set_rows(np.arange(len(tokens), dtype=np.int32))
        hidden = self._steps.get_output_tensor()
        n_padding = tokens.shape[1] - n_tokens
        if at is not None or n_padding:
            rows = range(n_tokens) if at is None else at
            hidden = self._tensor(np.ascontiguousarray(hidden.data[:, list(rows)]))
        self.rewind(n_padding)
        logits = self._output_layer.logits(hidden)
        if not self._is_one:
            self._file.give_back()
        return logits

    def rewind(self, n_tokens: int) -> None:
        """Forget the last tokens, as if they had not been fed."""
        n_left = n_tokens_left(self._n_fed, n_tokens)
        if n_left == 0:
            self._steps.reset_state()
        elif n_tokens:
            for state in self._steps.query_state():
                state.state = self._tensor(np.ascontiguousarray(state.state.data[:, :, :n_left]))
        self._n_fed = n_left

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


class StatelessDecoderModel:
    """Two graphs, of which the second takes and returns keys and values; see `DecoderModel`."""

    def __init__(self, files: Sequence[GraphFile], compute: ComputeSpec) -> None:
        """Compile the first pass and the decoder with past."""
        self.files = files
        precision = usable_precision(compute.precision)
        models = [file.read() for file in files]
        self.first_embedding, self.step_embedding = (
            take_out_embedding(model, in_bf16=precision is InferencePrecision.BF16) for model in models
        )
        handing_over = hand_over_in(precision, *models)
        core = shared_core()
        self.first, self.steps = (
            core.compile_model(model, "CPU", compute.properties()) for model in handing_over
        )
        self.compiled: Mapping[Component, Any] = {
            Component.DECODER: self.first,
            Component.DECODER_WITH_PAST: self.steps,
        }

    def session(self) -> "StatelessDecoder":
        """Return a decoder for one stream."""
        return StatelessDecoder(self)


class StatelessDecoder:
    """A session of a stateless decoder; keys and values are handed from step to step without a copy."""

    can_continue = False

    def __init__(self, model: StatelessDecoderModel) -> None:
        import openvino

        self._files = model.files
        self._tensor = openvino.Tensor
        self._first = model.first.create_infer_request()
        # Two requests take turns: the output of one is the input of the other, where it lies.
        self._steps = (model.steps.create_infer_request(), model.steps.create_infer_request())
        self._turn = 0
        self._past: Any = None
        self._n_fed = 0
        self._first_embedding, self._step_embedding = model.first_embedding, model.step_embedding
        self._takes_states = _has_input(model.steps, "encoder_hidden_states")
        self._cross = [name for name in _names(model.first.outputs) if ".encoder." in name]
        self._own = [name for name in _names(model.first.outputs) if ".decoder." in name]
        self._states: States | None = None
        self._rows: NDArray[np.int64] | None = None

    def start(self, encoded: Encoded) -> None:
        """Forget all tokens; decode from encoder states from now on."""
        self._states = plain_states(encoded)
        self._n_fed = 0
        self._rows = None
        for file in self._files:
            file.give_back()
        self._first.set_tensor("encoder_hidden_states", self._tensor(self._states, shared_memory=True))

    def run(self, tokens: TokenArray, at: Sequence[int] | None = None) -> Logits:
        """Feed tokens that follow those fed before."""
        if self._n_fed == 0:
            logits = self._run_first(tokens)
        elif tokens.shape[1] == 1:
            logits = self._run_step(tokens)
        else:
            steps = np.split(tokens, tokens.shape[1], axis=1)
            logits = np.concatenate([self._run_step(step).copy() for step in steps], axis=1)
        return logits if at is None else logits[:, list(at)]

    def rewind(self, n_tokens: int) -> None:
        """Forget the last tokens, as if they had not been fed."""
        self._n_fed = n_tokens_left(self._n_fed, n_tokens)

    def select(self, rows: Sequence[int]) -> None:
        """Let row i continue what row `rows[i]` was fed."""
        chosen = np.asarray(rows, dtype=np.int64)
        self._rows = None if np.array_equal(chosen, np.arange(len(chosen))) else chosen

    def _run_first(self, tokens: TokenArray) -> Logits:
        logits = self._infer(self._first, self._first_embedding, tokens)
        for request in self._steps:
            for name in self._cross:
                request.set_tensor(past_name(name), self._first.get_tensor(name))
            if self._takes_states:
                request.set_tensor("encoder_hidden_states", self._tensor(self._states, shared_memory=True))
        return logits

    def _run_step(self, tokens: TokenArray) -> Logits:
        request = self._steps[self._turn]
        self._turn = 1 - self._turn
        for name in self._own:
            request.set_tensor(past_name(name), self._kept_past(name))
        self._rows = None
        return self._infer(request, self._step_embedding, tokens)

    def _kept_past(self, name: str) -> Any:
        """Return keys or values of the last pass, less rows that nothing continues and tokens that were rewound."""
        past = self._past.get_tensor(name)
        if self._rows is None and past.shape[2] == self._n_fed:
            return past
        rows = slice(None) if self._rows is None else self._rows
        return self._tensor(np.ascontiguousarray(past.data[rows, :, : self._n_fed]))

    def _infer(self, request: Any, embedding: TokenEmbedding | None, tokens: TokenArray) -> Logits:
        request.set_tensor(TOKENS_NAME, self._tensor(np.ascontiguousarray(tokens)))
        if embedding is not None:
            request.set_tensor(EMBEDDINGS_NAME, self._tensor(embedding.rows(tokens)))
        request.infer()
        self._past = request
        self._n_fed += tokens.shape[1]
        logits: Logits = request.get_tensor("logits").data
        return logits


def _names(ports: Sequence[Any]) -> list[str]:
    return [port.any_name for port in ports]


def _has_input(compiled: Any, name: str) -> bool:
    return any(name in port.get_names() for port in compiled.inputs)
