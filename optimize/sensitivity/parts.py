"""A model put together from an encoder and a decoder that lie in different folders."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from sottovoce.optimize.checks.teacher_forcing import TeacherSequence
from sottovoce.optimize.sensitivity.timing import Work
from sottovoce.runtime.audio.features import Features, log_mel
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.decoder import Decoder, Encoded, StatefulDecoder, StatelessDecoder
from sottovoce.runtime.model.elastic import ElasticPlan, SilenceStates
from sottovoce.runtime.model.encoder import Encoder, EncoderGraph
from sottovoce.runtime.model.layout import component_path, components_of
from sottovoce.runtime.model.openvino.memory import GraphFile
from sottovoce.terms import Component


class CachingEncoder(Encoder):
    """An encoder that encodes the same features once: the clips are the same for each block."""

    def __init__(self, graph: EncoderGraph, silence: SilenceStates | None) -> None:
        super().__init__(graph, silence)
        self._known: dict[bytes, Encoded] = {}

    def encode(self, features: Features, plan: ElasticPlan) -> Encoded:
        """Encode a window, or return what it gave before; not to be changed."""
        key = sha256(np.ascontiguousarray(features).data).digest()
        if key not in self._known:
            self._known[key] = super().encode(features, plan)
        return self._known[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """Where the parts of a model lie.

    Attributes:
        encoder: folder with the encoder, and with silence states where it is elastic.
        decoders: graphs of the stateful decoder, or of the first pass and the decoder with past.
    """

    encoder: Path
    decoders: tuple[Path, ...]

    @classmethod
    def of(cls, folder: Path) -> "ModelFiles":
        """Name the parts of a variant."""
        decoders = [part for part in components_of(folder) if part is not Component.ENCODER]
        return cls(encoder=folder, decoders=tuple(component_path(folder, part) for part in decoders))

    def load_encoder(self, compute: ComputeSpec) -> Encoder:
        """Load the encoder."""
        return Encoder.load(self.encoder, compute)

    def load_decoder(self, compute: ComputeSpec) -> Decoder:
        """Load the decoder."""
        files = [GraphFile(path) for path in self.decoders]
        return StatefulDecoder(files[0], compute) if len(files) == 1 else StatelessDecoder(files, compute)


def encoding(encoder: Encoder, clips: Sequence[TeacherSequence]) -> list[Work]:
    """Make the work of encoding each clip."""
    return [_encode_one(encoder, *_window(encoder, clip)) for clip in clips]


def decoding(decoder: Decoder, encoder: Encoder, clips: Sequence[TeacherSequence]) -> list[Work]:
    """Make the work of feeding each clip's tokens one by one, as decoding does, behind states of an encoder."""
    return [_decode_one(decoder, encoder.encode(*_window(encoder, clip)), clip) for clip in clips]


def both(first: Sequence[Work], second: Sequence[Work]) -> list[Work]:
    """Join pieces of work in pairs."""
    return [_one_after_another(*pair) for pair in zip(first, second, strict=True)]


def _one_after_another(first: Work, second: Work) -> Work:
    def work() -> None:
        first()
        second()

    return work


def _window(encoder: Encoder, clip: TeacherSequence) -> tuple[Features, ElasticPlan]:
    plan = encoder.plan(len(clip.wave))
    return log_mel(clip.wave, n_mels=encoder.n_mels, n_frames=plan.n_frames), plan


def _encode_one(encoder: Encoder, features: Features, plan: ElasticPlan) -> Work:
    return lambda: encoder.encode(features, plan)


def _decode_one(decoder: Decoder, encoded: Encoded, clip: TeacherSequence) -> Work:
    steps = [np.array([clip.prompt], dtype=np.int64)]
    steps += [np.array([[token]], dtype=np.int64) for token in clip.tokens[:-1]]

    def work() -> None:
        decoder.start(encoded)
        for tokens in steps:
            decoder.run(tokens)

    return work


def output_error(reference: Encoder, encoder: Encoder, clips: Sequence[TeacherSequence]) -> float:
    """Compare what two encoders give for the speech of clips, the states of silence behind it left out.

    Returns:
        Mean absolute error by mean absolute value, over all clips, as `fidelity.py` has it.
    """
    error = size = 0.0
    for clip in clips:
        features, plan = _window(reference, clip)
        expected = reference.encode(features, plan).states[:, : plan.n_positions]
        found = encoder.encode(features, plan).states[:, : plan.n_positions]
        error += float(np.abs(found - expected).mean())
        size += float(np.abs(expected).mean())
    return error / size
