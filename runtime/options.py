"""How audio is transcribed."""

import functools
import math
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypedDict

from sottovoce.errors import SpecError, nearest
from sottovoce.languages import parse_language, unknown_language
from sottovoce.runtime.audio.constants import WINDOW_S
from sottovoce.runtime.transcript import Task

MAX_BEAMS = 16
MAX_BATCH = 32

OLD_NAMES: Mapping[str, str] = {
    "compression_ratio_limit": "compression_ratio_threshold",
    "condition_on_previous": "condition_on_previous_text",
    "log_probability_limit": "log_prob_threshold",
    "no_speech_limit": "no_speech_threshold",
    "temperatures": "temperature",
    "use_voice_activity": "vad_filter",
    "with_timestamps": "without_timestamps",
}
"""Names of the release before, accepted for one more."""

NEGATED = "with_timestamps"
"""The old name whose value means the opposite of the new one's."""


def _renamed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options by their current names; an old name wins over the new one, as `dataclasses.replace` gives both."""
    renamed = {name: value for name, value in options.items() if name not in OLD_NAMES}
    known = {field.name for field in fields(TranscribeOptions)}
    for name in renamed.keys() - known:
        raise TypeError(f"unknown option {name}{nearest(name, known)}; TranscribeOptions lists them")
    for old in OLD_NAMES.keys() & options.keys():
        _warn(old, stacklevel=4)
        renamed[OLD_NAMES[old]] = not options[old] if old == NEGATED else options[old]
    return renamed


def _warn(old: str, *, stacklevel: int) -> None:
    opposite = ", which means the opposite" if old == NEGATED else ""
    warnings.warn(
        f"the option {old} is deprecated; use {OLD_NAMES[old]}{opposite}",
        DeprecationWarning,
        stacklevel=stacklevel,
    )


def check_language(language: str, task: Task | None, languages: Collection[str]) -> None:
    """Refuse what a model cannot do.

    Args:
        language: code.
        task: transcribe, or translate to English; None transcribes.
        languages: codes that the model has; none, or English alone, for an English-only model.

    Raises:
        SpecError: the model has no such language, or does not translate.
    """
    if not set(languages) <= {"en"}:
        if language not in languages:
            raise unknown_language(language, languages)
    elif language != "en" or task is Task.TRANSLATE:
        wanted = "translate" if task is Task.TRANSLATE else f"transcribe {language}"
        raise SpecError(
            f"an English-only model cannot {wanted}; use a multilingual one, such as base instead of base.en"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscribeOptions:
    """How audio is transcribed; names are those of faster-whisper where it has them.

    Defaults are those of openai/whisper, except that `condition_on_previous_text` is off.

    Attributes:
        language: code, locale or English name (`de`, `de-DE`, `deu`, `German`), kept as the code; `auto` detects it. None
            takes the one that a fine-tuned model names, and else detects it. An English-only model takes English only.
        task: transcribe, or translate to English. None takes the one that a fine-tuned model names, and else transcribes.
        without_timestamps: segments have no times of their own. With them, times of long audio in batches are taken
            from the alignment, which also shows speech that the text leaves out; from the model's timestamp tokens
            where a variant has no alignment or the text is a translation.
        word_timestamps: find the times of each word; costs one more pass of the decoder a window, where segments do
            not take it already. None: only where they do.
        beam_size: 1 is greedy.
        length_penalty: of beam search, an exponent; None divides a beam's log-probability by its number of tokens.
        patience: of beam search: the finished beams that it looks for, as a multiple of `beam_size`.
        temperature: one, or several that are tried in order until one gives a likely text that does not repeat itself.
        best_of: texts drawn at a temperature above 0, of which the likeliest is taken. None: 1, and 5 with CTranslate2, as
            faster-whisper does.
        repetition_penalty: above 1, tokens that the text of the window has already become less likely. Source: Keskar et
            al., "CTRL", 2019, section 4.1.
        no_repeat_ngram_size: no sequence of so many tokens occurs twice in a window; 0 allows all.
        suppress_tokens: never part of a text; -1 stands for those that the model's settings name, which None takes.
        max_initial_timestamp: seconds; the text of a window starts no later.
        compression_ratio_threshold: above, a text repeats itself.
        log_prob_threshold: below, a text is unlikely; mean of natural logarithms.
        no_speech_threshold: above, and where the text is unlikely too, a window is silent; with a text of a few tokens also
            above 0.625. 1 turns both off.
        initial_prompt: text before the first window, or before each where windows do not depend on one another:
            names, spelling, style.
        hotwords: words to expect, before every window.
        condition_on_previous_text: sequential mode: each window starts where the model's timestamps end the one before,
            with its text as prompt. Otherwise windows are cut at pauses and decoded in batches.
        vad_filter: look for speech before decoding; None does where audio is longer than a window, or where the
            text of a clip is doubtful. With False long audio is cut every 30 s.
        batch_size: windows decoded together.
        max_duration_s: longer audio is refused. None: 24 hours, and no more than speech could take so few bytes for.
        audio_track: of a film, numbered from 1. None: the default track, or another one where that is silent.
        allow_damaged: take what can be decoded of a file that ends early or is mostly broken.
    """

    language: str | None = None
    task: Task | None = None
    without_timestamps: bool = False
    word_timestamps: bool | None = False
    beam_size: int = 1
    length_penalty: float | None = None
    patience: float = 1.0
    temperature: float | tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    best_of: int | None = None
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    suppress_tokens: tuple[int, ...] | None = None
    max_initial_timestamp: float = 1.0
    compression_ratio_threshold: float = 2.4
    log_prob_threshold: float = -1.0
    no_speech_threshold: float = 0.6
    initial_prompt: str | None = None
    hotwords: str | None = None
    condition_on_previous_text: bool = False
    vad_filter: bool | None = None
    batch_size: int = 12
    max_duration_s: float | None = None
    audio_track: int | None = None
    allow_damaged: bool = False

    def __post_init__(self) -> None:
        if self.task not in (None, *Task):
            raise SpecError(f"task is {self.task}, want {' or '.join(Task)}")
        object.__setattr__(self, "task", self.task and Task(self.task))
        if self.language is not None:
            object.__setattr__(self, "language", parse_language(self.language))
        if not self.temperatures_tried or not all(0 <= t <= 1 for t in self.temperatures_tried):
            raise SpecError(f"temperature is {self.temperature}, want one or more from 0 to 1")
        if not 1 <= self.beam_size <= MAX_BEAMS:
            raise SpecError(f"beam_size is {self.beam_size}, want 1 to {MAX_BEAMS}")
        self._check_choice_of_tokens()
        if not 1 <= self.batch_size <= MAX_BATCH:
            raise SpecError(f"batch_size is {self.batch_size}, want 1 to {MAX_BATCH}")
        if self.max_duration_s is not None and not self.max_duration_s > 0:
            raise SpecError(f"max_duration_s is {self.max_duration_s}, want more than 0")
        if self.audio_track is not None and self.audio_track < 1:
            raise SpecError(f"audio_track is {self.audio_track}, want 1 or more")
        if self.condition_on_previous_text and self.without_timestamps:
            raise SpecError(
                "condition_on_previous_text needs timestamps, from which the next window starts; leave out "
                "without_timestamps"
            )
        if not (math.isfinite(self.compression_ratio_threshold) and self.compression_ratio_threshold > 0):
            raise SpecError(
                f"compression_ratio_threshold is {self.compression_ratio_threshold}, want more than 0"
            )

    def _check_choice_of_tokens(self) -> None:
        if not 0 < self.patience <= MAX_BEAMS:
            raise SpecError(f"patience is {self.patience}, want more than 0 and at most {MAX_BEAMS}")
        if self.best_of is not None and not 1 <= self.best_of <= MAX_BEAMS:
            raise SpecError(f"best_of is {self.best_of}, want 1 to {MAX_BEAMS}")
        if not 0 < self.repetition_penalty < math.inf:
            raise SpecError(f"repetition_penalty is {self.repetition_penalty}, want more than 0")
        if self.no_repeat_ngram_size < 0:
            raise SpecError(f"no_repeat_ngram_size is {self.no_repeat_ngram_size}, want 0 or more")
        if not 0 <= self.max_initial_timestamp <= WINDOW_S:
            raise SpecError(
                f"max_initial_timestamp is {self.max_initial_timestamp}, want seconds from 0 to {WINDOW_S}"
            )

    @property
    def temperatures_tried(self) -> tuple[float, ...]:
        """The temperatures in the order in which they are tried."""
        given = self.temperature
        return (float(given),) if isinstance(given, int | float) else tuple(given)

    def __getattr__(self, name: str) -> Any:
        """Read an option by its old name."""
        if name not in OLD_NAMES:
            raise AttributeError(f"{type(self).__name__} has no option {name}")
        _warn(name, stacklevel=3)
        value = getattr(self, OLD_NAMES[name])
        return not value if name == NEGATED else value


_init = TranscribeOptions.__init__


@functools.wraps(_init)
def _init_with_old_names(self: TranscribeOptions, **options: Any) -> None:
    _init(self, **_renamed(options))


class OptionValues(TypedDict, total=False):
    """The options of `TranscribeOptions` as keywords of a call."""

    language: str | None
    task: Task | None
    without_timestamps: bool
    word_timestamps: bool | None
    beam_size: int
    length_penalty: float | None
    patience: float
    temperature: float | tuple[float, ...]
    best_of: int | None
    repetition_penalty: float
    no_repeat_ngram_size: int
    suppress_tokens: tuple[int, ...] | None
    max_initial_timestamp: float
    compression_ratio_threshold: float
    log_prob_threshold: float
    no_speech_threshold: float
    initial_prompt: str | None
    hotwords: str | None
    condition_on_previous_text: bool
    vad_filter: bool | None
    batch_size: int
    max_duration_s: float | None
    audio_track: int | None
    allow_damaged: bool


TranscribeOptions.__init__ = _init_with_old_names  # type: ignore[method-assign]
