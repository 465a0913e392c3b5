"""The elastic encoder: dynamic audio context with cached padding states.

Whisper pads each clip to 30 s and encodes the padding too. With the speech alone, the decoder generates endless text,
because it was trained to see silence after the speech. So the encoder takes the speech and a short margin, and padding
states from a table in the variant are appended: the states that windows have behind their speech.

These states are similar in all windows. So the means of a few clusters replace all of them, if softmax counts each mean
as often as its cluster has positions: the logarithm of that number is added to its score.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import (
    FRAMES_PER_POSITION,
    FRAMES_PER_S,
    HOP_SAMPLES,
    POSITIONS_PER_S,
    WINDOW_FRAMES,
    WINDOW_POSITIONS,
)
from sottovoce.runtime.model.base import Encoded, States
from sottovoce.terms import ElasticSpec, MemoryUse

PADDING_STATES_NAME = "silence_states.safetensors"

STATES_RANK = 2

HEADER_LENGTH_BYTES = 8
"""Of a safetensors file, before its header: the length of the header, little-endian."""

NO_POSITION = 1e-30
"""Count of a state that softmax should ignore: its logarithm is finite, its share is nothing."""

COARSE_FRAMES = 1000
"""From here on buckets are twice as long: rounding up costs the same share of the work."""


LENGTH_FACTOR = 1.5
"""Between the lengths of little memory: 8 from 2 to 30 s instead of 20, so that the encoder takes about a seventh longer."""

SHORTEST_FRAMES = 200

LOW_MEMORY_COARSE = 2
"""Of the numbers of states for the decoder, in steps of `states_bucket_s`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticPlan:
    """How much of a window is encoded, and how much padding follows.

    Attributes:
        n_frames: frames of 10 ms to encode, even.
        n_positions: encoder positions that they give.
        n_padding: positions appended: padding states, or, in a variant with clusters, states that do not count.
    """

    n_frames: int
    n_positions: int
    n_padding: int

    def filled_to(self, n_positions: int) -> "ElasticPlan":
        """Return the plan with as much padding as makes a number of positions."""
        return replace(self, n_padding=n_positions - self.n_positions)


