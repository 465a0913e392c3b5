"""Transcripts as the tokens that Whisper is trained on; what is wrong with transcripts, in one line."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sottovoce.errors import InputError
from sottovoce.runtime.decoding.tokenizer import MAX_TOKENS, Tokens, WhisperTokenizer
from sottovoce.runtime.transcript import Task
from sottovoce.speech.clips import ClipSet
from sottovoce.speech.loading import LoadedClip

SCRIPTS = {
    "zh": ("CJK",),
    "yue": ("CJK",),
    "ja": ("CJK", "HIRAGANA", "KATAKANA"),
    "ko": ("HANGUL", "CJK"),
    "ru": ("CYRILLIC",),
    "uk": ("CYRILLIC",),
    "bg": ("CYRILLIC",),
    "el": ("GREEK",),
    "ar": ("ARABIC",),
    "fa": ("ARABIC",),
    "ur": ("ARABIC",),
    "he": ("HEBREW",),
    "hi": ("DEVANAGARI",),
    "th": ("THAI",),
    "en": ("LATIN",),
    "de": ("LATIN",),
    "fr": ("LATIN",),
    "es": ("LATIN",),
    "it": ("LATIN",),
    "nl": ("LATIN",),
    "pt": ("LATIN",),
    "pl": ("LATIN",),
}
"""First words of the Unicode names of a language's letters, for languages with one way of writing."""

_PRONOUN = re.compile(r"\bi\b")

LEAST_SHARE = 0.5
"""Of the letters of all transcripts of a language that are of its script."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledClip:
    """A clip with the tokens of its transcript.

    Attributes:
        prompt: start of transcript, language, task, no timestamps.
        labels: the text and the end token.
    """

    clip: LoadedClip
    language: str
    prompt: Tokens
    labels: Tokens

    @property
    def fits(self) -> bool:
        """Whether the decoder has room for all tokens."""
        return len(self.prompt) + len(self.labels) <= MAX_TOKENS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """Clips with labels, and what was left out.

    Attributes:
        too_long: ids of the clips whose tokens do not fit the decoder.
    """

    clips: tuple[LabelledClip, ...]
    too_long: tuple[str, ...]


def label_clips(
    clips: Sequence[LoadedClip], tokenizer: WhisperTokenizer, *, language: str | None
) -> Labelled:
    """Turn transcripts into tokens.

    Args:
        clips: of one or more languages.
        tokenizer: of the model.
        language: of clips that name none.

    Raises:
        InputError: clips have no transcript, are written in another script than their language, or are all too long.
    """
    texts = [(clip.clip.text or "").strip() for clip in clips]
    if missing := [clip.clip.clip_id for clip, text in zip(clips, texts, strict=True) if not text]:
        raise InputError(
            f"{len(missing)} of {len(clips)} clips have no transcript, the first is {missing[0]}; fine-tuning learns from "
            "transcripts (heal needs none)"
        )
    languages = [clip.clip.language or language or "en" for clip in clips]
    for each in sorted(set(languages)):
        _check_script(each, [text for text, own in zip(texts, languages, strict=True) if own == each])
    labelled = [
        _label(clip, text, own, tokenizer) for clip, text, own in zip(clips, texts, languages, strict=True)
    ]
    fitting = tuple(each for each in labelled if each.fits)
    too_long = tuple(each.clip.clip.clip_id for each in labelled if not each.fits)
    if not fitting:
        raise InputError(
            f"every transcript has more than {MAX_TOKENS} tokens, such as {too_long[0]}; cut the recordings into clips up to 30 s"
        )
    return Labelled(clips=fitting, too_long=too_long)


def _label(clip: LoadedClip, text: str, language: str, tokenizer: WhisperTokenizer) -> LabelledClip:
    return LabelledClip(
        clip=clip,
        language=language,
        prompt=tokenizer.prompt(language=language, task=Task.TRANSCRIBE, with_timestamps=False),
        labels=(*tokenizer.encode(f" {text}"), tokenizer.special.end),
    )


def without_capitals(speech: ClipSet) -> ClipSet:
    """Return a set with its transcripts in lower case where they are all capitals; else the same set.

    Most letters must be capitals and none lower case: Chinese with a few abbreviations stays as it is, and a transcript
    without letters, such as 1984, decides nothing.
    """
    letters = [letter for clip in speech.clips for letter in clip.text or "" if letter.isalpha()]
    n_capitals = sum(letter != letter.lower() for letter in letters)
    if 2 * n_capitals <= len(letters) or any(letter != letter.upper() for letter in letters):
        return speech
    clips = (replace(clip, text=clip.text and as_sentence(clip.text.strip())) for clip in speech.clips)
    return replace(speech, clips=tuple(clips))


def as_sentence(text: str) -> str:
    """Return a text in lower case that starts with a capital; the English pronoun I stays."""
    lower = _PRONOUN.sub("I", text.lower())
    return lower[:1].upper() + lower[1:]


def _check_script(language: str, texts: Sequence[str]) -> None:
    """Refuse transcripts that a language is not written in.

    Raises:
        InputError: most of their letters are of another script.
    """
    scripts = SCRIPTS.get(language)
    letters = [letter for text in texts for letter in text if letter.isalpha()]
    if scripts is None or not letters:
        return
    found = Counter(unicodedata.name(letter, "UNKNOWN").split()[0] for letter in letters)
    share = sum(found[name] for name in scripts) / len(letters)
    if share < LEAST_SHARE:
        (common, _), *_ = found.most_common(1)
        raise InputError(
            f"{100 * (1 - share):.0f} % of the letters of the transcripts in {language} are not {_join(scripts)} but mostly "
            f"{_join([common])}; check the language of the speech, or --language"
        )


def _join(scripts: Sequence[str]) -> str:
    """Return scripts as in `Chinese, Hiragana or Katakana`."""
    *others, last = ("Chinese" if name == "CJK" else name.title() for name in scripts)
    return f"{', '.join(others)} or {last}" if others else last
