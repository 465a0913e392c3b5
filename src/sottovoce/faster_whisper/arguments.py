"""What becomes of each argument of faster-whisper: sottovoce's options, or a refusal by its name."""

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from sottovoce.errors import SpecError
from sottovoce.runtime.decoding.tokenizer import Vocabulary
from sottovoce.runtime.options import MAX_BATCH, TranscribeOptions

Given = Mapping[str, Any]
"""The arguments of a call by name, defaults included."""

REFUSED: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "device": (("auto", "cpu"), "sottovoce runs on the CPU"),
    "device_index": (([0],), "sottovoce runs on the CPU"),
    "files": (({},), "give the folder of a run or of a variant"),
    "revision": ((), "nothing is downloaded"),
    "use_auth_token": ((False,), "nothing is downloaded"),
    "length_penalty": ((0, 1), "beams are compared by their mean log-probability (1) or its sum (0)"),
    "prompt_reset_on_temperature": ((0.5,), "text that was sampled at more than 0.5 is no prompt"),
    "prefix": (("",), "a text cannot be begun; initial_prompt shows the model what came before"),
    "suppress_blank": ((), "no text starts with a blank"),
    "max_new_tokens": ((), "a window has at most as many tokens as speech of its length"),
    "chunk_length": ((30,), "Whisper's windows have 30 s"),
    "prepend_punctuations": ((), "punctuation is joined to words by fixed lists"),
    "append_punctuations": ((), "punctuation is joined to words by fixed lists"),
}
"""Arguments with one meaning only: the values beside the default that mean the same, and the reason."""

NEVER_REPEATS = sys.float_info.max
"""As `compression_ratio_threshold`: no text repeats itself so often."""

ALWAYS_SPEECH = 1.0
"""As `no_speech_threshold`: no window is silent."""


def check_arguments(given: Given, function: Callable[..., Any]) -> None:
    """Refuse what sottovoce does not do.

    Args:
        given: the arguments of a call.
        function: whose defaults they have.

    Raises:
        SpecError: an argument of `REFUSED` has another value than its default.
    """
    defaults = inspect.signature(function).parameters
    for name, (same, reason) in REFUSED.items():
        if name not in given:
            continue
        value, default = given[name], defaults[name].default
        if value != default and value not in same:
            raise SpecError(f"{name}={value!r:.60} is not supported: {reason}; leave {name} out")


def to_options(
    given: Given, vocabulary: Vocabulary, language: str | None, *, is_batched: bool
) -> TranscribeOptions:
    """Return sottovoce's options for the arguments of `transcribe`.

    Args:
        given: the arguments, checked.
        vocabulary: turns a prompt of tokens into text.
        language: code; None is detected.
        is_batched: windows do not depend on one another.

    Raises:
        SpecError: a value is out of its range.
    """
    is_sequential = given["condition_on_previous_text"] and not given["without_timestamps"] and not is_batched
    temperature = given["temperature"]
    suppressed = given["suppress_tokens"]
    options = TranscribeOptions(
        language=language or "auto",
        task=given["task"],
        without_timestamps=given["without_timestamps"],
        word_timestamps=given["word_timestamps"],
        beam_size=given["beam_size"],
        length_penalty=None if given["length_penalty"] == 1 else 0.0,
        patience=given["patience"],
        temperature=tuple(map(float, temperature))
        if isinstance(temperature, Iterable)
        else float(temperature),
        best_of=given["best_of"],
        repetition_penalty=given["repetition_penalty"],
        no_repeat_ngram_size=given["no_repeat_ngram_size"],
        suppress_tokens=tuple(suppressed or ()),
        max_initial_timestamp=given["max_initial_timestamp"],
        compression_ratio_threshold=_or(given["compression_ratio_threshold"], NEVER_REPEATS),
        log_prob_threshold=_or(given["log_prob_threshold"], -float("inf")),
        no_speech_threshold=_or(given["no_speech_threshold"], ALWAYS_SPEECH),
        initial_prompt=_prompt(given["initial_prompt"], vocabulary),
        hotwords=given["hotwords"],
        condition_on_previous_text=is_sequential,
        vad_filter=None if given["vad_filter"] else False,
    )
    return _with_batch_size(options, given)


def _with_batch_size(options: TranscribeOptions, given: Given) -> TranscribeOptions:
    if "batch_size" not in given:
        return options
    return replace(options, batch_size=min(given["batch_size"], MAX_BATCH))


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _prompt(prompt: str | Iterable[int] | None, vocabulary: Vocabulary) -> str | None:
    return prompt if prompt is None or isinstance(prompt, str) else vocabulary.text(prompt)
