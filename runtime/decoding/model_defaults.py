"""Language and task that a fine-tuned checkpoint names in its `generation_config.json`, for users who give none."""

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sottovoce.errors import InputError, SpecError
from sottovoce.languages import DETECT, find_language
from sottovoce.runtime.options import TranscribeOptions, check_language
from sottovoce.runtime.transcript import Task

GENERATION_NAME = "generation_config.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDefaults:
    """What a model is for.

    Attributes:
        language: code; None where it is to be detected.
        task: None transcribes.
    """

    language: str | None = None
    task: Task | None = None

    def fill(self, language: str | None, task: Task | None) -> tuple[str | None, Task | None]:
        """Return the language and task to use, the model's where the user gives none; a language of None is detected."""
        language = self.language if language is None else language
        return None if language == DETECT else language, task or self.task

    def fill_options(self, options: TranscribeOptions) -> TranscribeOptions:
        """Return options with the model's language and task where they give none; see `fill`."""
        language, task = self.fill(options.language, options.task)
        return replace(options, language=language, task=task)


NO_DEFAULTS = ModelDefaults()


def model_defaults(settings: Mapping[str, Any], languages: Collection[str]) -> ModelDefaults:
    """Read the defaults of a model; what it cannot do is ignored, with a warning in the log.

    Args:
        settings: `generation_config.json`; the language is a code, a name or a token: `de`, `german`, `<|de|>`.
        languages: codes that the model has; none for an English-only model.
    """
    named, task = str(settings.get("language") or "").strip("<|> "), settings.get("task")
    language = find_language(named) or named or None
    try:
        check_language(language or next(iter(languages), "en"), Task(task) if task else None, languages)
    except (SpecError, ValueError) as cause:
        logger.warning("%s: its language and task are ignored: %s", GENERATION_NAME, cause)
        return NO_DEFAULTS
    return ModelDefaults(language=language, task=Task(task) if task else None)


def read_defaults(folder: Path, languages: Collection[str]) -> ModelDefaults:
    """Read the defaults of a variant; one made by an earlier version may have no such file, and no defaults.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / GENERATION_NAME
    try:
        settings = json.loads(path.read_bytes()) if path.is_file() else {}
        return model_defaults(settings, languages)
    except (OSError, AttributeError, ValueError) as cause:
        raise InputError(f"{path} cannot be read: {cause}; make the variant again") from cause
