"""Whisper's tokens: prompts, texts and the special tokens that steer decoding.

Source: `whisper/tokenizer.py` of openai/whisper; `generation_config.json` of a checkpoint.
"""

import json
import re
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

from sottovoce.errors import InputError
from sottovoce.runtime.decoding.model_defaults import (
    GENERATION_NAME,
    NO_DEFAULTS,
    ModelDefaults,
    model_defaults,
)
from sottovoce.runtime.options import check_language
from sottovoce.runtime.transcript import Task

Tokens = tuple[int, ...]

TOKENIZER_NAME = "tokenizer.json"

TIMESTAMP_STEP_S = 0.02
"""Between two timestamp tokens."""

MAX_TOKENS = 448
"""Positions of Whisper's decoder, the prompt included."""

MAX_PREVIOUS_TOKENS = MAX_TOKENS // 2 - 1
"""Tokens of a prompt for the previous text."""

LANGUAGES_OF_MANY_TOKENS = frozenset(
    [
        "am",
        "as",
        "bn",
        "bo",
        "gu",
        "hi",
        "hy",
        "ka",
        "km",
        "kn",
        "lo",
        "ml",
        "mr",
        "my",
        "ne",
        "pa",
        "sa",
        "si",
        "ta",
        "te",
        "th",
        "yi",
    ]
)
"""Whisper's vocabulary has few pieces of their scripts: a letter may take two or three tokens."""

MAX_VOCABULARY = 1 << 20
"""Ids of a tokenizer; Whisper has 51,866 at most."""

NO_SPEECH_NAMES = ("<|nospeech|>", "<|nocaptions|>")

_IN_SPECIAL = re.compile(r"(?<=<)(?=\|)")

BYTE_LEVEL = "ByteLevel"
"""The decoder of Whisper's tokenizers, as `tokenizer.json` calls it."""


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

    def ends_in_pair(self, tokens: Tokens) -> bool:
        """Return whether tokens end with two timestamps: another segment starts, whose text they do not have."""
        return len(tokens) > 1 and min(tokens[-2:]) >= self.first_timestamp

    def takes_many_tokens(self, prompt: Tokens) -> bool:
        """Return whether a prompt has a language of many tokens."""
        return any(self.languages.get(code) in prompt for code in LANGUAGES_OF_MANY_TOKENS)


def with_room(hotwords: Tokens, text: Tokens) -> Tokens:
    """Return the hotwords and as much of the end of the previous text as fits into a prompt."""
    room = MAX_PREVIOUS_TOKENS - len(hotwords)
    return hotwords + (text[-room:] if room > 0 else ())


class Vocabulary:
    """Tokens to text, from a table: the library `tokenizers`, which only text to tokens needs, takes 0.1 s more to load.

    All texts are one string, which takes 1 MB; a dictionary of them takes 6.
    """

    def __init__(self, tokens: Iterable[tuple[str, int]], special: frozenset[str]) -> None:
        """Take the tokens.

        Args:
            tokens: each with its id, a byte written as a character (`_byte_of`); of two with one id the last counts.
            special: those that stand for no text.

        Raises:
            InputError: an id is out of range.
        """
        pairs = tuple(tokens)
        n_ids = 1 + max((number for _, number in pairs), default=-1)
        if n_ids > MAX_VOCABULARY or any(number < 0 for _, number in pairs):
            raise InputError(f"the tokenizer has ids up to {n_ids - 1}: this is not Whisper's tokenizer")
        texts = [""] * n_ids
        for token, number in pairs:
            texts[number] = "" if token in special else token
        self._texts = "".join(texts)
        self._ends = array("L", accumulate(map(len, texts), initial=0))
        self._named = {token: number for token, number in pairs if token in special or token.startswith("<|")}
        self._first_special = min(
            (self._named[token] for token in special if token in self._named), default=n_ids
        )

    @classmethod
    def read(cls, path: Path) -> "Vocabulary":
        """Read the tokens of a `tokenizer.json`.

        Raises:
            InputError: it is not Whisper's.
        """
        document = json.loads(path.read_bytes())
        if document["decoder"]["type"] != BYTE_LEVEL:
            raise InputError(
                f"the tokenizer decodes with {document['decoder']['type']}: this is not Whisper's tokenizer"
            )
        added = document["added_tokens"]
        tokens = chain(
            document["model"]["vocab"].items(), ((token["content"], token["id"]) for token in added)
        )
        return cls(tokens, frozenset(token["content"] for token in added if token["special"]))

    def id_of(self, *names: str) -> int:
        """Return the id of a special token, by the first of its names that is known.

        Raises:
            InputError: none is.
        """
        found = next((self._named[name] for name in names if name in self._named), None)
        if found is None:
            raise InputError(f"the tokenizer has no {names[0]}: this is not Whisper's tokenizer")
        return found

    def plain_tokens(self) -> tuple[bytes, ...]:
        """Return the bytes of each text token, by id from 0 to the first special token; b"" for an unused id."""
        return tuple(map(self.bytes_of, range(self._first_special)))

    def bytes_of(self, token: int) -> bytes:
        """Return what a token stands for, which need not be whole characters; nothing for a special one."""
        if not 0 <= token < len(self._ends) - 1:
            return b""
        return _bytes_of(self._texts[self._ends[token] : self._ends[token + 1]])

    def text(self, tokens: Iterable[int]) -> str:
        """Turn tokens into text; bytes that are no UTF-8 become replacement characters."""
        return b"".join(map(self.bytes_of, tokens)).decode(errors="replace")


