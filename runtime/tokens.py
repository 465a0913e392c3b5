"""Whisper's tokens: prompts, texts and the special tokens that steer decoding.

Source: `whisper/tokenizer.py` of openai/whisper; `generation_config.json` of a checkpoint.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from sottovoce.errors import InputError, SpecError, nearest
from sottovoce.runtime.transcript import Task

Tokens = tuple[int, ...]

TOKENIZER_NAME = "tokenizer.json"
GENERATION_NAME = "generation_config.json"

TIMESTAMP_STEP_S = 0.02
"""Between two timestamp tokens."""

MAX_TOKENS = 448
"""Positions of Whisper's decoder, the prompt included."""

NO_SPEECH_NAMES = ("<|nospeech|>", "<|nocaptions|>")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialTokens:
    """Token ids that are not text.

    Attributes:
        languages: code to token; empty for an English-only model.
        suppressed: never generated.
        suppressed_at_start: not generated as the first token.
        first_timestamp: 0.00 s; the others follow, 0.02 s apart, until the end of the vocabulary.
    """

    start: int
    end: int
    previous: int
    no_timestamps: int
    no_speech: int
    first_timestamp: int
    tasks: dict[Task, int]
    languages: dict[str, int]
    suppressed: Tokens
    suppressed_at_start: Tokens


class WhisperTokenizer:
    """Texts to tokens and back, and the prompts of a checkpoint."""

    def __init__(self, tokenizer: Tokenizer, special: SpecialTokens) -> None:
        self._tokenizer = tokenizer
        self.special = special

    @classmethod
    def load(cls, folder: Path) -> "WhisperTokenizer":
        """Read the tokenizer and the generation settings of a variant.

        Raises:
            InputError: one of them is missing or is no Whisper's.
        """
        for name in (TOKENIZER_NAME, GENERATION_NAME):
            if not (folder / name).is_file():
                raise InputError(f"{folder} holds no {name}; give a variant of a run")
        try:
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_NAME))
            settings = json.loads((folder / GENERATION_NAME).read_text(encoding="utf-8"))
            return cls(tokenizer, _special_tokens(tokenizer, settings))
        except InputError:
            raise
        except Exception as cause:  # tokenizers raises bare Exceptions
            raise InputError(
                f"{folder}: its tokenizer or generation settings cannot be read: {cause}"
            ) from cause

    @property
    def is_multilingual(self) -> bool:
        """Whether the model knows other languages than English."""
        return bool(self.special.languages)

    def prompt(self, *, language: str, task: Task, with_timestamps: bool, previous: Tokens = ()) -> Tokens:
        """Return the tokens that decoding starts with.

        Args:
            language: code; ignored by an English-only model.
            task: transcribe, or translate to English.
            with_timestamps: whether segments are to carry times.
            previous: text tokens that came before, or a hint; the last ones are used.

        Raises:
            SpecError: the model does not know the language or the task.
        """
        special = self.special
        kept = previous[-(MAX_TOKENS // 2 - 1) :]
        before = (special.previous, *kept) if kept else ()
        steering: Tokens = (special.start,)
        if self.is_multilingual:
            steering = (special.start, self.language_token(language), special.tasks[task])
        elif language != "en" or task is Task.TRANSLATE:
            raise SpecError(f"this model knows English only, not {task} of {language}")
        return before + steering + (() if with_timestamps else (special.no_timestamps,))

    def language_token(self, language: str) -> int:
        """Return the token of a language.

        Raises:
            SpecError: the model does not know it.
        """
        languages = self.special.languages
        if language not in languages:
            raise SpecError(
                f"unknown language {language}{nearest(language, languages)}; give a code such as en or de"
            )
        return languages[language]

    def encode(self, text: str) -> Tokens:
        """Turn text into tokens, without special ones."""
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def text(self, tokens: Tokens) -> str:
        """Turn text tokens into text; special tokens and timestamps are left out."""
        text: str = self._tokenizer.decode(self.text_tokens(tokens), skip_special_tokens=True)
        return text

    def text_tokens(self, tokens: Tokens) -> list[int]:
        """Leave out special tokens and timestamps."""
        return [token for token in tokens if token < self.special.end]


def _special_tokens(tokenizer: Tokenizer, settings: dict[str, Any]) -> SpecialTokens:
    no_timestamps = _token(tokenizer, "<|notimestamps|>")
    end = int(settings["eos_token_id"])
    languages = {name.strip("<|>"): int(token) for name, token in (settings.get("lang_to_id") or {}).items()}
    return SpecialTokens(
        start=int(settings["decoder_start_token_id"]),
        end=end,
        previous=_token(tokenizer, "<|startofprev|>"),
        no_timestamps=no_timestamps,
        no_speech=next(
            token for name in NO_SPEECH_NAMES if (token := tokenizer.token_to_id(name)) is not None
        ),
        first_timestamp=no_timestamps + 1,
        tasks={Task(name): int(token) for name, token in (settings.get("task_to_id") or {}).items()},
        languages=languages,
        suppressed=tuple(settings.get("suppress_tokens") or ()),
        suppressed_at_start=tuple(settings.get("begin_suppress_tokens") or ()),
    )


def _token(tokenizer: Tokenizer, name: str) -> int:
    token = tokenizer.token_to_id(name)
    if token is None:
        raise InputError(f"the tokenizer has no {name}: this is no Whisper's")
    return int(token)
