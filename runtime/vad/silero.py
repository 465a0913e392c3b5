"""Silero's voice activity network, run with OpenVINO.

frames of 512 samples -> 64 samples of context before each -> network -> probabilities
                                   LSTM state from block to block
"""

from collections.abc import Iterator
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.model.openvino.quiet_import import import_openvino, shared_core
from sottovoce.runtime.vad.frames import FRAME_SAMPLES, Framer, Frames, Probabilities
from sottovoce.runtime.vad.silero_weights import Weights, read_weights

_State = NDArray[np.float32]

CONTEXT_SAMPLES = 64
HOP_SAMPLES = 128
"""From one spectrum to the next; each frame has four."""

STRIDES = (1, 2, 2, 1)
"""Of the encoder's convolutions: the four spectra of a frame become one vector."""

STATE_SIZE = 128
STATE_SHAPE = (1, 1, STATE_SIZE)

# A minute of audio takes 50 ms on one thread; the other cores are left to the model that transcribes.
_PROPERTIES = {
    "INFERENCE_PRECISION_HINT": "f32",
    "EXECUTION_MODE_HINT": "ACCURACY",
    "INFERENCE_NUM_THREADS": "1",
    "NUM_STREAMS": "1",
}


class SileroVoiceActivity:
    """Detects speech with Silero's network, in one stream at a time.

    Source: snakers4/silero-vad 6 (MIT).
    """

    def __init__(self, request: Any, name: str, lock: "Lock | None" = None) -> None:
        self._request = request
        self._lock = lock or Lock()
        self.name = name
        self._framer = Framer()
        self.reset()

    @classmethod
    def load(cls) -> "SileroVoiceActivity":
        """Read the weights and compile the network.

        Raises:
            InputError: the weights are missing or damaged.
        """
        weights = read_weights()
        compiled = shared_core().compile_model(build_graph(weights.tensors), "CPU", _PROPERTIES)
        return cls(compiled.create_infer_request(), weights.name)

    def new_stream(self) -> "SileroVoiceActivity":
        """Return a detector for another stream, with the same compiled network: streams of several threads take turns."""
        return SileroVoiceActivity(self._request, self.name, self._lock)

    def probabilities(self, chunk: Wave, *, is_last: bool = False) -> Probabilities:
        """Return the probability of speech for each frame that the chunk completes; see `VoiceActivity`.

        The way in which the stream is cut into chunks changes only the rounding, by less than 1e-5.
        """
        found = [
            self._infer(batch)
            for frames in self._framer.blocks(chunk, is_last=is_last)
            for batch in _batches(self._with_context(frames))
        ]
        if is_last:
            self.reset()
        return np.concatenate([np.zeros(0, np.float32), *found])

    def reset(self) -> None:
        """Drop the stream: the incomplete frame, the context and the LSTM state."""
        self._framer.reset()
        self._context: Frames = np.zeros((1, CONTEXT_SAMPLES), np.float32)
        self._hidden: _State = np.zeros(STATE_SHAPE, np.float32)
        self._cell: _State = np.zeros(STATE_SHAPE, np.float32)

    def _with_context(self, frames: Frames) -> Frames:
        """Return frames, each after the last samples of its predecessor: shape (n_frames, 576)."""
        ends = frames[:, FRAME_SAMPLES - CONTEXT_SAMPLES :]
        contexts = np.concatenate([self._context, ends[:-1]])
        self._context = ends[-1:].copy()
        return np.concatenate([contexts, frames], axis=1)

    def _infer(self, frames: Frames) -> Probabilities:
        with self._lock:
            outputs = self._request.infer((frames, self._hidden, self._cell))
        probabilities: Probabilities
        probabilities, self._hidden, self._cell = (outputs[port] for port in range(3))
        return probabilities


