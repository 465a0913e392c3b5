"""Run a Whisper encoder: the whole window, or only its speech."""

from pathlib import Path
from typing import Any, Protocol

from sottovoce.runtime.audio.features import Features
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.decoder import Encoded, States
from sottovoce.runtime.model.elastic import FULL_WINDOW, ElasticPlan, SilenceStates, plan_window
from sottovoce.runtime.model.layout import component_path, format_of
from sottovoce.runtime.model.openvino.memory import GraphFile
from sottovoce.terms import Component, Format


class EncoderGraph(Protocol):
    """An encoder's graph in the library that runs it."""

    compiled: Any
    """What the library made of it: `openvino.CompiledModel` or `onnxruntime.InferenceSession`."""
    n_mels: int
    """Mel bins of the features that it takes."""

    def run(self, features: Features) -> States:
        """Encode frames.

        Args:
            features: float32, shape (1, n_mels, n_frames).

        Returns:
            float32, shape (1, n_frames / 2, d_model); the graph's own memory, valid until the next call.
        """


class OpenVinoGraph:
    """An encoder on OpenVINO."""

    def __init__(self, file: GraphFile, compute: ComputeSpec) -> None:
        """Compile an encoder."""
        import openvino

        self._file = file
        self.compiled = openvino.Core().compile_model(file.read(), "CPU", compute.properties())
        self._request = self.compiled.create_infer_request()
        self._tensor = openvino.Tensor
        features = self.compiled.input("input_features").get_partial_shape()
        self.n_mels = int(features[1].get_length())

    def run(self, features: Features) -> States:
        """Encode frames."""
        self._request.set_input_tensor(self._tensor(features, shared_memory=True))
        self._request.infer()
        self._file.give_back()
        encoded: States = self._request.get_output_tensor().data
        return encoded


class Encoder:
    """A variant's encoder, elastic where the variant has silence states."""

    def __init__(self, graph: EncoderGraph, silence: SilenceStates | None) -> None:
        self._graph = graph
        self._silence = silence
        self.compiled = graph.compiled
        self.n_mels = graph.n_mels

    @classmethod
    def load(cls, folder: Path, compute: ComputeSpec) -> "Encoder":
        """Load a variant's encoder."""
        return cls(load_encoder_graph(folder, compute), SilenceStates.load(folder))

    @property
    def is_elastic(self) -> bool:
        """Whether it encodes the speech of a window only."""
        return self._silence is not None

    def plan(self, n_samples: int, *, is_alone: bool = True) -> ElasticPlan:
        """Plan the encoding of a clip of at most 30 s, decoded alone or with others."""
        if self._silence is None:
            return FULL_WINDOW
        return plan_window(n_samples, self._silence.spec, is_alone=is_alone)

    def encode(self, features: Features, plan: ElasticPlan) -> Encoded:
        """Encode a window.

        Args:
            features: float32, shape (1, n_mels, plan.n_frames).
            plan: what `plan` gave.

        Returns:
            A batch of one: the encoded positions, and what stands for the silence behind them.
        """
        encoded = self._graph.run(features)
        if self._silence is None:
            return Encoded(encoded.copy())
        return self._silence.behind(encoded, plan)


def load_encoder_graph(folder: Path, compute: ComputeSpec) -> EncoderGraph:
    """Load a variant's encoder in the library of its format."""
    path = component_path(folder, Component.ENCODER)
    if format_of(folder) is Format.ONNX:
        from sottovoce.runtime.model.onnx.session import OnnxEncoderGraph

        return OnnxEncoderGraph(path, compute)
    return OpenVinoGraph(GraphFile(path), compute)