def _bytes_of(token: str) -> bytes:
    """Return what a token stands for; one with characters that stand for no byte, for itself."""
    table = _byte_of()
    try:
        return bytes(table[character] for character in token)
    except KeyError:
        return token.encode()


@cache
def _byte_of() -> Mapping[str, int]:
    """Return the byte that each character of a token stands for.

    Printable bytes stand for themselves, the others for characters from 256 on. Source:
    `bytes_to_unicode` in `src/encoder.py` of openai/gpt-2.
    """
    printable = (
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    )
    others = (byte for byte in range(256) if byte not in printable)
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


class WhisperTokenizer:
    """Texts to tokens and back, and the prompts of a checkpoint."""

    def __init__(
        self,
        path: Path,
        vocabulary: Vocabulary,
        special: SpecialTokens,
        defaults: ModelDefaults = NO_DEFAULTS,
    ) -> None:
        self._path = path
        self._vocabulary = vocabulary
        self.special = special
        self.defaults = defaults

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
            vocabulary = Vocabulary.read(folder / TOKENIZER_NAME)
            settings = json.loads((folder / GENERATION_NAME).read_bytes())
            special = _special_tokens(vocabulary, settings)
            defaults = model_defaults(settings, special.languages)
        except (OSError, AttributeError, LookupError, TypeError, ValueError) as cause:
            raise InputError(
                f"{folder}: its tokenizer or generation settings cannot be read: {cause}"
            ) from cause
        return cls(folder / TOKENIZER_NAME, vocabulary, special, defaults)

    @property
    def is_multilingual(self) -> bool:
        """Whether the model knows other languages than English."""
        return bool(self.special.languages)

    def prompt(
        self, *, language: str, task: Task | None, with_timestamps: bool, previous: Tokens = ()
    ) -> Tokens:
        """Return the tokens that decoding starts with.

        Args:
            language: code; ignored by an English-only model.
            task: transcribe, or translate to English; None transcribes.
            with_timestamps: whether segments are to carry times.
            previous: text tokens that came before, or a hint; the last ones are used.

        Raises:
            SpecError: the model does not know the language or the task.
        """
        special = self.special
        check_language(language, task, special.languages)
        kept = previous[-MAX_PREVIOUS_TOKENS:]
        before = (special.previous, *kept) if kept else ()
        steering: Tokens = (special.start,)
        if self.is_multilingual:
            steering = (special.start, special.languages[language], special.tasks[task or Task.TRANSCRIBE])
        return before + steering + (() if with_timestamps else (special.no_timestamps,))

    def encode(self, text: str) -> Tokens:
        """Turn text into tokens, without special ones: what looks like one is text.

        Raises:
            InputError: the tokenizer is damaged.
        """
        # The library takes the text "<|endoftext|>" for the token; cut behind "<", it is letters.
        pieces = _IN_SPECIAL.split(text)
        return tuple(
            token for piece in pieces for token in self._encoder.encode(piece, add_special_tokens=False).ids
        )

    @cached_property
    def _encoder(self) -> Any:
        """The library's tokenizer, which only hints need (`tokenizers.Tokenizer`)."""
        from tokenizers import Tokenizer

        try:
            return Tokenizer.from_file(str(self._path))
        except Exception as cause:  # tokenizers raises bare Exceptions
            raise InputError(f"{self._path} cannot be read: {cause}") from cause

    def text(self, tokens: Tokens) -> str:
        """Turn text tokens into text; special tokens and timestamps are left out."""
        return self._vocabulary.text(self.text_tokens(tokens))

    def bytes_of(self, token: int) -> bytes:
        """Return what a text token stands for, which need not be whole characters."""
        return self._vocabulary.bytes_of(token)

    def text_tokens(self, tokens: Tokens) -> list[int]:
        """Leave out special tokens and timestamps."""
        return [token for token in tokens if token < self.special.end]


def _end_token(vocabulary: Vocabulary, given: int | list[int]) -> int:
    """Return the end token; of several that generation may stop at, Whisper's own where it is one of them."""
    if not isinstance(given, list):
        return int(given)
    own = vocabulary.id_of("<|endoftext|>")
    return own if own in given else int(given[0])


def _special_tokens(vocabulary: Vocabulary, settings: dict[str, Any]) -> SpecialTokens:
    no_timestamps = vocabulary.id_of("<|notimestamps|>")
    languages = {name.strip("<|>"): int(token) for name, token in (settings.get("lang_to_id") or {}).items()}
    return SpecialTokens(
        start=int(settings["decoder_start_token_id"]),
        end=_end_token(vocabulary, settings["eos_token_id"]),
        previous=vocabulary.id_of("<|startofprev|>"),
        no_timestamps=no_timestamps,
        no_speech=vocabulary.id_of(*NO_SPEECH_NAMES),
        first_timestamp=no_timestamps + 1,
        tasks={Task(name): int(token) for name, token in (settings.get("task_to_id") or {}).items()},
        languages=languages,
        suppressed=tuple(settings.get("suppress_tokens") or ()),
        suppressed_at_start=tuple(settings.get("begin_suppress_tokens") or ()),
    )