def _batches(frames: Frames) -> Iterator[Frames]:
    """Split frames into batches of 512, 256, ... 1: OpenVINO keeps memory for every shape that it has run."""
    start = 0
    while start < len(frames):
        size = 1 << (len(frames) - start).bit_length() - 1
        yield frames[start : start + size]
        start += size


def build_graph(weights: Weights) -> Any:
    """Build the network as a graph that takes many frames of one stream at once.

    Inputs: frames with their context, shape (n_frames, 576); hidden and cell state, shape (1, 1, 128). Outputs:
    probabilities, shape (n_frames,); both states behind the last frame. All are float32.

    Returns:
        `openvino.Model`.

    Source: the network's definition in snakers4/silero-vad (MIT), `silero_vad_16k_sequence.onnx`.
    """
    openvino = import_openvino()
    from openvino import opset13 as ops

    n_samples = CONTEXT_SAMPLES + FRAME_SAMPLES
    frames = ops.parameter([-1, n_samples], np.float32, name="frames")
    states = [ops.parameter(STATE_SHAPE, np.float32, name=name) for name in ("hidden", "cell")]
    x = _encoder(ops, _magnitudes(ops, frames, weights), weights)
    # The frames are the steps of one sequence.
    x = ops.reshape(x, np.array([1, -1, STATE_SIZE]), special_zero=False)
    x, hidden, cell = _lstm(ops, x, states, weights).outputs()
    x = ops.matmul(
        ops.relu(x), weights["decoder.decoder.2.weight"].reshape(-1, 1), transpose_a=False, transpose_b=False
    )
    x = ops.sigmoid(ops.add(x, weights["decoder.decoder.2.bias"]))
    probabilities = ops.reshape(x, np.array([-1]), special_zero=False).output(0)
    return openvino.Model([probabilities, hidden, cell], [frames, *states], "silero")


def _magnitudes(ops: Any, frames: Any, weights: Weights) -> Any:
    """Return magnitudes of the short-time Fourier transform: shape (n_frames, 129, 4)."""
    padded = ops.pad(frames, np.array([0, 0]), np.array([0, CONTEXT_SAMPLES]), "reflect")
    basis = ops.constant(weights["stft.forward_basis_buffer"])
    spectra = ops.convolution(ops.unsqueeze(padded, np.array(1)), basis, [HOP_SAMPLES], [0], [0], [1])
    real, imaginary = ops.split(spectra, np.array(1), 2).outputs()
    return ops.sqrt(ops.add(ops.multiply(real, real), ops.multiply(imaginary, imaginary)))


def _encoder(ops: Any, x: Any, weights: Weights) -> Any:
    """Return one vector for each frame: shape (n_frames, 128, 1)."""
    for number, stride in enumerate(STRIDES):
        layer = f"encoder.{number}.reparam_conv"
        x = ops.convolution(x, ops.constant(weights[f"{layer}.weight"]), [stride], [1], [1], [1])
        x = ops.relu(ops.add(x, weights[f"{layer}.bias"].reshape(1, -1, 1)))
    return x


def _lstm(ops: Any, x: Any, states: list[Any], weights: Weights) -> Any:
    """Return the LSTM; its outputs have the shapes (1, 1, n_frames, 128), (1, 1, 128) and (1, 1, 128)."""
    n_frames = ops.gather(ops.shape_of(x), np.array([1]), np.array(0))
    of_input, of_state = (_in_order(weights[f"decoder.rnn.weight_{kind}"]) for kind in ("ih", "hh"))
    bias = _in_order(weights["decoder.rnn.bias_ih"] + weights["decoder.rnn.bias_hh"])
    return ops.lstm_sequence(x, *states, n_frames, of_input, of_state, bias, STATE_SIZE, "forward")


def _in_order(gates: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring gates from PyTorch's order (input, forget, cell, output) into OpenVINO's (forget, input, cell, output)."""
    of_input, of_forget, *others = np.split(gates, 4)
    return np.concatenate([of_forget, of_input, *others])[np.newaxis]
