"""Whisper's codes of the languages that speech sets name."""

import logging
import re
from functools import lru_cache

logger = logging.getLogger(__name__)

# Codes of ISO 639 and of browsers that differ from Whisper's.
_ALIASES = {
    "cmn": "zh",  # FLEURS; Mandarin is Whisper's zh, Cantonese has yue
    "fil": "tl",  # FLEURS
    "in": "id",  # until 1989
    "iw": "he",  # until 1989
    "ji": "yi",  # until 1989
    "jv": "jw",  # Whisper kept the withdrawn code of Javanese
    "nb": "no",  # FLEURS and macOS; for Whisper Bokmål is Norwegian, Nynorsk is nn
}

# Whisper's names and their aliases (`LANGUAGES` and `TO_LANGUAGE_CODE` in openai/whisper's tokenizer.py), and names
# of FLEURS and Common Voice.
_NAMES = {
    "afrikaans": "af",
    "albanian": "sq",
    "amharic": "am",
    "arabic": "ar",
    "armenian": "hy",
    "assamese": "as",
    "azerbaijani": "az",
    "bashkir": "ba",
    "basque": "eu",
    "belarusian": "be",
    "bengali": "bn",
    "bokmål": "no",
    "bosnian": "bs",
    "breton": "br",
    "bulgarian": "bg",
    "burmese": "my",
    "cantonese": "yue",
    "cantonese chinese": "yue",
    "castilian": "es",
    "catalan": "ca",
    "chinese": "zh",
    "croatian": "hr",
    "czech": "cs",
    "danish": "da",
    "dutch": "nl",
    "english": "en",
    "estonian": "et",
    "faroese": "fo",
    "filipino": "tl",
    "finnish": "fi",
    "flemish": "nl",
    "french": "fr",
    "galician": "gl",
    "georgian": "ka",
    "german": "de",
    "greek": "el",
    "gujarati": "gu",
    "haitian": "ht",
    "haitian creole": "ht",
    "hausa": "ha",
    "hawaiian": "haw",
    "hebrew": "he",
    "hindi": "hi",
    "hungarian": "hu",
    "icelandic": "is",
    "indonesian": "id",
    "italian": "it",
    "japanese": "ja",
    "javanese": "jw",
    "kannada": "kn",
    "kazakh": "kk",
    "khmer": "km",
    "korean": "ko",
    "lao": "lo",
    "latin": "la",
    "latvian": "lv",
    "letzeburgesch": "lb",
    "lingala": "ln",
    "lithuanian": "lt",
    "luxembourgish": "lb",
    "macedonian": "mk",
    "malagasy": "mg",
    "malay": "ms",
    "malayalam": "ml",
    "maltese": "mt",
    "mandarin": "zh",
    "mandarin chinese": "zh",
    "maori": "mi",
    "marathi": "mr",
    "moldavian": "ro",
    "moldovan": "ro",
    "mongolian": "mn",
    "myanmar": "my",
    "nepali": "ne",
    "norwegian": "no",
    "nynorsk": "nn",
    "occitan": "oc",
    "panjabi": "pa",
    "pashto": "ps",
    "persian": "fa",
    "polish": "pl",
    "portuguese": "pt",
    "punjabi": "pa",
    "pushto": "ps",
    "romanian": "ro",
    "russian": "ru",
    "sanskrit": "sa",
    "serbian": "sr",
    "shona": "sn",
    "sindhi": "sd",
    "sinhala": "si",
    "sinhalese": "si",
    "slovak": "sk",
    "slovenian": "sl",
    "somali": "so",
    "spanish": "es",
    "sundanese": "su",
    "swahili": "sw",
    "swedish": "sv",
    "tagalog": "tl",
    "tajik": "tg",
    "tamil": "ta",
    "tatar": "tt",
    "telugu": "te",
    "thai": "th",
    "tibetan": "bo",
    "turkish": "tr",
    "turkmen": "tk",
    "ukrainian": "uk",
    "urdu": "ur",
    "uzbek": "uz",
    "valencian": "ca",
    "vietnamese": "vi",
    "welsh": "cy",
    "yiddish": "yi",
    "yoruba": "yo",
}

_CODE = re.compile("[a-z]{2,3}")

_CACHE_SIZE = 512


# Cached, so that an unknown name is logged once and not for each clip.
@lru_cache(maxsize=_CACHE_SIZE)
def to_whisper_language(name: str) -> str | None:
    """Return Whisper's code for a code, locale or English name: `en-US`, `English` -> `en`.

    An unknown code is returned unchanged, so that the caller can report that Whisper does not have it. Any other
    unknown name gives None.
    """
    word = name.strip().lower().replace("_", "-")
    by_name = _NAMES.get(" ".join(word.replace("-", " ").split()))
    if by_name is not None:
        return by_name
    primary = word.partition("-")[0]
    if _CODE.fullmatch(primary):
        return _ALIASES.get(primary, primary)
    if word:
        logger.warning("Whisper has no language %.40r; its clips count as of unknown language", name)
    return None
