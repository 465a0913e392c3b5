"""The training loop: AdamW with a cosine, a moving average, evaluation on held-out clips, checkpoints.

What step k does depends on the seed and on k alone, so that an interrupted training ends with the same numbers.

Sources: AdamW (Loshchilov and Hutter 2019); one cosine without restarts (Loshchilov and Hutter 2017); moving average of
the parameters (Polyak and Juditsky 1992).
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from sottovoce.errors import InputError, StageError
from sottovoce.progress import Advance, Reporter
from sottovoce.storage.documents import Document, read_document, write_text

STATE_NAME = "state.safetensors"
PROGRESS_KEY = "progress"

SAVE_S = 30.0
"""Between two checkpoints."""

MIN_STEPS = 50
WARM_UP_SHARE = 0.03
MOMENT, SQUARE_MOMENT = "exp_avg", "exp_avg_sq"
"""Names of AdamW's state in torch."""

Tensor = Any
"""`torch.Tensor`."""

Tensors = Mapping[str, Tensor]

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSpec:
    """Settings of a training.

    Attributes:
        batch_size: clips of a step.
        learning_rate: highest.
        weight_decay: of AdamW.
        average: share of the past in the moving average.
        n_evaluations: over the whole training.
        patience: evaluations without a better one after which training ends.
        max_gradient_norm: longer gradients are shortened to it; None: none are.
    """

    seed: int = 0
    batch_size: int = 4
    learning_rate: float = 0.01
    weight_decay: float = 0.0
    average: float = 0.99
    n_evaluations: int = 12
    patience: int = 5
    max_gradient_norm: float | None = None


class StepPlan(Document):
    """How long a training is: measured once, and the same after an interruption."""

    n_steps: int


class Evaluation(Document):
    """What the trained numbers give on the held-out clips after some steps."""

    step: int
    loss: float | None
    """Mean loss of the steps since the last evaluation; null before the first step."""
    held_out: float
    """Nats a token."""


class Progress(Document):
    """What a checkpoint says beside its tensors."""

    step: int
    best_step: int
    loss_sum: float
    """Of the steps since the last evaluation."""
    history: tuple[Evaluation, ...]


AddGradients = Callable[[int], float]
"""Adds the gradients of the batch of a step to the parameters; returns its mean loss."""

Evaluate = Callable[[Tensors], float]
"""Returns what parameters give on the held-out clips, nats a token: the less the better."""


@dataclass(slots=True, kw_only=True)
class _State:
    """All that a training has at one step, beside the parameters themselves."""

    average: dict[str, Tensor]
    best: dict[str, Tensor]
    optimizer: Any
    progress: Progress


