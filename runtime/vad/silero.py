"""Silero's voice activity network, run with OpenVINO.

    frames of 512 samples -> 64 samples of context before each -> network -> probabilities
                                       LSTM state from block to block

The weights come from a package that is installed and that is never imported: `silero-vad` (6.2.2 and
later) and `faster-whisper` (1.2.1 and later) ship the sixth version of the network as a graph that takes
many frames at once. Their other files hold the sample rate in If nodes, which OpenVINO does not read, or
take one frame at a time, which costs over ten times the time.
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
from sottovoce.runtime.vad.voice_activity import FRAME_SAMPLES, Framer, Frames, Probabilities

_State = NDArray[np.float32]

# Module, and where it keeps the graph. Silero's own package has the newer weights of the two.
_PLACES = (
    ("silero_vad", "data/silero_vad_16k_sequence.onnx"),
    ("faster_whisper", "assets/silero_vad_v6.onnx"),
)
_INPUTS, _OUTPUTS = frozenset({"input", "h", "c"}), frozenset({"speech_probs", "hn", "cn"})
_CONTEXT_SAMPLES = 64
_STATE_SHAPE = (1, 1, 128)

# One thread: a minute of audio costs it 50 ms, and other cores belong to the model that transcribes.
_PROPERTIES = {
    "INFERENCE_PRECISION_HINT": "f32",
    "EXECUTION_MODE_HINT": "ACCURACY",
    "INFERENCE_NUM_THREADS": "1",
    "NUM_STREAMS": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SileroSource:
    """Where weights of Silero's network are.

    Attributes:
        module: of the package that ships them.
        path: of the ONNX graph.
    """

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
    """Find a graph of Silero's network in the packages that are installed, importing none of them.

    Returns:
        The first found of `silero_vad` and `faster_whisper`; None where neither ships a graph that
        OpenVINO runs many frames at a time.
    """
    return next(_graphs(), None)


def _graphs() -> Iterator[SileroSource]:
    for module, place in _PLACES:
        spec = find_spec(module)
        for folder in (spec and spec.submodule_search_locations) or ():
            path = Path(folder, place)
            if path.is_file():
                yield SileroSource(module=module, path=path)


class SileroVoiceActivity:
    """Takes for speech what Silero's network does. One stream at a time.

    Source: snakers4/silero-vad 6 (MIT).
    """

    def __init__(self, request: Any, name: str) -> None:
        self._request = request
        self._name = name
        self._framer = Framer()
        self.reset()

    @classmethod
    def load(cls, source: SileroSource) -> "SileroVoiceActivity":
        """Compile the network.

        Raises:
            InputError: the file is no such graph.
        """
        return cls(_compile(source), source.name)

    def another(self) -> "SileroVoiceActivity":
        """Return one for another stream, with the same compiled network; not for another thread."""
        return SileroVoiceActivity(self._request, self._name)

    @property
    def name(self) -> str:
        """The network, and the package with its version that the weights are from."""
        return self._name

    def probabilities(self, chunk: Wave, *, is_last: bool = False) -> Probabilities:
        """Tell the probability of speech of each frame that the chunk completes; see `VoiceActivity`.

        How the stream is cut shows in the rounding only, under 1e-5.
        """
        heard = [
            self._hear(part)
            for frames in self._framer.blocks(chunk, is_last=is_last)
            for part in _parts(self._with_context(frames))
        ]
        if is_last:
            self.reset()
        return np.concatenate([np.zeros(0, np.float32), *heard])

    def reset(self) -> None:
        """Forget the stream: the samples that wait, the context and the LSTM state."""
        self._framer.reset()
        self._context: Frames = np.zeros((1, _CONTEXT_SAMPLES), np.float32)
        self._hidden: _State = np.zeros(_STATE_SHAPE, np.float32)
        self._cell: _State = np.zeros(_STATE_SHAPE, np.float32)

    def _with_context(self, frames: Frames) -> Frames:
        """Return frames behind the last samples of their predecessors, shape (n_frames, 576)."""
        ends = frames[:, FRAME_SAMPLES - _CONTEXT_SAMPLES :]
        contexts = np.concatenate([self._context, ends[:-1]])
        self._context = ends[-1:].copy()
        return np.concatenate([contexts, frames], axis=1)

    def _hear(self, frames: Frames) -> Probabilities:
        outputs = self._request.infer({"input": frames, "h": self._hidden, "c": self._cell})
        self._hidden, self._cell = outputs["hn"], outputs["cn"]
        probabilities: Probabilities = outputs["speech_probs"].reshape(-1)
        return probabilities


def _parts(frames: Frames) -> Iterator[Frames]:
    """Cut frames into parts of 512, 256, ... 1: OpenVINO keeps memory for every shape that it has seen."""
    start = 0
    while start < len(frames):
        size = 1 << (len(frames) - start).bit_length() - 1
        yield frames[start : start + size]
        start += size


def _compile(source: SileroSource) -> Any:
    import openvino

    core = openvino.Core()
    try:
        model = core.read_model(source.path)
    except RuntimeError as error:
        raise _unreadable(source, "OpenVINO cannot read it") from error
    inputs, outputs = (
        {name for port in ports for name in port.names} for ports in (model.inputs, model.outputs)
    )
    if not (inputs >= _INPUTS and outputs >= _OUTPUTS):
        raise _unreadable(source, f"it takes {sorted(inputs)} and gives {sorted(outputs)}")
    return core.compile_model(model, "CPU", _PROPERTIES).create_infer_request()


def _unreadable(source: SileroSource, reason: str) -> InputError:
    return InputError(
        f"{source.path} is no graph of Silero's network that sottovoce knows ({reason}); "
        f"install {source.module} anew, or a version that this sottovoce was tested with"
    )
