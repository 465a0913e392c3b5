"""Run a Whisper encoder with OpenVINO."""

from typing import Any

from sottovoce.runtime.audio.features import Features
from sottovoce.runtime.model.base import States
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.openvino.memory import GraphFile
from sottovoce.runtime.model.openvino.quiet_import import shared_core


class OpenVinoEncoderModel:
    """A compiled encoder; see `EncoderModel`."""

    def __init__(self, file: GraphFile, compute: ComputeSpec) -> None:
        """Compile an encoder."""
        self.file = file
        self.compiled = shared_core().compile_model(file.read(), "CPU", compute.properties())

    def session(self) -> "OpenVinoEncoderGraph":
        """Return an encoder for one stream."""
        return OpenVinoEncoderGraph(self)


class OpenVinoEncoderGraph:
    """A session of an encoder; see `EncoderGraph`."""

    def __init__(self, model: OpenVinoEncoderModel) -> None:
        import openvino

        self._file = model.file
        self._compiled = model.compiled
        self._request: Any = model.compiled.create_infer_request()
        self._tensor = openvino.Tensor
        features = model.compiled.input("input_features").get_partial_shape()
        self.n_mels = int(features[1].get_length())

    def run(self, features: Features) -> States:
        """Encode frames."""
        self._request.set_input_tensor(self._tensor(features, shared_memory=True))
        self._request.infer()
        self._file.give_back()
        encoded: States = self._request.get_output_tensor().data
        return encoded

    def give_back(self) -> None:
        """Free the buffers of the last call: 32 MB of base after 30 s."""
        self._compiled.release_memory()
