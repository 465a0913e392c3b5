"""Run a Whisper's ONNX graphs with onnxruntime, without copying what does not change.

onnxruntime comes with the extra `onnx`; it is imported when an ONNX variant is loaded. Float nodes
compute in f32, whatever a variant asks for: its CPU kernels know nothing else on x86.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import InputError, MissingExtraError
from sottovoce.runtime.audio.features import Features
from sottovoce.runtime.model.base import (
    Encoded,
    Logits,
    States,
    TokenArray,
    n_tokens_left,
    past_name,
    plain_states,
)
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import onnx_path
from sottovoce.runtime.model.onnx.graph_check import check_onnx
from sottovoce.terms import Component, MemoryUse

FEATURES_NAME = "input_features"
TOKENS_NAME = "input_ids"
STATES_NAME = "encoder_hidden_states"
LOGITS_NAME = "logits"


LOG_ERRORS = 3
"""onnxruntime's level of severity that keeps warnings about a graph from standard error."""


def open_session(path: Path, compute: ComputeSpec, *, idle_threads_spin: bool = False) -> Any:
    """Open a graph in onnxruntime (`onnxruntime.InferenceSession`).

    Args:
        path: of the `.onnx` file.
        compute: threads; of the precision only f32 is known.
        idle_threads_spin: let the session's threads wait for the next run actively. That serves a graph
            which runs again at once; others would take the cores from the graphs that follow.

    Raises:
        InputError: the file is missing or damaged, or has weights where they must not be.
        MissingExtraError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as cause:
        raise MissingExtraError("onnxruntime", needed_for="an ONNX variant", extra="onnx") from cause
    check_onnx(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = compute.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = LOG_ERRORS
    # Each run may have another length: a plan of memory made for one would be made again and again.
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = compute.memory is MemoryUse.NORMAL
    options.add_session_config_entry("session.force_spinning_stop", "0" if idle_threads_spin else "1")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as cause:
        message = " ".join(str(cause).split())[:200]
        raise InputError(f"{path} cannot be read: {message}; make the variant again") from cause


class OnnxEncoderModel:
    """An encoder on onnxruntime; see `EncoderModel`. Runs of one session do not disturb each other."""

    def __init__(self, path: Path, compute: ComputeSpec) -> None:
        """Open an encoder."""
        self.compiled = open_session(path, compute)
        self.n_mels = int(self.compiled.get_inputs()[0].shape[1])

    def session(self) -> "OnnxEncoderModel":
        """Return an encoder for one stream: this one, which keeps nothing between runs."""
        return self

    def run(self, features: Features) -> States:
        """Encode frames; see `EncoderGraph`."""
        states: States = self.compiled.run(None, {FEATURES_NAME: features})[0]
        return states

    def give_back(self) -> None:
        """Free nothing: runs leave no buffers where the session has no arena."""


class OnnxDecoderModel:
    """Two graphs, of which the second takes and returns keys and values; see `DecoderModel`."""

    def __init__(self, folder: Path, compute: ComputeSpec) -> None:
        """Open the first pass and the decoder with past."""
        first = open_session(onnx_path(folder, Component.DECODER), compute)
        steps = open_session(onnx_path(folder, Component.DECODER_WITH_PAST), compute, idle_threads_spin=True)
        self.compiled: Mapping[Component, Any] = {
            Component.DECODER: first,
            Component.DECODER_WITH_PAST: steps,
        }

    def session(self) -> "OnnxDecoder":
        """Return a decoder for one stream."""
        return OnnxDecoder(self)


class OnnxDecoder:
    """A session of a decoder; keys and values are handed from step to step without a copy."""

    can_continue = False

    def __init__(self, model: OnnxDecoderModel) -> None:
        self._first = model.compiled[Component.DECODER]
        self._steps = model.compiled[Component.DECODER_WITH_PAST]
        self._states: Any = None
        self._past: dict[str, Any] = {}
        self._n_fed = 0

    def start(self, encoded: Encoded) -> None:
        """Forget all tokens; decode from encoder states from now on."""
        self._states = _shared(plain_states(encoded))
        self._n_fed = 0

    def run(self, tokens: TokenArray, at: Sequence[int] | None = None) -> Logits:
        """Feed tokens that follow those fed before."""
        if self._n_fed == 0:
            self._past = {}
            logits = self._run(self._first, tokens, {STATES_NAME: self._states})
        else:
            steps = np.split(tokens, tokens.shape[1], axis=1)
            every = [self._run(self._steps, step, self._past) for step in steps]
            logits = every[0] if len(every) == 1 else np.concatenate(every, axis=1)
        return logits if at is None else logits[:, list(at)]

    def rewind(self, n_tokens: int) -> None:
        """Forget the last tokens, as if they had not been fed."""
        self._n_fed = n_tokens_left(self._n_fed, n_tokens)
        if n_tokens and self._n_fed:
            self._change_past(lambda values: values[:, :, : self._n_fed])

    def select(self, rows: Sequence[int]) -> None:
        """Let row i continue what row `rows[i]` was fed."""
        if list(rows) != list(range(len(rows))):
            self._change_past(lambda values: values[list(rows)])

    def _run(self, session: Any, tokens: TokenArray, given: Mapping[str, Any]) -> Logits:
        outputs = _outputs(session, {TOKENS_NAME: _shared(tokens), **given})
        self._n_fed += tokens.shape[1]
        logits: Logits = outputs.pop(LOGITS_NAME).numpy()
        # Cross-attention's keys and values come from the first pass only, and stay.
        self._past |= {past_name(name): value for name, value in outputs.items()}
        return logits

    def _change_past(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        """Change self-attention's keys and values."""
        self._past |= {
            name: _shared(change(value.numpy())) for name, value in self._past.items() if ".decoder." in name
        }


def _outputs(session: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Run a session on values that stay where they are (`onnxruntime.OrtValue`)."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run_with_ort_values(names, given), strict=True))


def _shared(array: np.ndarray[Any, Any]) -> Any:
    """Wrap an array as an `onnxruntime.OrtValue` over the same memory, which it keeps alive."""
    import onnxruntime

    return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
