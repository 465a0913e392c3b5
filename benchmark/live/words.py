"""When the words of a reference are spoken."""

from collections.abc import Sequence
from dataclasses import dataclass

from sottovoce.runtime.transcript import Word
from sottovoce.statistics.accuracy import normalize
from sottovoce.statistics.word_alignment import match, normalized_words


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceWord:
    """A normalized word of a reference; its times are None where the baseline does not transcribe it right."""

    text: str
    start_s: float | None
    end_s: float | None


def reference_words(
    reference: str, spoken: Sequence[Word], language: str | None
) -> tuple[ReferenceWord, ...]:
    """Give the words of a reference the times of the same words of a transcript.

    Args:
        reference: as the speech set has it.
        spoken: words of the float32 baseline on the whole recording, with times from alignment.
        language: of both.
    """
    texts = normalize(reference, language).split()
    tokens = normalized_words([word.text for word in spoken], language)
    found = match(texts, [text for text, _ in tokens])
    times = {place: spoken[tokens[other][1]] for place, other in found.items()}
    return tuple(
        ReferenceWord(
            text=text,
            start_s=times[place].start_s if place in times else None,
            end_s=times[place].end_s if place in times else None,
        )
        for place, text in enumerate(texts)
    )
