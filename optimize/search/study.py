"""The trials of a search on disk: an Optuna study in SQLite, which survives a killed process.

The sampler is the multi-objective tree-structured Parzen estimator (Ozaki et al. 2022). It maximizes the speed-up and
minimizes the divergence.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sottovoce.errors import InputError, MissingExtraError
from sottovoce.optimize.search.report import Settings, Trial, TrialOutcome
from sottovoce.optimize.search.space import Space, label

STUDY_NAME = "study.db"

N_RANDOM_TRIALS = 6
"""Trials that are drawn at random before the sampler has enough to learn from."""

MAX_REPEATS = 60
"""After this many draws in a row of settings that were tried already, the search has nothing new to try."""

OUTCOME_KEY, SPENT_KEY, PURPOSE_KEY = "outcome", "spent_s", "purpose"


class Study:
    """Keeps trials, and draws the settings of the next one."""

    def __init__(self, folder: Path, space: Space, *, purpose: Mapping[str, Any], seed: int) -> None:
        """Open a study, or create one.

        Trials that were running when a process died are drawn again.

        Args:
            purpose: everything that figures depend on, such as recipe and clips; JSON.

        Raises:
            InputError: the study in the folder has another purpose, or is damaged.
            MissingExtraError: Optuna is not installed.
        """
        try:
            import optuna
        except ImportError as cause:
            raise MissingExtraError("optuna", needed_for="sottovoce search", extra="search") from cause
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        logging.getLogger("optuna").propagate = False
        folder.mkdir(parents=True, exist_ok=True)
        self._optuna = optuna
        self._space = space
        self._labels = {path: {label(v): v for v in values} for path, values in space.choices.items()}
        self._drawn: dict[int, Any] = {}
        self._study = self._open(folder / STUDY_NAME, seed)
        self._check_purpose(folder, purpose)
        self._requeue_interrupted()
        if not self._study.trials:
            for settings in first_settings(space):
                self._enqueue(settings)

    def _open(self, path: Path, seed: int) -> Any:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            study = self._optuna.create_study(
                storage=f"sqlite:///{path}",
                study_name="search",
                directions=["maximize", "minimize"],
                load_if_exists=True,
            )
            n_before = len(study.trials)
        except SQLAlchemyError as cause:
            raise InputError(f"{path} is damaged; remove {path.parent} to begin the search anew") from cause
        # The state of the sampler is not stored: with the same seed it would draw the same settings again.
        study.sampler = self._optuna.samplers.TPESampler(
            seed=seed + n_before, n_startup_trials=N_RANDOM_TRIALS, constant_liar=True
        )
        return study

    def _check_purpose(self, folder: Path, purpose: Mapping[str, Any]) -> None:
        current = json.loads(json.dumps(purpose))
        kept = self._study.user_attrs.get(PURPOSE_KEY)
        if kept is None:
            self._study.set_user_attr(PURPOSE_KEY, current)
            return
        changed = [key for key in current if kept.get(key) != current[key]]
        if changed:
            raise InputError(
                f"{folder} holds a search with another {' and '.join(changed)}; repeat the command that it was started with, "
                "choose another --out, or pass --force to start over"
            )

    def _requeue_interrupted(self) -> None:
        """Queue the trials again that a process was running when it died."""
        for trial in self._study.get_trials(deepcopy=False, states=(self._state.RUNNING,)):
            self._study.tell(trial.number, state=self._state.FAIL)
            if set(trial.params) == set(self._labels):
                self._study.enqueue_trial(trial.params, skip_if_exists=False)

    @property
    def _state(self) -> Any:
        return self._optuna.trial.TrialState

    def _enqueue(self, settings: Settings) -> None:
        self._study.enqueue_trial({path: label(value) for path, value in settings.items()})

    @property
    def spent_s(self) -> float:
        """Seconds that the search took in all invocations so far."""
        return float(self._study.user_attrs.get(SPENT_KEY, 0.0))

    @spent_s.setter
    def spent_s(self, seconds: float) -> None:
        self._study.set_user_attr(SPENT_KEY, seconds)

    def draw(self) -> tuple[int, Settings] | None:
        """Draw settings that were not tried yet.

        Returns:
            Number and settings of the trial; None where nothing new is left to try.
        """
        known = {label(trial.settings): trial.outcome for trial in self.trials()}
        under_way = self._under_way()
        for _ in range(MAX_REPEATS):
            trial = self._study.ask()
            labels = {
                path: trial.suggest_categorical(path, list(values)) for path, values in self._labels.items()
            }
            settings = self._settings(labels)
            key = label(settings)
            if key not in known and key not in under_way:
                self._drawn[trial.number] = trial
                return trial.number, settings
            self._report(trial.number, known.get(key))  # a repeated draw, which is not kept twice
        return None

    def add(self, number: int, outcome: TrialOutcome) -> None:
        """Keep the outcome of a drawn trial."""
        self._drawn.pop(number).set_user_attr(OUTCOME_KEY, outcome.model_dump(mode="json"))
        self._report(number, outcome)

    def trials(self) -> tuple[Trial, ...]:
        """Return the finished trials, each combination of settings once."""
        return tuple(
            Trial(
                number=trial.number,
                settings=self._settings(trial.params),
                outcome=TrialOutcome.model_validate(trial.user_attrs[OUTCOME_KEY], strict=False),
            )
            for trial in self._study.get_trials(deepcopy=False)
            if OUTCOME_KEY in trial.user_attrs
        )

    def _report(self, number: int, outcome: TrialOutcome | None) -> None:
        """Report an outcome to the sampler."""
        if outcome is None or outcome.failure is not None:
            self._study.tell(number, state=self._state.FAIL)
        else:
            self._study.tell(number, [outcome.speedup, outcome.divergence])

    def _under_way(self) -> set[str]:
        running = self._study.get_trials(deepcopy=False, states=(self._state.RUNNING,))
        return {label(self._settings(trial.params)) for trial in running if trial.params}

    def _settings(self, labels: Mapping[str, str]) -> Settings:
        return {path: self._labels[path][labels[path]] for path in self._labels}


def first_settings(space: Space) -> Iterator[Settings]:
    """Yield what is tried first: the recipe's own settings, then each choice alone, the keys in turns.

    The effect of a choice alone is near its effect with others, and says more to users than any combination.
    """
    yield space.own
    for turn in range(1, max(len(values) for values in space.choices.values())):
        for path, values in space.choices.items():
            if turn < len(values):
                yield {**space.own, path: values[turn]}
