"""Run a Whisper's ONNX graphs with onnxruntime, without copying what does not change.

onnxruntime comes with the extra `onnx`; it is imported when an ONNX variant is loaded. Float nodes
compute in f32, whatever a variant asks for: its CPU kernels know nothing else on x86.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sottovoce.errors import InputError, MissingExtraError
from sottovoce.runtime.audio.features import Features
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.decoder import Encoded, Logits, States, TokenArray, uncounted
from sottovoce.runtime.model.layout import onnx_path
from sottovoce.runtime.model.onnx.graph_check import check_onnx
from sottovoce.terms import Component

FEATURES_NAME = "input_features"
TOKENS_NAME = "input_ids"
STATES_NAME = "encoder_hidden_states"
LOGITS_NAME = "logits"


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
    options.add_session_config_entry("session.force_spinning_stop", "0" if idle_threads_spin else "1")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as cause:
        told = " ".join(str(cause).split())[:200]
        raise InputError(f"{path} cannot be read: {told}; make the variant again") from cause


LOG_ERRORS = 3
"""onnxruntime's level of severity that keeps warnings about a graph from standard error."""


class OnnxEncoderGraph:
    """An encoder on onnxruntime."""

    def __init__(self, path: Path, compute: ComputeSpec) -> None:
        """Open an encoder."""
        self.compiled = open_session(path, compute)
        self.n_mels = int(self.compiled.get_inputs()[0].shape[1])

    def run(self, features: Features) -> States:
        """Encode frames; see `EncoderGraph`."""
        states: States = self.compiled.run(None, {FEATURES_NAME: features})[0]
        return states


class OnnxDecoder:
    """Two graphs; the second takes and returns keys and values, handed over without a copy."""

    can_continue = False

    def __init__(self, folder: Path, compute: ComputeSpec) -> None:
        """Open the first pass and the decoder with past."""
        self._first = open_session(onnx_path(folder, Component.DECODER), compute)
        self._steps = open_session(
            onnx_path(folder, Component.DECODER_WITH_PAST), compute, idle_threads_spin=True
        )
        self.compiled: Mapping[Component, Any] = {
            Component.DECODER: self._first,
            Component.DECODER_WITH_PAST: self._steps,
        }
        self._states: Any = None
        self._past: dict[str, Any] = {}
        self._rows: Sequence[int] | None = None

    def start(self, encoded: Encoded) -> None:
        """Forget everything; decode from encoder states from now on."""
        self._states = _shared(uncounted(encoded))
        self._past = {}
        self._rows = None

    def run(self, tokens: TokenArray, at: Sequence[int] | None = None) -> Logits:
        """Feed tokens that follow those fed before: any number at first, then one of each row."""
        given = {TOKENS_NAME: _shared(tokens)}
        if self._past:
            outputs = _outputs(self._steps, given | self._chosen_past())
        else:
            outputs = _outputs(self._first, given | {STATES_NAME: self._states})
        logits: Logits = outputs.pop(LOGITS_NAME).numpy()
        # Cross-attention's keys and values come from the first pass only, and stay.
        self._past |= {_past_name(name): value for name, value in outputs.items()}
        return logits if at is None else logits[:, list(at)]

    def select(self, rows: Sequence[int]) -> None:
        """Let row i continue what row `rows[i]` was fed."""
        self._rows = None if list(rows) == list(range(len(rows))) else rows

    def _chosen_past(self) -> dict[str, Any]:
        if self._rows is None:
            return self._past
        rows = list(self._rows)
        self._rows = None
        return {
            name: _shared(value.numpy()[rows]) if ".decoder." in name else value
            for name, value in self._past.items()
        }


def _outputs(session: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Run a session on values that stay where they are (`onnxruntime.OrtValue`)."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run_with_ort_values(names, given), strict=True))


def _shared(array: np.ndarray[Any, Any]) -> Any:
    """Wrap an array as an `onnxruntime.OrtValue` over the same memory, which it keeps alive."""
    import onnxruntime

    return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


def _past_name(name: str) -> str:
    return name.replace("present", "past_key_values", 1)
