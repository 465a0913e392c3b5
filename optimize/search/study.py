"""The trials of a search on disk: an Optuna study in SQLite, which a kill cannot harm.

The sampler is the multi-objective tree-structured Parzen estimator (Ozaki et al. 2022); objectives are
speed-up, to be large, and divergence, to be small.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sottovoce.errors import InputError, MissingExtraError
from sottovoce.optimize.search.outcome import Settings, Trial, TrialOutcome
from sottovoce.optimize.search.space import Space, label

STUDY_NAME = "study.db"

N_RANDOM_TRIALS = 6
"""Drawn by chance where fewer were tried: the sampler has something to learn from then."""

MAX_REPEATS = 60
"""So many draws in a row of what was tried already: there is nothing near the best that was not."""

OUTCOME_KEY, SPENT_KEY, PURPOSE_KEY = "outcome", "spent_s", "purpose"


class Study:
    """What was tried, and what to try next."""

    def __init__(self, folder: Path, space: Space, *, purpose: Mapping[str, Any], seed: int) -> None:
        """Open a study, or begin one.

        Trials that were running when a process died are tried again.

        Args:
            folder: is made where it is not there.
            space: what may change.
            purpose: what the study is about: recipe, clips; JSON.
            seed: of the sampler.

        Raises:
            InputError: the study there is about something else, or is damaged.
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
        self._asked: dict[int, Any] = {}
        self._study = self._open(folder / STUDY_NAME, seed)
        self._check_purpose(folder, purpose)
        self._try_again()
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
        # What the sampler has drawn is not kept: with the seed of before it would draw the same again.
        study.sampler = self._optuna.samplers.TPESampler(
            seed=seed + n_before, n_startup_trials=N_RANDOM_TRIALS, constant_liar=True
        )
        return study

    def _check_purpose(self, folder: Path, purpose: Mapping[str, Any]) -> None:
        told = json.loads(json.dumps(purpose))
        kept = self._study.user_attrs.get(PURPOSE_KEY)
        if kept is None:
            self._study.set_user_attr(PURPOSE_KEY, told)
            return
        changed = [key for key in told if kept.get(key) != told[key]]
        if changed:
            raise InputError(
                f"{folder} holds a search with another {' and '.join(changed)}; go on with what it was begun with, "
                "choose another --out, or pass --force to begin anew"
            )

    def _try_again(self) -> None:
        """Take back the trials in flight of a process that is no more."""
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
        """Seconds that the search took in all sittings so far."""
        return float(self._study.user_attrs.get(SPENT_KEY, 0.0))

    @spent_s.setter
    def spent_s(self, seconds: float) -> None:
        self._study.set_user_attr(SPENT_KEY, seconds)

    def ask(self) -> tuple[int, Settings] | None:
        """Draw what was not tried yet.

        Returns:
            A number and settings; None where nothing new is left to try.
        """
        known = {self._key(trial.settings): trial.outcome for trial in self.trials()}
        under_way = self._under_way()
        for _ in range(MAX_REPEATS):
            trial = self._study.ask()
            labels = {
                path: trial.suggest_categorical(path, list(values)) for path, values in self._labels.items()
            }
            settings = self._settings(labels)
            key = self._key(settings)
            if key not in known and key not in under_way:
                self._asked[trial.number] = trial
                return trial.number, settings
            self._repeat(trial.number, known.get(key))
        return None

    def tell(self, number: int, outcome: TrialOutcome) -> None:
        """Keep what a trial gave that was asked for."""
        self._asked.pop(number).set_user_attr(OUTCOME_KEY, outcome.model_dump(mode="json"))
        if outcome.failure is None:
            self._study.tell(number, [outcome.speedup, outcome.divergence])
        else:
            self._study.tell(number, state=self._state.FAIL)

    def trials(self) -> tuple[Trial, ...]:
        """Return what was tried, each setting once."""
        return tuple(
            Trial(
                number=trial.number,
                settings=self._settings(trial.params),
                outcome=TrialOutcome.model_validate(trial.user_attrs[OUTCOME_KEY], strict=False),
            )
            for trial in self._study.get_trials(deepcopy=False)
            if OUTCOME_KEY in trial.user_attrs
        )

    def _repeat(self, number: int, outcome: TrialOutcome | None) -> None:
        """Answer a draw of what was tried already with what it gave, without keeping it twice."""
        if outcome is None or outcome.failure is not None:
            self._study.tell(number, state=self._state.FAIL)
        else:
            self._study.tell(number, [outcome.speedup, outcome.divergence])

    def _under_way(self) -> set[str]:
        running = self._study.get_trials(deepcopy=False, states=(self._state.RUNNING,))
        return {self._key(self._settings(trial.params)) for trial in running if trial.params}

    def _settings(self, labels: Mapping[str, str]) -> Settings:
        return {path: self._labels[path][labels[path]] for path in self._labels}

    def _key(self, settings: Settings) -> str:
        return label(settings)


def first_settings(space: Space) -> Iterator[Settings]:
    """Yield what is tried first: the recipe's own settings, then each choice alone, the keys in turns.

    What a choice does alone tells most of what it does with others, and a user more than any combination.
    """
    yield space.own
    for turn in range(1, max(len(values) for values in space.choices.values())):
        for path, values in space.choices.items():
            if turn < len(values):
                yield {**space.own, path: values[turn]}
