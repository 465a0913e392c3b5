"""What a search found: `search.json`, and the clips that it went by, `judged.jsonl`, in the run's folder `search`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from sottovoce.runs import SEARCH_NAME
from sottovoce.speech.loading import LoadedClip
from sottovoce.speech.properties import sha256_of_wave
from sottovoce.statistics.intervals import Interval
from sottovoce.storage.documents import Document, read_document, read_json_lines, write_json_lines

Settings = dict[str, object]
"""Values by the path of the recipe's key that they replace."""

REPORT_NAME = "search.json"

JUDGED_NAME = "judged.jsonl"

MAX_SHORT = 40


def describe_settings(settings: Settings, own: Settings) -> str:
    """Describe in one line how settings differ from the recipe's own; long values are cut."""
    changed = [
        f"{path.rsplit('.', 1)[-1]}={_short(value)}" for path, value in settings.items() if value != own[path]
    ]
    return ", ".join(changed) or "as the recipe says"


def _short(value: object) -> str:
    text = _text(value)
    return text if len(text) <= MAX_SHORT else f"{text[: MAX_SHORT - 1]}…"


def _text(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(_text(inner) for inner in value.values() if inner not in (None, [], "default"))
    if isinstance(value, list):
        return " + ".join(_nodes(inner) for inner in value) or "none"
    return str(value)


def _nodes(value: object) -> str:
    """Describe an entry of `keep_float` by the nodes that it lists."""
    if not isinstance(value, dict):
        return _text(value)
    return " ".join(str(name) for key in ("types", "patterns", "names") for name in value.get(key) or [])


class TrialOutcome(Document):
    """Result of a trial."""

    failure: str | None = Field(default=None, description="Why the trial failed; there are no figures then.")
    speedup: float | None = Field(
        default=None,
        description="Seconds of the baseline divided by those of the variant, on the same clips.",
    )
    flips: float | None = Field(
        default=None,
        description="Share of the baseline's tokens where the variant's likeliest token is another.",
    )
    divergence: float | None = Field(
        default=None, description="KL divergence from the baseline's probabilities, in nats per token."
    )
    n_tokens: int = Field(default=0, description="Tokens compared.")
    size_bytes: int | None = Field(default=None, description="Size of the variant's graphs.")
    wer_increase: Interval | None = Field(
        default=None,
        description="Over the baseline's WER, on held-out clips, a fraction; None where not counted.",
    )
    is_pruned: bool = Field(
        default=False, description="Stopped after the first clips: it diverged too much from the baseline."
    )
    seconds: dict[str, float] = Field(default_factory=dict, description="Duration of each part of the trial.")


class Trial(Document):
    """A trial of a search."""

    number: int
    settings: Settings
    outcome: TrialOutcome


class SearchReport(Document):
    """What a search tried and what it chose."""

    schema_version: Literal[1] = 1
    recipe: str = Field(description="Name of the recipe whose choices were tried.")
    max_wer_increase: float = Field(description="The budget, a fraction.")
    spent_s: float = Field(description="Over all invocations.")
    n_recorded_clips: int
    n_judge_clips: int
    n_confirm_clips: int
    baseline_wer: float = Field(description="On the held-out clips, a fraction.")
    wer_per_nat: float | None = Field(
        description="Slope of the WER increase over the divergence, over all trials; None where there are too few."
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
    """Read the report of a run's search; None where there was none, or where it is not finished.

    Raises:
        InputError: the report is damaged.
    """
    path = run_folder / SEARCH_NAME / REPORT_NAME
    if not path.is_file():
        return None
    return read_document(path, SearchReport, advice="run the search again to write it anew")


class JudgedClip(Document):
    """A clip that trials were compared on, a line of `judged.jsonl`: figures on it flatter the chosen trial."""

    clip_id: str
    audio_sha256: str = Field(description="Hash of the decoded samples, float32, 16 kHz.")


def write_judged_clips(clips: Iterable[LoadedClip], folder: Path) -> None:
    """Write which clips a search uses into its folder, each once."""
    judged = {
        clip.clip.clip_id: JudgedClip(clip_id=clip.clip.clip_id, audio_sha256=sha256_of_wave(clip.wave))
        for clip in clips
    }
    write_json_lines(folder / JUDGED_NAME, judged.values())


def read_judged_clips(run_folder: Path) -> tuple[JudgedClip, ...]:
    """Read which clips the search of a run used; empty where there was no search.

    Raises:
        InputError: the file is damaged.
    """
    path = run_folder / SEARCH_NAME / JUDGED_NAME
    if not path.is_file():
        return ()
    return read_json_lines(path, JudgedClip, advice="run the search again to write it anew")