class Training:
    """Trains parameters, from the last checkpoint in a folder."""

    def __init__(
        self, folder: Path, spec: LoopSpec, parameters: Tensors, add_gradients: AddGradients
    ) -> None:
        """Prepare a training.

        Args:
            folder: of checkpoints.
            spec: settings.
            parameters: leaf tensors that take gradients, by name; changed in place.
            add_gradients: of a step.
        """
        self._path = folder / STATE_NAME
        self._spec = spec
        self._parameters = dict(parameters)
        self._add_gradients = add_gradients

    def run(self, n_steps: int, evaluate: Evaluate, reporter: Reporter) -> tuple[Tensors, Progress]:
        """Train to the end, and return the parameters that were best on the held-out clips.

        Args:
            n_steps: of the optimizer, those before an interruption included.
            evaluate: measures on the held-out clips.
            reporter: follows the work.

        Raises:
            StageError: the loss is not a number.
        """
        state = self._load() if self._path.is_file() else self._begin(evaluate)
        if state.progress.step:
            reporter.note(f"resumes an interrupted training at step {state.progress.step}")
        with reporter.progress("train", n_steps) as advance:
            for _ in range(state.progress.step):
                advance()
            self._train(state, n_steps, evaluate, reporter, advance)
        return state.best, state.progress

    def time_a_step(self) -> float:
        """Return the seconds of a step, without changing anything."""
        times = []
        for step in range(3):
            began = time.monotonic()
            self._add_gradients(step)
            times.append(time.monotonic() - began)
        for parameter in self._parameters.values():
            parameter.grad = None
        return float(np.median(times))

    def _begin(self, evaluate: Evaluate) -> _State:
        before = Evaluation(step=0, loss=None, held_out=_finite(evaluate(self._parameters), 0))
        return _State(
            average=_copy(self._parameters),
            best=_copy(self._parameters),
            optimizer=self._optimizer(),
            progress=Progress(step=0, best_step=0, loss_sum=0.0, history=(before,)),
        )

    def _optimizer(self) -> Any:
        import torch

        return torch.optim.AdamW(
            list(self._parameters.values()),
            lr=self._spec.learning_rate,
            weight_decay=self._spec.weight_decay,
        )

    def _train(
        self, state: _State, n_steps: int, evaluate: Evaluate, reporter: Reporter, advance: Advance
    ) -> None:
        every = max(1, n_steps // self._spec.n_evaluations)
        saved = time.monotonic()
        while state.progress.step < n_steps and not self._is_hopeless(state.progress):
            self._step(state, n_steps)
            advance()
            if state.progress.step % every == 0 or state.progress.step == n_steps:
                reporter.note(self._evaluate(state, evaluate))
            elif time.monotonic() - saved < SAVE_S:
                continue
            self._save(state)
            saved = time.monotonic()

    def _is_hopeless(self, progress: Progress) -> bool:
        since = sum(each.step > progress.best_step for each in progress.history)
        return since >= self._spec.patience

    def _step(self, state: _State, n_steps: int) -> None:
        import torch

        step = state.progress.step
        for group in state.optimizer.param_groups:
            group["lr"] = self._spec.learning_rate * rate_at(step, n_steps)
        state.optimizer.zero_grad()
        loss = self._add_gradients(step)
        if not math.isfinite(loss):
            raise StageError(
                f"training: the loss of step {step} is {loss}; try another --seed or other speech"
            )
        if self._spec.max_gradient_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._parameters.values(), self._spec.max_gradient_norm)
        state.optimizer.step()
        share = min(self._spec.average, (step + 1) / (step + 10))
        with torch.no_grad():
            for name, average in state.average.items():
                average.lerp_(self._parameters[name], 1 - share)
        state.progress = state.progress.model_copy(
            update={"step": step + 1, "loss_sum": state.progress.loss_sum + loss}
        )

    def _evaluate(self, state: _State, evaluate: Evaluate) -> str:
        """Measure the moving average, keep it where it is the best so far, and return a line about it."""
        progress = state.progress
        n_steps = progress.step - progress.history[-1].step
        found = Evaluation(
            step=progress.step,
            loss=progress.loss_sum / n_steps,
            held_out=_finite(evaluate(state.average), progress.step),
        )
        is_best = found.held_out < min(each.held_out for each in progress.history)
        if is_best:
            state.best = _copy(state.average)
        state.progress = Progress(
            step=progress.step,
            best_step=progress.step if is_best else progress.best_step,
            loss_sum=0.0,
            history=(*progress.history, found),
        )
        return (
            f"step {found.step}: loss {found.loss:.5f}, held-out speakers {found.held_out:.5f} nats a token "
            f"({progress.history[0].held_out:.5f} before)"
        )

    def _save(self, state: _State) -> None:
        """Write a checkpoint, whole or not at all."""
        from safetensors.torch import save

        groups = {"parameter": self._parameters, "average": state.average, "best": state.best}
        tensors = {
            f"{group}/{name}": value.detach().contiguous()
            for group, values in groups.items()
            for name, value in values.items()
        }
        moments = {
            f"{kind}/{name}": value
            for name, parameter in self._parameters.items()
            for kind, value in self._moments(state, parameter).items()
        }
        written = self._path.with_suffix(".new")
        written.write_bytes(save({**tensors, **moments}, {PROGRESS_KEY: state.progress.model_dump_json()}))
        written.replace(self._path)

    def _moments(self, state: _State, parameter: Tensor) -> dict[str, Tensor]:
        """Return AdamW's moments of a parameter; zeros where it had no gradient yet."""
        known = state.optimizer.state.get(parameter, {})
        return {
            kind: known.get(kind, parameter.new_zeros(parameter.shape)) for kind in (MOMENT, SQUARE_MOMENT)
        }

    def _load(self) -> _State:
        """Read the last checkpoint.

        Raises:
            InputError: it is damaged.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self._path, framework="pt") as stored:
                progress = Progress.model_validate_json(stored.metadata()[PROGRESS_KEY])
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - no mapping
            return self._state_of(tensors, progress)
        except (SafetensorError, KeyError, ValueError) as cause:
            raise InputError(
                f"{self._path} is damaged ({cause}); repeat the command with --restart"
            ) from cause

    def _state_of(self, tensors: dict[str, Tensor], progress: Progress) -> _State:
        import torch

        optimizer = self._optimizer()
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(tensors[f"parameter/{name}"])
                optimizer.state[parameter] = {
                    "step": torch.tensor(float(progress.step)),
                    MOMENT: tensors[f"{MOMENT}/{name}"],
                    SQUARE_MOMENT: tensors[f"{SQUARE_MOMENT}/{name}"],
                }
        return _State(
            average={name: tensors[f"average/{name}"] for name in self._parameters},
            best={name: tensors[f"best/{name}"] for name in self._parameters},
            optimizer=optimizer,
            progress=progress,
        )


def _finite(held_out: float, step: int) -> float:
    """Return what was measured.

    Raises:
        StageError: it is no number.
    """
    if not math.isfinite(held_out):
        raise StageError(
            f"training: held-out speakers are at {held_out} nats a token after step {step}; try a lower --learning-rate "
            "or other speech"
        )
    return held_out


def _copy(values: Tensors) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in values.items()}


def rate_at(step: int, n_steps: int) -> float:
    """Return the learning rate of a step as a share of the highest: a short rise, then half a cosine to 0."""
    warm_up = max(1, round(WARM_UP_SHARE * n_steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, n_steps - warm_up)))


def planned_steps(path: Path, fixed: int | None, forecast: Callable[[], int]) -> int:
    """Return the number of steps: fixed, or at least 50 that fit; a resumed training has that of its beginning.

    Args:
        path: of the file that keeps the number for a resumed training.
        fixed: instead of a forecast.
        forecast: returns how many steps fit the time that is left.

    Raises:
        InputError: the file is damaged.
    """
    if fixed is not None:
        return fixed
    if not path.is_file():
        write_text(path, StepPlan(n_steps=max(MIN_STEPS, forecast())).model_dump_json() + "\n")
    return read_document(path, StepPlan, advice="repeat the command with --restart").n_steps


def item_at(items: Sequence[Item], place: int, seed: int) -> Item:
    """Return the item of a place in endless epochs: each takes all of them in an order of its own."""
    epoch, number = divmod(place, len(items))
    order = np.random.default_rng((seed, epoch)).permutation(len(items))
    return items[int(order[number])]


@contextmanager
def bf16_where_quick() -> Iterator[None]:
    """Compute matrix products in bf16 where the CPU has instructions for it."""
    import torch

    from sottovoce.machine.cpu import BF16, lacks_all

    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not lacks_all(BF16)):
        yield


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Compute with so many threads during the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
