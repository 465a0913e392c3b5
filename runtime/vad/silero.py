"""Silero's voice activity network, run with OpenVINO.

    frames of 512 samples -> 64 samples of context before each -> network -> probabilities
                                       LSTM state from block to block

The weights are read from an installed package, which is never imported: `silero-vad` (6.2.2 and later) and
`faster-whisper` (1.2.1 and later) ship version 6 of the network as a graph that takes many frames at once.
Their other graphs choose the sample rate with If nodes, which OpenVINO does not read, or take one frame at a
time, which is over ten times slower.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import InputError
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.model.openvino.quiet_import import shared_core
from sottovoce.runtime.vad.frames import FRAME_SAMPLES, Framer, Frames, Probabilities

_State = NDArray[np.float32]

# Module, and path of its graph. Silero's own package has the newer weights.
_GRAPHS = (
    ("silero_vad", "data/silero_vad_16k_sequence.onnx"),
    ("faster_whisper", "assets/silero_vad_v6.onnx"),
)
_INPUTS, _OUTPUTS = frozenset({"input", "h", "c"}), frozenset({"speech_probs", "hn", "cn"})
_CONTEXT_SAMPLES = 64
_STATE_SHAPE = (1, 1, 128)

# A minute of audio takes 50 ms on one thread; the other cores are left to the model that transcribes.
_PROPERTIES = {
    "INFERENCE_PRECISION_HINT": "f32",
    "EXECUTION_MODE_HINT": "ACCURACY",
    "INFERENCE_NUM_THREADS": "1",
    "NUM_STREAMS": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SileroSource:
    """An ONNX graph of Silero's network, and the module of the package that ships it."""

    module: str
    path: Path

    @property
    def name(self) -> str:
        """The network, and the package with its version, such as `silero of faster_whisper 1.2.1`."""
        try:
            return f"silero of {self.module} {version(self.module)}"
        except PackageNotFoundError:
            return f"silero of {self.module}"


def find_silero() -> SileroSource | None:
    """Find a graph of Silero's network in the installed packages, without importing them.

    Returns:
        The graph of `silero_vad`, else of `faster_whisper`; None if neither ships one that takes many frames
        at once.
    """
    for module, name in _GRAPHS:
        spec = find_spec(module)
        for folder in (spec and spec.submodule_search_locations) or ():
            path = Path(folder, name)
            if path.is_file():
                return SileroSource(module=module, path=path)
    return None


class SileroVoiceActivity:
    """Detects speech with Silero's network, in one stream at a time.

    Source: snakers4/silero-vad 6 (MIT).
    """

    def __init__(self, request: Any, name: str) -> None:
        self._request = request
        self.name = name
        self._framer = Framer()
        self.reset()

    @classmethod
    def load(cls, source: SileroSource) -> "SileroVoiceActivity":
        """Compile the network.

        Raises:
            InputError: the file is not such a graph.
        """
        return cls(_compile(source), source.name)

    def new_stream(self) -> "SileroVoiceActivity":
        """Return a detector for another stream of the same thread, with the same compiled network."""
        return SileroVoiceActivity(self._request, self.name)

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
        self._context: Frames = np.zeros((1, _CONTEXT_SAMPLES), np.float32)
        self._hidden: _State = np.zeros(_STATE_SHAPE, np.float32)
        self._cell: _State = np.zeros(_STATE_SHAPE, np.float32)

    def _with_context(self, frames: Frames) -> Frames:
        """Return frames, each after the last samples of its predecessor: shape (n_frames, 576)."""
        ends = frames[:, FRAME_SAMPLES - _CONTEXT_SAMPLES :]
        contexts = np.concatenate([self._context, ends[:-1]])
        self._context = ends[-1:].copy()
        return np.concatenate([contexts, frames], axis=1)

    def _infer(self, frames: Frames) -> Probabilities:
        outputs = self._request.infer({"input": frames, "h": self._hidden, "c": self._cell})
        self._hidden, self._cell = outputs["hn"], outputs["cn"]
        probabilities: Probabilities = outputs["speech_probs"].reshape(-1)
        return probabilities


def _batches(frames: Frames) -> Iterator[Frames]:
    """Split frames into batches of 512, 256, ... 1: OpenVINO keeps memory for every shape that it has run."""
    start = 0
    while start < len(frames):
        size = 1 << (len(frames) - start).bit_length() - 1
        yield frames[start : start + size]
        start += size


def _compile(source: SileroSource) -> Any:
    core = shared_core()
    try:
        model = core.read_model(source.path)
    except RuntimeError as error:
        raise _not_silero(source, "OpenVINO cannot read it") from error
    inputs, outputs = (
        {name for port in ports for name in port.names} for ports in (model.inputs, model.outputs)
    )
    if not (inputs >= _INPUTS and outputs >= _OUTPUTS):
        raise _not_silero(source, f"its inputs are {sorted(inputs)}, its outputs {sorted(outputs)}")
    return core.compile_model(model, "CPU", _PROPERTIES).create_infer_request()


def _not_silero(source: SileroSource, cause: str) -> InputError:
    return InputError(
        f"{source.path} is not a supported graph of Silero's network ({cause}); reinstall {source.module}, or "
        "install a version that sottovoce was tested with"
    )
