"""The workers that run the trials of a search: this process, or those of a Ray cluster."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from sottovoce.errors import MissingExtraError, SpecError
from sottovoce.optimize.search.bench import BenchSpec, TrialBench
from sottovoce.optimize.search.report import TrialOutcome
from sottovoce.progress import Reporter
from sottovoce.recipes.recipe import Recipe

LOCAL, RAY = "local", "ray"


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingTrial:
    """A trial to run; `worst_divergence` as in `TrialBench.try_recipe`."""

    number: int
    recipe: Recipe
    worst_divergence: float | None


class Workers(ABC):
    """Runs trials, several at once where there are several workers."""

    n_workers: int
    baseline_wer: float
    """Of the baseline on the held-out clips, a fraction."""

    @abstractmethod
    def submit(self, trial: PendingTrial) -> None:
        """Start a trial as soon as a worker is free."""

    @abstractmethod
    def next_done(self) -> tuple[PendingTrial, TrialOutcome]:
        """Wait for any submitted trial."""

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *raised: object) -> None:
        """Release the workers."""


class LocalWorker(Workers):
    """One trial at a time, in this process."""

    n_workers = 1

    def __init__(self, spec: BenchSpec, reporter: Reporter) -> None:
        self._bench = TrialBench(spec, reporter)
        self._waiting: deque[PendingTrial] = deque()
        self.baseline_wer = self._bench.baseline_wer

    def submit(self, trial: PendingTrial) -> None:
        """Queue a trial."""
        self._waiting.append(trial)

    def next_done(self) -> tuple[PendingTrial, TrialOutcome]:
        """Run the trial that was submitted first."""
        trial = self._waiting.popleft()
        return trial, self._bench.try_recipe(trial.recipe, trial.worst_divergence)

    def __exit__(self, *raised: object) -> None:
        """Release nothing."""


class RayWorkers(Workers):
    """One bench in each worker of a Ray cluster; all workers need access to the run's folder.

    Speed-ups are measured within one worker, so that workers may differ; they should not share cores.
    """

    def __init__(self, spec: BenchSpec, n_workers: int | None) -> None:
        """Join the cluster that `RAY_ADDRESS` names, or start one on this machine.

        Args:
            spec: its threads are the cores that a worker takes.
            n_workers: None takes as many as the cluster has cores for.

        Raises:
            MissingExtraError: Ray is not installed.
            SpecError: the cluster has too few cores for that many workers.
        """
        try:
            import ray
        except ImportError as cause:
            raise MissingExtraError("ray", needed_for="--workers ray", extra="cluster") from cause
        self._ray = ray
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            ray.init(logging_level="ERROR", log_to_driver=False, include_dashboard=False)
        self._idle: deque[Any] = deque()
        self._waiting: deque[PendingTrial] = deque()
        self._running: dict[Any, tuple[PendingTrial, Any]] = {}
        try:
            self.n_workers = count_workers(self._cores(), spec.threads, n_workers)
            bench = ray.remote(num_cpus=spec.threads)(RemoteBench)
            stored = ray.put(spec)
            started = (bench.remote(stored) for _ in range(self.n_workers))
            self._starting = {worker.baseline_wer.remote(): worker for worker in started}
            self.baseline_wer = self._welcome(self._next_ready())
        except BaseException:
            self.__exit__()
            raise

    def submit(self, trial: PendingTrial) -> None:
        """Start a trial as soon as a worker is free."""
        self._waiting.append(trial)
        self._start()

    def next_done(self) -> tuple[PendingTrial, TrialOutcome]:
        """Wait for any submitted trial."""
        while (ready := self._next_ready()) in self._starting:
            self._welcome(ready)
            self._start()
        trial, worker = self._running.pop(ready)
        self._idle.append(worker)
        self._start()
        return trial, TrialOutcome.model_validate_json(self._ray.get(ready))

    def __exit__(self, *raised: object) -> None:
        """Leave the cluster."""
        if self._is_ours:
            self._ray.shutdown()

    def _cores(self) -> list[int]:
        """Return the number of cores of each machine of the cluster."""
        return [int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]]

    def _next_ready(self) -> Any:
        (ready, *_), _ = self._ray.wait([*self._starting, *self._running], num_returns=1)
        return ready

    def _welcome(self, ready: Any) -> float:
        """Add a worker that has answered; one that still waits for cores gets no trials."""
        worker = self._starting.pop(ready)
        baseline_wer = float(self._ray.get(ready))
        self._idle.append(worker)
        return baseline_wer

    def _start(self) -> None:
        while self._waiting and self._idle:
            trial, worker = self._waiting.popleft(), self._idle.popleft()
            self._running[worker.try_recipe.remote(trial.recipe, trial.worst_divergence)] = trial, worker


class RemoteBench:
    """A bench in a worker process."""

    def __init__(self, spec: BenchSpec) -> None:
        self._bench = TrialBench(spec)

    def baseline_wer(self) -> float:
        """Return the WER of the baseline on the held-out clips, a fraction."""
        return self._bench.baseline_wer

    def try_recipe(self, recipe: Recipe, worst_divergence: float | None) -> str:
        """Run a trial; return its outcome as JSON."""
        return self._bench.try_recipe(recipe, worst_divergence).model_dump_json()


def count_workers(cores: Sequence[int], threads: int, n_workers: int | None) -> int:
    """Return how many workers to start.

    Args:
        cores: of each machine of the cluster.
        threads: of each worker, on one machine.
        n_workers: None takes as many as fit.

    Raises:
        SpecError: they do not fit: they would wait forever for cores, or disturb each other's timings.
    """
    fitting = sum(of_machine // threads for of_machine in cores)
    if fitting < (n_workers or 1):
        raise SpecError(
            f"--workers {RAY if n_workers is None else f'{RAY}:{n_workers}'}: with {threads} threads each {fitting} fit the "
            f"cluster, whose machines have {', '.join(map(str, cores))} cores; give fewer workers or --threads"
        )
    return n_workers or fitting


def parse_workers(option: str) -> tuple[str, int | None]:
    """Read `local`, `ray` or `ray:N`.

    Raises:
        SpecError: it is none of them.
    """
    kind, colon, number = option.partition(":")
    if kind == LOCAL and not colon:
        return LOCAL, 1
    if kind == RAY and not colon:
        return RAY, None
    if kind == RAY and number.isdigit() and int(number) > 0:
        return RAY, int(number)
    raise SpecError(f"--workers {option}: want local, ray, or ray:N with N workers")
