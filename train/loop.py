"""The training loop: AdamW with a cosine, a moving average, evaluation on held-out clips, checkpoints.

What step k does depends on the seed and on k alone, so that an interrupted training ends with the same numbers.

Sources: AdamW (Loshchilov and Hutter 2019); one cosine without restarts (Loshchilov and Hutter 2017); moving average of
the parameters (Polyak and Juditsky 1992).
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sottovoce.errors import InputError, StageError
from sottovoce.progress import Advance, Reporter
from sottovoce.speech.loading import LoadedClip
from sottovoce.storage.documents import Document
from sottovoce.train.lessons import LessonBook
from sottovoce.train.loss import Examiner, LossWeights
from sottovoce.train.parameters import NAMES, Deltas, Start
from sottovoce.train.report import Evaluation

STATE_NAME = "state.safetensors"
PROGRESS_KEY = "progress"

SAVE_S = 30.0
"""Between two checkpoints."""

WARM_UP_SHARE = 0.03
MOMENT, SQUARE_MOMENT = "exp_avg", "exp_avg_sq"
"""Names of AdamW's state in torch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSpec:
    """Settings of a training.

    Attributes:
        batch_size: clips of a step.
        learning_rate: highest, in spreads of what is trained.
        weight_decay: of AdamW; draws back to the start.
        average: share of the past in the moving average.
        n_evaluations: over the whole training.
        patience: evaluations without a better one after which training ends.
        weights: of the parts of the loss.
        trained: the names of `parameters.NAMES` that change.
    """

    seed: int = 0
    batch_size: int = 4
    learning_rate: float = 0.01
    weight_decay: float = 0.0
    average: float = 0.99
    n_evaluations: int = 12
    patience: int = 5
    weights: LossWeights = field(default_factory=LossWeights)
    trained: tuple[str, ...] = NAMES


class Progress(Document):
    """What a checkpoint says beside its tensors."""

    step: int
    best_step: int
    loss_sum: float
    """Of the steps since the last evaluation."""
    history: tuple[Evaluation, ...]


Evaluate = Callable[[Deltas], float]
"""Returns the divergence of the variant with these differences on the held-out clips, in nats a token."""


@dataclass(slots=True, kw_only=True)
class _State:
    """All that a training has at one step."""

    deltas: dict[str, Any]
    average: dict[str, Any]
    best: dict[str, Any]
    optimizer: Any
    progress: Progress