def plan_window(
    n_samples: int, spec: ElasticSpec, *, is_alone: bool = True, memory: MemoryUse = MemoryUse.NORMAL
) -> ElasticPlan:
    """Plan the encoding of a clip of at most 30 s.

    Args:
        n_samples: of the clip, 16 kHz.
        spec: margin, tails and buckets.
        is_alone: no other window is decoded with it.
        memory: low takes few lengths, whatever the buckets are.
    """
    wanted = -(-n_samples // HOP_SAMPLES) + round(spec.margin_s * FRAMES_PER_S)
    n_frames = _few_lengths(wanted) if memory is MemoryUse.LOW else _bucketed(wanted, spec)
    n_positions = n_frames // FRAMES_PER_POSITION
    tail_s = spec.tail_s if is_alone else spec.batch_tail_s
    least = n_positions + (0 if spec.silence_centroids else round(tail_s * POSITIONS_PER_S))
    coarse = LOW_MEMORY_COARSE if memory is MemoryUse.LOW else 1
    n_states = min(WINDOW_POSITIONS, _rounded_up(least, coarse * _positions_in(spec.states_bucket_s)))
    return ElasticPlan(n_frames=n_frames, n_positions=n_positions, n_padding=n_states - n_positions)


def _bucketed(wanted: int, spec: ElasticSpec) -> int:
    bucket = FRAMES_PER_POSITION * _positions_in(spec.bucket_s)
    return min(WINDOW_FRAMES, _rounded_up(wanted, bucket if wanted <= COARSE_FRAMES else 2 * bucket))


def _few_lengths(wanted: int) -> int:
    """Return the shortest length that holds the frames; each is 1.5 times as long as the next shorter one."""
    times = math.floor(
        math.log(WINDOW_FRAMES / max(SHORTEST_FRAMES, min(wanted, WINDOW_FRAMES)), LENGTH_FACTOR)
    )
    return _rounded_up(math.ceil(WINDOW_FRAMES / LENGTH_FACTOR**times), FRAMES_PER_POSITION)


def _in_order(stored: bytes) -> bytes:
    """Sort the keys in the header of safetensors, which come in an order by chance: the same states give the same file."""
    start = HEADER_LENGTH_BYTES
    end = start + int.from_bytes(stored[:start], "little")
    header = json.dumps(json.loads(stored[start:end]), sort_keys=True, separators=(",", ":")).encode()
    return stored[:start] + header.ljust(end - start) + stored[end:]


def _positions_in(bucket_s: float) -> int:
    return max(1, round(bucket_s * POSITIONS_PER_S))


def _rounded_up(number: int, bucket: int) -> int:
    return max(1, -(-number // bucket)) * bucket


FULL_WINDOW = ElasticPlan(n_frames=WINDOW_FRAMES, n_positions=WINDOW_POSITIONS, n_padding=0)


class PaddingStates:
    """Encoder states of the positions behind the speech, or the means of their clusters."""

    def __init__(
        self, spec: ElasticSpec, states: NDArray[np.float16], clusters: NDArray[np.uint8] | None
    ) -> None:
        self.spec = spec
        self.states = states
        self.clusters = clusters

    @classmethod
    def load(cls, folder: Path) -> "PaddingStates | None":
        """Read a variant's padding states; None if the variant is not elastic.

        Raises:
            InputError: the file is damaged.
        """
        from safetensors import SafetensorError, safe_open

        path = folder / PADDING_STATES_NAME
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="numpy") as stored:
                spec = _spec_of(stored.metadata())
                states = stored.get_tensor("states")
                clusters = None if spec.silence_centroids is None else stored.get_tensor("kinds")
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as cause:
            raise InputError(f"{path} holds no padding states: {cause}; make the variant again") from cause
        if states.ndim != STATES_RANK or len(states) != n_stored(spec):
            raise InputError(f"{path} holds padding states of shape {states.shape}; make the variant again")
        if clusters is not None and (clusters.shape != (WINDOW_POSITIONS,) or clusters.max() >= len(states)):
            raise InputError(f"{path} has a cluster without a state; make the variant again")
        return cls(spec, states, clusters)

    @staticmethod
    def save(
        folder: Path,
        spec: ElasticSpec,
        states: NDArray[np.float16],
        clusters: NDArray[np.uint8] | None = None,
    ) -> None:
        """Write padding states into a variant's folder.

        Args:
            folder: of the variant.
            spec: the variant's settings.
            states: float16, shape (n_stored(spec), d_model).
            clusters: the cluster of each position of a window, uint8, shape (1500,), stored as `kinds`; None without
                clusters.
        """
        from safetensors.numpy import save

        values = {name: getattr(spec, name) for name in ElasticSpec.__slots__}
        facts = {name: repr(value) for name, value in values.items() if value is not None}
        arrays = {"states": states} if clusters is None else {"states": states, "kinds": clusters}
        (folder / PADDING_STATES_NAME).write_bytes(_in_order(save(arrays, metadata=facts)))

    def append_to(self, encoded: States, plan: ElasticPlan) -> Encoded:
        """Append padding states to the encoded positions.

        Args:
            encoded: float32, shape (1, n_positions, d_model).
            plan: how many positions are encoded, and how much padding follows.
        """
        if self.clusters is None:
            end = plan.n_positions + plan.n_padding
            return Encoded(_joined(encoded, self.states[plan.n_positions : end]))
        nothing = np.zeros((plan.n_padding, self.states.shape[1]), dtype=self.states.dtype)
        states = _joined(encoded, np.concatenate([nothing, self.states]))
        return Encoded(states, _log_counts(plan, self.clusters, len(self.states))[None])


def n_stored(spec: ElasticSpec) -> int:
    """Return the number of states that a variant has."""
    return WINDOW_POSITIONS if spec.silence_centroids is None else spec.silence_centroids


def _joined(encoded: States, silence: NDArray[np.float16]) -> States:
    n_positions = encoded.shape[1]
    states = np.empty((1, n_positions + len(silence), encoded.shape[2]), dtype=np.float32)
    states[:, :n_positions] = encoded
    states[0, n_positions:] = silence
    return states


def _log_counts(plan: ElasticPlan, clusters: NDArray[np.uint8], n_clusters: int) -> NDArray[np.float32]:
    """Return the logarithm of the number of positions that each state counts for.

    Args:
        plan: of the window.
        clusters: the cluster of each position.
        n_clusters: number of clusters.

    Returns:
        Shape (n_positions + n_padding + n_clusters,): speech counts once, a cluster for its positions
        behind the speech.
    """
    silent = np.bincount(clusters[plan.n_positions :], minlength=n_clusters)
    counts = np.concatenate([np.ones(plan.n_positions), np.zeros(plan.n_padding), silent])
    log_counts: NDArray[np.float32] = np.log(np.maximum(counts, NO_POSITION)).astype(np.float32)
    return log_counts


def _spec_of(facts: Mapping[str, str]) -> ElasticSpec:
    """Read the settings; a setting that is None is not stored."""
    seconds = {name: float(facts[name]) for name in ElasticSpec.__slots__ if name != "silence_centroids"}
    centroids = facts.get("silence_centroids")
    return ElasticSpec(**seconds, silence_centroids=None if centroids is None else int(centroids))
