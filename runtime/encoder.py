"""Run a Whisper encoder on OpenVINO: the whole window, or only its speech."""

from pathlib import Path

import numpy as np

from sottovoce.runtime.compute import ComputeSpec
from sottovoce.runtime.decoder import States
from sottovoce.runtime.elastic import FULL_WINDOW, ElasticPlan, SilenceStates, plan_window
from sottovoce.runtime.features import Features, mel_floor
from sottovoce.runtime.layout import component_path
from sottovoce.runtime.memory import GraphFile
from sottovoce.terms import Component


class Encoder:
    """A variant's encoder, elastic where the variant has silence states."""

    def __init__(self, file: GraphFile, compute: ComputeSpec, silence: SilenceStates | None) -> None:
        import openvino

        self._file = file
        self.compiled = openvino.Core().compile_model(file.read(), "CPU", compute.properties())
        self._request = self.compiled.create_infer_request()
        self._tensor = openvino.Tensor
        self._silence = silence
        features = self.compiled.input("input_features").get_partial_shape()
        self.n_mels = int(features[1].get_length())

    @classmethod
    def load(cls, folder: Path, compute: ComputeSpec) -> "Encoder":
        """Compile a variant's encoder."""
        file = GraphFile(component_path(folder, Component.ENCODER))
        return cls(file, compute, SilenceStates.load(folder))

    @property
    def is_elastic(self) -> bool:
        """Whether it encodes the speech of a window only."""
        return self._silence is not None

    def plan(self, n_samples: int) -> ElasticPlan:
        """Plan the encoding of a clip of at most 30 s."""
        return FULL_WINDOW if self._silence is None else plan_window(n_samples, self._silence.spec)

    def encode(self, features: Features, plan: ElasticPlan) -> States:
        """Encode a window.

        Args:
            features: float32, shape (1, n_mels, plan.n_frames).
            plan: what `plan` gave.

        Returns:
            float32, shape (1, n_positions + n_silent, d_model).
        """
        self._request.set_input_tensor(self._tensor(features, shared_memory=True))
        self._request.infer()
        self._file.give_back()
        encoded: States = self._request.get_output_tensor().data
        if self._silence is None or plan.n_silent == 0:
            return encoded.copy()
        states = np.empty((1, plan.n_positions + plan.n_silent, encoded.shape[2]), dtype=np.float32)
        states[:, : plan.n_positions] = encoded
        states[0, plan.n_positions :] = self._silence.behind(plan, mel_floor(features))
        return states