class Training:
    """Trains padding on lessons, from the last checkpoint in a folder."""

    def __init__(
        self,
        folder: Path,
        spec: LoopSpec,
        start: Start,
        clips: Sequence[LoadedClip],
        book: LessonBook,
        examiner: Examiner,
    ) -> None:
        """Prepare a training.

        Args:
            folder: of checkpoints.
            clips: those that train.
        """
        self._path = folder / STATE_NAME
        self._spec = spec
        self._start = start
        self._clips = clips
        self._book = book
        self._examiner = examiner
        lengths = [len(book.read(clip).teacher.tokens) for clip in clips]
        self._mean_tokens = float(np.mean(lengths))

    def run(self, n_steps: int, evaluate: Evaluate, reporter: Reporter) -> tuple[Deltas, Progress]:
        """Train to the end, and return the differences that were best on the held-out clips.

        Args:
            n_steps: of the optimizer, those before an interruption included.
            evaluate: measures on the held-out clips.
            reporter: follows the work.

        Raises:
            StageError: the loss is not a number.
        """
        state = self._load() if self._path.is_file() else self._begin(evaluate)
        if state.progress.step:
            reporter.note(f"goes on with an interrupted training at step {state.progress.step}")
        with reporter.progress("train", n_steps) as advance:
            for _ in range(state.progress.step):
                advance()
            self._train(state, n_steps, evaluate, reporter, advance)
        return state.best, state.progress

    def time_a_step(self) -> float:
        """Return the seconds of a step, without changing anything."""
        deltas = self._start.no_deltas()
        times = []
        for step in range(3):
            began = time.monotonic()
            self._add_gradients(deltas, step)
            times.append(time.monotonic() - began)
        return float(np.median(times))

    def _begin(self, evaluate: Evaluate) -> _State:
        deltas = self._start.no_deltas()
        before = Evaluation(step=0, loss=None, divergence=evaluate(deltas))
        return _State(
            deltas=deltas,
            average=_copy(deltas),
            best=_copy(deltas),
            optimizer=self._optimizer(deltas),
            progress=Progress(step=0, best_step=0, loss_sum=0.0, history=(before,)),
        )

    def _optimizer(self, deltas: Deltas) -> Any:
        import torch

        return torch.optim.AdamW(
            [deltas[name] for name in self._spec.trained],
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
        loss = self._add_gradients(state.deltas, step)
        if not math.isfinite(loss):
            raise StageError(
                f"training: the loss of step {step} is {loss}; try another --seed or other speech"
            )
        state.optimizer.step()
        share = min(self._spec.average, (step + 1) / (step + 10))
        with torch.no_grad():
            for name in NAMES:
                state.average[name].lerp_(state.deltas[name], 1 - share)
        state.progress = state.progress.model_copy(
            update={"step": step + 1, "loss_sum": state.progress.loss_sum + loss}
        )

    def _add_gradients(self, deltas: Deltas, step: int) -> float:
        """Add the gradients of one batch, and return its mean loss."""
        total = 0.0
        for clip in batch_at(self._clips, step, self._spec):
            lesson = self._book.read(clip)
            with bf16_where_quick():
                found = self._examiner.examine(lesson, self._start.moved(deltas))
            loss = found.total(self._spec.weights, self._mean_tokens) / self._spec.batch_size
            loss.backward()
            total += float(loss.detach())
        return total

    def _evaluate(self, state: _State, evaluate: Evaluate) -> str:
        """Measure the moving average, keep it where it is the best so far, and return a line about it."""
        progress = state.progress
        n_steps = progress.step - progress.history[-1].step
        found = Evaluation(
            step=progress.step, loss=progress.loss_sum / n_steps, divergence=evaluate(state.average)
        )
        is_best = found.divergence < min(each.divergence for each in progress.history)
        if is_best:
            state.best = _copy(state.average)
        state.progress = Progress(
            step=progress.step,
            best_step=progress.step if is_best else progress.best_step,
            loss_sum=0.0,
            history=(*progress.history, found),
        )
        return (
            f"step {found.step}: loss {found.loss:.5f}, held-out speakers {1000 * found.divergence:.2f} mnat a token "
            f"({1000 * progress.history[0].divergence:.2f} before)"
        )

    def _save(self, state: _State) -> None:
        """Write a checkpoint, whole or not at all."""
        from safetensors.torch import save

        moments = {
            f"{kind}/{name}": state.optimizer.state[state.deltas[name]][kind]
            for kind in (MOMENT, SQUARE_MOMENT)
            for name in self._spec.trained
        }
        groups = {"delta": state.deltas, "average": state.average, "best": state.best}
        tensors = {
            f"{group}/{name}": values[name].detach() for group, values in groups.items() for name in NAMES
        }
        written = self._path.with_suffix(".new")
        written.write_bytes(save({**tensors, **moments}, {PROGRESS_KEY: state.progress.model_dump_json()}))
        written.replace(self._path)

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
        except (OSError, SafetensorError, KeyError, ValueError) as cause:
            raise InputError(
                f"{self._path} is damaged ({cause}); repeat the command with --restart"
            ) from cause

    def _state_of(self, tensors: dict[str, Any], progress: Progress) -> _State:
        import torch

        deltas = {name: tensors[f"delta/{name}"].requires_grad_() for name in NAMES}
        optimizer = self._optimizer(deltas)
        for name in self._spec.trained:
            optimizer.state[deltas[name]] = {
                "step": torch.tensor(float(progress.step)),
                MOMENT: tensors[f"{MOMENT}/{name}"],
                SQUARE_MOMENT: tensors[f"{SQUARE_MOMENT}/{name}"],
            }
        return _State(
            deltas=deltas,
            average={name: tensors[f"average/{name}"] for name in NAMES},
            best={name: tensors[f"best/{name}"] for name in NAMES},
            optimizer=optimizer,
            progress=progress,
        )


def _copy(deltas: Deltas) -> dict[str, Any]:
    return {name: delta.detach().clone() for name, delta in deltas.items()}


def rate_at(step: int, n_steps: int) -> float:
    """Return the learning rate of a step as a share of the highest: a short rise, then half a cosine to 0."""
    warm_up = max(1, round(WARM_UP_SHARE * n_steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, n_steps - warm_up)))


def batch_at(clips: Sequence[LoadedClip], step: int, spec: LoopSpec) -> Iterator[LoadedClip]:
    """Yield the clips of a step: each epoch takes all of them in an order of its own."""
    for number in range(step * spec.batch_size, (step + 1) * spec.batch_size):
        epoch, place = divmod(number, len(clips))
        order = np.random.default_rng((spec.seed, epoch)).permutation(len(clips))
        yield clips[order[place]]


@contextmanager
def bf16_where_quick() -> Iterator[None]:
    """Compute matrix products in bf16 where the CPU has instructions for it."""
    import torch

    from sottovoce.machine.cpu import BF16, lacks_all

    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not lacks_all(BF16)):
        yield
