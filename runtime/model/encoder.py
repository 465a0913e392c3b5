"""Run a Whisper encoder: the whole window, or only its speech."""

from pathlib import Path

from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.audio.features import Features, log_mel
from sottovoce.runtime.model.base import Encoded, EncoderGraph, States
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.elastic import FULL_WINDOW, ElasticPlan, PaddingStates, plan_window
from sottovoce.runtime.model.load import load_encoder_graph
from sottovoce.runtime.model.variant import has_recorded_ranges
from sottovoce.terms import MemoryUse


class Encoder:
    """A variant's encoder for one stream, elastic where the variant has states of padding."""

    def __init__(
        self,
        graph: EncoderGraph,
        padding: PaddingStates | None,
        *,
        has_recorded_ranges: bool = False,
        memory: MemoryUse = MemoryUse.NORMAL,
    ) -> None:
        """Wrap a graph.

        Args:
            graph: of the encoder.
            padding: what stands for the silence behind the speech; None: the whole window is encoded.
            has_recorded_ranges: its INT8 activations have the ranges of calibration speech: audio of another level is
                scaled to the level of speech first.
            memory: how many lengths are encoded.
        """
        self._graph = graph
        self._padding = padding
        self._has_recorded_ranges = has_recorded_ranges
        self._memory = memory
        self.n_mels = graph.n_mels

    @classmethod
    def load(cls, folder: Path, compute: ComputeSpec) -> "Encoder":
        """Load a variant's encoder."""
        return cls(
            load_encoder_graph(folder, compute),
            PaddingStates.load(folder),
            has_recorded_ranges=has_recorded_ranges(folder),
            memory=compute.memory,
        )

    @property
    def is_elastic(self) -> bool:
        """Whether it encodes the speech of a window only."""
        return self._padding is not None

    def plan(self, n_samples: int, *, is_alone: bool = True) -> ElasticPlan:
        """Plan the encoding of a clip of at most 30 s, decoded alone or with others."""
        if self._padding is None:
            return FULL_WINDOW
        return plan_window(n_samples, self._padding.spec, is_alone=is_alone, memory=self._memory)

    def features(self, wave: Wave, plan: ElasticPlan) -> Features:
        """Return the features of a wave of at most 30 s: float32, shape (1, n_mels, plan.n_frames)."""
        return log_mel(
            wave, n_mels=self.n_mels, n_frames=plan.n_frames, to_ordinary_level=self._has_recorded_ranges
        )

    def encode(self, features: Features, plan: ElasticPlan) -> Encoded:
        """Encode a window.

        Args:
            features: of the window.
            plan: what `plan` gave.

        Returns:
            A batch of one: the encoded positions, and what stands for the silence behind them.
        """
        return self.padded(self.run(features), plan)

    def run(self, features: Features) -> States:
        """Encode frames; see `EncoderGraph.run`."""
        return self._graph.run(features)

    def give_back(self) -> None:
        """Free what the last call left; see `EncoderGraph.give_back`."""
        self._graph.give_back()

    def padded(self, states: States, plan: ElasticPlan) -> Encoded:
        """Return a copy of the encoded positions, with what stands for the silence behind them.

        Args:
            states: float32, shape (1, plan.n_positions, d_model).
            plan: what `plan` gave.
        """
        if self._padding is None:
            return Encoded(states.copy())
        return self._padding.append_to(states, plan)
