"""Word errors under Whisper's normalizers.

`jiwer.wer_standardize` lacks Whisper's conventions: "twenty two" against "22" would count as two errors. The
normalizers are OpenAI's (Radford et al. 2022, appendix C), from the package `whisper-normalizer`, with two changes:
vowel signs of Indic scripts are kept, where the published one replaces them by spaces and so cuts words into letters and hides
errors (Manohar and Pillai 2024, "What is lost in Normalization?", arXiv:2409.02449), and Arabic and Hebrew points, which
are optional in writing, are left out instead of being replaced by spaces. Typographic apostrophes equal plain ones.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import Any

from pydantic import Field

from sottovoce.storage.documents import Document

CHARACTER_LANGUAGES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Written without spaces: each character counts as a word, so that WER is CER (Radford et al., 4.2)."""

MAX_TEXTS = 1 << 16
"""Size of caches by text: one text recurs in several comparisons."""

CHINESE = frozenset({"zh", "yue"})

NORMALIZER = "whisper-normalizer: English for en, basic with vowel signs else; characters for zh ja th lo my yue, zh simplified"

_APOSTROPHES = re.compile("[\u2018\u2019\u02bc\u02b9\uff07\u00b4`]")

_OPTIONAL_POINTS = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed]"
)
"""Points of Hebrew and Arabic, and the stroke that lengthens Arabic words."""


class WordErrors(Document):
    """Counts of a word alignment; in languages written without spaces a character counts as a word."""

    substitutions: int = Field(ge=0)
    deletions: int = Field(ge=0)
    insertions: int = Field(ge=0)
    reference_words: int = Field(ge=0)

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def wer(self) -> float:
        """Errors divided by reference words; without reference words 0, or infinite if there are errors."""
        if self.reference_words == 0:
            return 0.0 if self.errors == 0 else float("inf")
        return self.errors / self.reference_words


def normalize(text: str, language: str | None) -> str:
    """Normalize a transcript or reference as for Whisper's word error rates; without a language, with the basic normalizer."""
    text = _OPTIONAL_POINTS.sub("", unicodedata.normalize("NFC", _APOSTROPHES.sub("'", text)))
    if language == "en":
        normalized: str = _english()(text)
    elif language in CHARACTER_LANGUAGES:
        normalized = _characters()(_simplified(text) if language in CHINESE else text)
    else:
        normalized = _with_marks()(text)
    return " ".join(normalized.split())


def normalize_basic(text: str) -> str:
    """Normalize a text of any language as Whisper's basic normalizer was published: marks become spaces."""
    normalized: str = _basic()(text)
    return " ".join(normalized.split())


@cache
def _english() -> Any:
    from whisper_normalizer.english import EnglishTextNormalizer

    return EnglishTextNormalizer()


@cache
def _basic() -> Any:
    from whisper_normalizer.basic import BasicTextNormalizer

    return BasicTextNormalizer()


@cache
def _characters() -> Any:
    from whisper_normalizer.basic import BasicTextNormalizer

    return BasicTextNormalizer(split_letters=True, preserve_marks=True)


@cache
def _with_marks() -> Any:
    from whisper_normalizer.basic import BasicTextNormalizer

    return BasicTextNormalizer(preserve_marks=True)


@cache
def _converter() -> Any:
    from opencc import OpenCC

    return OpenCC("t2s")


def _simplified(text: str) -> str:
    converted: str = _converter().convert(text)
    return converted


def word_errors(reference: str, hypothesis: str) -> WordErrors:
    """Count the errors of the best word alignment; both texts are split at white space."""
    import jiwer

    aligned = jiwer.process_words(reference, hypothesis)
    return WordErrors(
        substitutions=aligned.substitutions,
        deletions=aligned.deletions,
        insertions=aligned.insertions,
        reference_words=aligned.hits + aligned.substitutions + aligned.deletions,
    )


def add_errors(parts: Iterable[WordErrors]) -> WordErrors:
    """Add up the errors of several clips."""
    all_parts = tuple(parts)
    return WordErrors(
        substitutions=sum(part.substitutions for part in all_parts),
        deletions=sum(part.deletions for part in all_parts),
        insertions=sum(part.insertions for part in all_parts),
        reference_words=sum(part.reference_words for part in all_parts),
    )
