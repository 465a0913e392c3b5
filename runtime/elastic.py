"""The elastic encoder's plan: encode the speech, append what silence would have given.

Whisper pads each clip to 30 s and encodes the padding too. Encoding only the speech makes the
decoder run on: it was trained to see silence after it. So the encoder gets the speech and a short
margin, and the states that the encoder gives for pure silence at the positions behind are appended,
from a table made once for each level of silence. The decoder sees what it was trained to see.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import InputError
from sottovoce.runtime.features import FRAMES_PER_S, HOP_SAMPLES, WINDOW_FRAMES

SILENCE_NAME = "silence_states.safetensors"

STATES_RANK = 3

FRAMES_PER_POSITION = 2
"""The encoder's second convolution has stride 2."""

WINDOW_POSITIONS = WINDOW_FRAMES // FRAMES_PER_POSITION

POSITIONS_PER_S = FRAMES_PER_S // FRAMES_PER_POSITION

COARSE_FRAMES = 1000
"""From here on buckets are twice as long: rounding up costs the same share of the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticPlan:
    """How much of a window is encoded, and how much silence follows.

    Attributes:
        n_frames: frames of 10 ms to encode, even.
        n_positions: encoder positions that they give.
        n_silent: positions of silence appended.
    """

    n_frames: int
    n_positions: int
    n_silent: int

    def filled_to(self, n_positions: int) -> "ElasticPlan":
        """Return the plan with as much silence behind it as makes a number of positions."""
        return replace(self, n_silent=n_positions - self.n_positions)


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticSpec:
    """The settings of an elastic variant.

    Attributes:
        margin_s: seconds of padding encoded behind the speech.
        tail_s: seconds of silence states appended, at least, to a window decoded alone.
        batch_tail_s: the same where several windows are decoded together.
        bucket_s: encoded lengths are rounded up to a multiple, above 10 s to one of twice as much.
        states_bucket_s: as much silence more is appended as makes a multiple.

    OpenVINO keeps kernels, and 5 to 10 MB, for each length that it meets; the buckets keep them few.
    """

    margin_s: float
    tail_s: float
    batch_tail_s: float
    bucket_s: float
    states_bucket_s: float


def plan_window(n_samples: int, spec: ElasticSpec, *, is_alone: bool = True) -> ElasticPlan:
    """Plan the encoding of a clip of at most 30 s.

    Args:
        n_samples: of the clip, 16 kHz.
        spec: margin, tails and buckets.
        is_alone: no other window is decoded with it.
    """
    wanted = -(-n_samples // HOP_SAMPLES) + round(spec.margin_s * FRAMES_PER_S)
    bucket = FRAMES_PER_POSITION * _positions_in(spec.bucket_s)
    n_frames = min(WINDOW_FRAMES, _rounded_up(wanted, bucket if wanted <= COARSE_FRAMES else 2 * bucket))
    n_positions = n_frames // FRAMES_PER_POSITION
    least = n_positions + round((spec.tail_s if is_alone else spec.batch_tail_s) * POSITIONS_PER_S)
    n_states = min(WINDOW_POSITIONS, _rounded_up(least, _positions_in(spec.states_bucket_s)))
    return ElasticPlan(n_frames=n_frames, n_positions=n_positions, n_silent=n_states - n_positions)


def _positions_in(bucket_s: float) -> int:
    return max(1, round(bucket_s * POSITIONS_PER_S))


def _rounded_up(number: int, bucket: int) -> int:
    return max(1, -(-number // bucket)) * bucket


FULL_WINDOW = ElasticPlan(n_frames=WINDOW_FRAMES, n_positions=WINDOW_POSITIONS, n_silent=0)


class SilenceStates:
    """Encoder states of pure silence, by the feature value that silence has.

    A level is read from the file when a clip first has it: most recordings keep to one or two.
    """

    def __init__(self, path: Path, spec: ElasticSpec, floors: NDArray[np.float32]) -> None:
        self.spec = spec
        self._path = path
        self._floors = floors
        self._levels: dict[int, NDArray[np.float16]] = {}

    @classmethod
    def load(cls, folder: Path) -> "SilenceStates | None":
        """Read a variant's silence states; None where the variant is not elastic.

        Raises:
            InputError: the file is damaged.
        """
        from safetensors import SafetensorError, safe_open

        path = folder / SILENCE_NAME
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="numpy") as stored:
                facts = stored.metadata()
                spec = ElasticSpec(**{name: float(facts[name]) for name in ElasticSpec.__slots__})
                floors = stored.get_tensor("floors")
                shape = stored.get_slice("states").get_shape()
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as cause:
            raise InputError(f"{path} is no silence states: {cause}; make the variant again") from cause
        if len(shape) != STATES_RANK or shape[:2] != [len(floors), WINDOW_POSITIONS]:
            raise InputError(f"{path} holds silence states of shape {shape}; make the variant again")
        return cls(path, spec, floors)

    @staticmethod
    def save(
        folder: Path, spec: ElasticSpec, floors: NDArray[np.float32], states: NDArray[np.float16]
    ) -> None:
        """Write silence states into a variant's folder.

        Args:
            folder: of the variant.
            spec: the variant's settings.
            floors: float32, shape (n_levels,).
            states: float16, shape (n_levels, 1500, d_model).
        """
        from safetensors.numpy import save

        facts = {name: repr(getattr(spec, name)) for name in ElasticSpec.__slots__}
        (folder / SILENCE_NAME).write_bytes(save({"floors": floors, "states": states}, metadata=facts))

    def behind(self, plan: ElasticPlan, floor: float) -> NDArray[np.float16]:
        """Return the states of silence behind the encoded positions.

        Args:
            plan: where the encoded positions end and how much follows.
            floor: the value that silence has in the clip's features.

        Returns:
            float16, shape (n_silent, d_model).
        """
        level = int(np.abs(self._floors - floor).argmin())
        if level not in self._levels:
            self._levels[level] = self._read(level)
        return self._levels[level][plan.n_positions : plan.n_positions + plan.n_silent]

    def _read(self, level: int) -> NDArray[np.float16]:
        from safetensors import safe_open

        with safe_open(self._path, framework="numpy") as stored:
            states: NDArray[np.float16] = stored.get_slice("states")[level]
            return states
