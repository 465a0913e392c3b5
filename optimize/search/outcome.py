"""What a trial of a search gave, as it is kept in the study and in `search.json`."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from sottovoce.errors import InputError
from sottovoce.runs import SEARCH_NAME
from sottovoce.statistics.intervals import Interval
from sottovoce.storage.artifacts import Document

Settings = dict[str, object]
"""Values by the path of the key that they replace in the recipe."""


REPORT_NAME = "search.json"

MAX_SHORT = 40


def describe_settings(settings: Settings, own: Settings) -> str:
    """Tell in one line in what settings differ from the recipe's own.

    A node list is told by its reason, other long values by their beginning.
    """
    changed = [
        f"{path.rsplit('.', 1)[-1]}={_short(value)}" for path, value in settings.items() if value != own[path]
    ]
    return ", ".join(changed) or "as the recipe says"


def _short(value: object) -> str:
    told = _told(value)
    return told if len(told) <= MAX_SHORT else f"{told[: MAX_SHORT - 1]}…"


def _told(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(_told(inner) for inner in value.values() if inner not in (None, [], "default"))
    if isinstance(value, list):
        return " + ".join(_reason(inner) for inner in value) or "none"
    return str(value)


def _reason(value: object) -> str:
    """Name a list of nodes by what it lists."""
    if not isinstance(value, dict):
        return _told(value)
    names = [name for key in ("types", "patterns", "names") for name in _as_list(value.get(key))]
    return " ".join(map(str, names))


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


class TrialOutcome(Document):
    """What a trial gave."""

    failure: str | None = Field(default=None, description="Why it gave nothing; the figures are then empty.")
    speedup: float | None = Field(
        default=None, description="Seconds of the baseline by those of the variant, on the same clips."
    )
    flips: float | None = Field(
        default=None, description="Share of the baseline's tokens where the variant prefers another."
    )
    divergence: float | None = Field(
        default=None, description="From the baseline's probabilities, in nats a token (Kullback and Leibler)."
    )
    n_tokens: int = Field(default=0, description="Tokens compared.")
    size_bytes: int | None = Field(default=None, description="Of the variant's graphs.")
    wer_increase: Interval | None = Field(
        default=None,
        description="Over the baseline's, on held-back clips, a fraction; None where not counted.",
    )
    is_pruned: bool = Field(
        default=False, description="Given up after the first clips: it parted from the baseline too much."
    )
    seconds: dict[str, float] = Field(default_factory=dict, description="What each part of the trial took.")


class Trial(Document):
    """A trial of a search."""

    number: int
    settings: Settings
    outcome: TrialOutcome


class SearchReport(Document):
    """What a search tried and what it chose; `search.json` in the run's folder."""

    schema_version: Literal[1] = 1
    recipe: str = Field(description="Name of the recipe whose choices were tried.")
    max_wer_increase: float = Field(description="The budget, a fraction.")
    spent_s: float = Field(description="Of all sittings together.")
    n_recorded_clips: int
    n_judge_clips: int
    n_confirm_clips: int
    baseline_wer: float = Field(description="On the held-back clips, a fraction.")
    wer_per_nat: float | None = Field(
        description="Slope of the WER increase by divergence, over all trials; None where there are too few."
    )
    trials: tuple[Trial, ...]
    front: tuple[int, ...] = Field(description="Trials that no other beats in both speed and divergence.")
    chosen: int = Field(description="Number of the trial that became the variant.")
    is_within_budget: bool

    @property
    def best(self) -> Trial:
        """The trial that became the variant."""
        return next(trial for trial in self.trials if trial.number == self.chosen)


def read_search(run_folder: Path) -> SearchReport | None:
    """Read what a search found; None where the run comes from none, or where it is not finished.

    Raises:
        InputError: the report is damaged.
    """
    path = run_folder / SEARCH_NAME / REPORT_NAME
    if not path.is_file():
        return None
    try:
        return SearchReport.model_validate_json(path.read_bytes())
    except ValueError as cause:
        raise InputError(f"{path} is damaged; run the search again to write it anew") from cause
