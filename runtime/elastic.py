"""The elastic encoder's plan: encode the speech, append what silence would have given.

Whisper pads each clip to 30 s and encodes the padding too. Encoding only the speech makes the
decoder run on: it was trained to see silence after it. So the encoder gets the speech and a short
margin, and the states that the encoder gives for pure silence at the positions behind are appended,
from a table made once for each level of silence. The decoder sees what it was trained to see.

Silence is much the same everywhere. So one state, the mean of a cell of positions, can stand for all of them, if
softmax counts it as often: the logarithm of their number is added to its score.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import InputError
from sottovoce.runtime.decoder import Encoded, States
from sottovoce.runtime.features import FRAMES_PER_S, HOP_SAMPLES, WINDOW_FRAMES

SILENCE_NAME = "silence_states.safetensors"

STATES_RANK = 3

FRAMES_PER_POSITION = 2
"""The encoder's second convolution has stride 2."""

WINDOW_POSITIONS = WINDOW_FRAMES // FRAMES_PER_POSITION

POSITIONS_PER_S = FRAMES_PER_S // FRAMES_PER_POSITION

END_POSITIONS = 25
"""The last half second is a cell of its own: whisper-tiny.en's decoder listens to it more than to other silence."""

NO_POSITION = 1e-30
"""Number of positions that a state to be left out stands for; its logarithm is finite, its share nothing."""

COARSE_FRAMES = 1000
"""From here on buckets are twice as long: rounding up costs the same share of the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticPlan:
    """How much of a window is encoded, and how much silence follows.

    Attributes:
        n_frames: frames of 10 ms to encode, even.
        n_positions: encoder positions that they give.
        n_silent: positions appended: of silence, or, where cells stand for that, of nothing.
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
        silence_cell_s: seconds of silence that one state stands for, in the encoder's layers and for the decoder;
            there are no tails then. None where each state stands for its own position.

    OpenVINO keeps kernels, and 5 to 10 MB, for each length that it meets; the buckets keep them few.
    """

    margin_s: float
    tail_s: float
    batch_tail_s: float
    bucket_s: float
    states_bucket_s: float
    silence_cell_s: float | None = None


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
    if spec.silence_cell_s is not None:
        return ElasticPlan(n_frames=n_frames, n_positions=n_positions, n_silent=0)
    least = n_positions + round((spec.tail_s if is_alone else spec.batch_tail_s) * POSITIONS_PER_S)
    n_states = min(WINDOW_POSITIONS, _rounded_up(least, _positions_in(spec.states_bucket_s)))
    return ElasticPlan(n_frames=n_frames, n_positions=n_positions, n_silent=n_states - n_positions)


def silence_cells(cell_s: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide a window into cells whose silence shares a state.

    Args:
        cell_s: seconds of a cell; the last one is `END_POSITIONS` long.

    Returns:
        Where each begins and ends, positions, shape (n_cells,).
    """
    end = WINDOW_POSITIONS - END_POSITIONS
    first = np.append(np.arange(0, end, _positions_in(cell_s)), end)
    return first, np.append(first[1:], WINDOW_POSITIONS)


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
        self._cells = None if spec.silence_cell_s is None else silence_cells(spec.silence_cell_s)

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
                spec = _spec_of(facts)
                floors = stored.get_tensor("floors")
                shape = stored.get_slice("states").get_shape()
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as cause:
            raise InputError(f"{path} is no silence states: {cause}; make the variant again") from cause
        if len(shape) != STATES_RANK or shape[:2] != [len(floors), n_stored(spec)]:
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
            states: float16, shape (n_levels, n_stored(spec), d_model).
        """
        from safetensors.numpy import save

        told = {name: getattr(spec, name) for name in ElasticSpec.__slots__}
        facts = {name: repr(value) for name, value in told.items() if value is not None}
        (folder / SILENCE_NAME).write_bytes(save({"floors": floors, "states": states}, metadata=facts))

    def behind(self, encoded: States, plan: ElasticPlan, floor: float) -> Encoded:
        """Append the states of silence behind the encoded positions.

        Args:
            encoded: float32, shape (1, n_positions, d_model).
            plan: where the encoded positions end and how much follows.
            floor: the value that silence has in the clip's features.
        """
        table = self._level(floor)
        if self._cells is None:
            n_heard = plan.n_positions + plan.n_silent
            return Encoded(_joined(encoded, table[plan.n_positions : n_heard]))
        nothing = np.zeros((plan.n_silent, table.shape[1]), dtype=table.dtype)
        states = _joined(encoded, np.concatenate([nothing, table]))
        return Encoded(states, _log_counts(plan, *self._cells)[None])

    def _level(self, floor: float) -> NDArray[np.float16]:
        level = int(np.abs(self._floors - floor).argmin())
        if level not in self._levels:
            self._levels[level] = self._read(level)
        return self._levels[level]

    def _read(self, level: int) -> NDArray[np.float16]:
        from safetensors import safe_open

        with safe_open(self._path, framework="numpy") as stored:
            states: NDArray[np.float16] = stored.get_slice("states")[level]
            return states


def n_stored(spec: ElasticSpec) -> int:
    """Return the number of states that a variant has for each level of silence."""
    return WINDOW_POSITIONS if spec.silence_cell_s is None else len(silence_cells(spec.silence_cell_s)[0])


def _joined(encoded: States, silence: NDArray[np.float16]) -> States:
    n_positions = encoded.shape[1]
    states = np.empty((1, n_positions + len(silence), encoded.shape[2]), dtype=np.float32)
    states[:, :n_positions] = encoded
    states[0, n_positions:] = silence
    return states


def _log_counts(plan: ElasticPlan, first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the logarithm of the number of positions that each state stands for.

    Args:
        plan: of the window.
        first: positions where the cells of silence begin.
        last: positions where they end.

    Returns:
        Shape (n_positions + n_silent + n_cells,): speech counts once, a cell for what of it lies behind the speech.
    """
    silent = np.maximum(last - np.maximum(first, plan.n_positions), 0)
    counts = np.concatenate([np.ones(plan.n_positions), np.zeros(plan.n_silent), silent])
    log_counts: NDArray[np.float32] = np.log(np.maximum(counts, NO_POSITION)).astype(np.float32)
    return log_counts


def _spec_of(facts: Mapping[str, str]) -> ElasticSpec:
    """Read settings; what a variant does not have is not written."""
    seconds = {name: float(facts[name]) for name in ElasticSpec.__slots__ if name != "silence_cell_s"}
    cell = facts.get("silence_cell_s")
    return ElasticSpec(**seconds, silence_cell_s=None if cell is None else float(cell))
