"""A model whose encoder and decoders are in different folders."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from sottovoce.optimize.checks.teacher_forcing import TeacherSequence
from sottovoce.runtime.audio.features import Features
from sottovoce.runtime.model.base import Decoder, Encoded, EncoderGraph
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.elastic import ElasticPlan, PaddingStates
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.runtime.model.layout import component_path, components_of
from sottovoce.runtime.model.load import compile_decoder
from sottovoce.terms import Component


class CachingEncoder(Encoder):
    """An encoder that caches its outputs, since the clips are the same for each block."""

    def __init__(self, graph: EncoderGraph, padding: PaddingStates | None, **options: Any) -> None:
        super().__init__(graph, padding, **options)
        self._cache: dict[bytes, Encoded] = {}

    def encode(self, features: Features, plan: ElasticPlan) -> Encoded:
        """Encode a window, or return the cached states, which must not be changed."""
        key = sha256(np.ascontiguousarray(features).data).digest()
        if key not in self._cache:
            self._cache[key] = super().encode(features, plan)
        return self._cache[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """The files of a model.

    Attributes:
        encoder: folder with the encoder, and with padding states where it is elastic.
        decoders: graph of the stateful decoder, or graphs of the first pass and of the decoder with past.
    """

    encoder: Path
    decoders: tuple[Path, ...]

    @classmethod
    def of(cls, folder: Path) -> "ModelFiles":
        """Return the files of a variant."""
        decoders = [part for part in components_of(folder) if part is not Component.ENCODER]
        return cls(encoder=folder, decoders=tuple(component_path(folder, part) for part in decoders))

    def load_encoder(self, compute: ComputeSpec) -> Encoder:
        """Load the encoder."""
        return Encoder.load(self.encoder, compute)

    def load_decoder(self, compute: ComputeSpec) -> Decoder:
        """Load the decoder."""
        return compile_decoder(self.decoders, compute).session()


def window_of(encoder: Encoder, clip: TeacherSequence) -> tuple[Features, ElasticPlan]:
    """Return the features of a clip's window and its plan."""
    plan = encoder.plan(len(clip.wave))
    return encoder.features(clip.wave, plan), plan


def output_error(reference: Encoder, encoder: Encoder, clips: Sequence[TeacherSequence]) -> float:
    """Compare the outputs of two encoders for the speech of clips, without padding states.

    Returns:
        Mean absolute error divided by mean absolute value, over all clips, as in `fidelity.py`.
    """
    error = size = 0.0
    for clip in clips:
        features, plan = window_of(reference, clip)
        expected = reference.encode(features, plan).states[:, : plan.n_positions]
        found = encoder.encode(features, plan).states[:, : plan.n_positions]
        error += float(np.abs(found - expected).mean())
        size += float(np.abs(expected).mean())
    return error / size
