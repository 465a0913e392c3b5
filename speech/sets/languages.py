"""Names of languages, as speech sets write them, to the codes that Whisper has."""

import logging
import re
from functools import lru_cache

logger = logging.getLogger(__name__)

# Whisper's code where that of ISO 639 or of a browser differs.
_ALIASES = {
    "cmn": "zh",  # FLEURS; Mandarin is Whisper's zh, Cantonese has yue
    "fil": "tl",  # FLEURS
    "in": "id",  # until 1989
    "iw": "he",  # until 1989
    "ji": "yi",  # until 1989
    "jv": "jw",  # Whisper kept the withdrawn code of Javanese
    "nb": "no",  # FLEURS and macOS; Whisper tells Bokmål as Norwegian, Nynorsk as nn
}

# Whisper's names and their aliases (`LANGUAGES` and `TO_LANGUAGE_CODE` in openai/whisper's tokenizer.py), and what
# FLEURS and Common Voice say beside them.
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

_N_REMEMBERED = 512


# Remembered, so that a name that says nothing is told once and not for each clip.
@lru_cache(maxsize=_N_REMEMBERED)
def to_whisper_language(name: str) -> str | None:
    """Return Whisper's code for a code, locale or English name: `en-US`, `English` -> `en`.

    A code that is not known here stays, so that whoever needs it can say that Whisper has no such
    language; what is no code either is None, a language that nobody knows.
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
