"""Whisper's code of a language, by the code, locale or name that a user or a speech set gives."""

import logging
import re
from collections.abc import Collection
from difflib import get_close_matches
from functools import lru_cache

from sottovoce.errors import SpecError

logger = logging.getLogger(__name__)

DETECT = "auto"
"""Asks for detection, as in whisper.cpp."""

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

# ISO 639-2, terminological and bibliographic.
_ISO_639_2 = (
    "afr:af alb:sq amh:am ara:ar arm:hy asm:as aze:az bak:ba baq:eu bel:be ben:bn bod:bo bos:bs "
    "bre:br bul:bg bur:my cat:ca ces:cs chi:zh cym:cy cze:cs dan:da deu:de dut:nl ell:el eng:en "
    "est:et eus:eu fao:fo fas:fa fin:fi fra:fr fre:fr geo:ka ger:de glg:gl gre:el guj:gu hat:ht "
    "hau:ha heb:he hin:hi hrv:hr hun:hu hye:hy ice:is ind:id isl:is ita:it jav:jw jpn:ja kan:kn "
    "kat:ka kaz:kk khm:km kor:ko lao:lo lat:la lav:lv lin:ln lit:lt ltz:lb mac:mk mal:ml mao:mi "
    "mar:mr may:ms mkd:mk mlg:mg mlt:mt mon:mn mri:mi msa:ms mya:my nep:ne nld:nl nno:nn nob:no "
    "nor:no oci:oc pan:pa per:fa pol:pl por:pt pus:ps ron:ro rum:ro rus:ru san:sa sin:si slk:sk "
    "slo:sk slv:sl sna:sn snd:sd som:so spa:es sqi:sq srp:sr sun:su swa:sw swe:sv tam:ta tat:tt "
    "tel:te tgk:tg tgl:tl tha:th tib:bo tuk:tk tur:tr ukr:uk urd:ur uzb:uz vie:vi wel:cy yid:yi "
    "yor:yo zho:zh "
)
_THREE_LETTERS = dict(pair.split(":") for pair in _ISO_639_2.split())

# Whisper's names and their aliases (`LANGUAGES` and `TO_LANGUAGE_CODE` in openai/whisper's tokenizer.py), names of
# FLEURS and Common Voice, and some languages' own names.
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
    "cantonese chinese": "yue",
    "cantonese": "yue",
    "castilian": "es",
    "catalan": "ca",
    "chinese": "zh",
    "croatian": "hr",
    "czech": "cs",
    "danish": "da",
    "deutsch": "de",
    "dutch": "nl",
    "english": "en",
    "español": "es",
    "estonian": "et",
    "faroese": "fo",
    "filipino": "tl",
    "finnish": "fi",
    "flemish": "nl",
    "français": "fr",
    "french": "fr",
    "galician": "gl",
    "georgian": "ka",
    "german": "de",
    "greek": "el",
    "gujarati": "gu",
    "haitian creole": "ht",
    "haitian": "ht",
    "hausa": "ha",
    "hawaiian": "haw",
    "hebrew": "he",
    "hindi": "hi",
    "hungarian": "hu",
    "icelandic": "is",
    "indonesian": "id",
    "italian": "it",
    "italiano": "it",
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
    "mandarin chinese": "zh",
    "mandarin": "zh",
    "maori": "mi",
    "marathi": "mr",
    "moldavian": "ro",
    "moldovan": "ro",
    "mongolian": "mn",
    "myanmar": "my",
    "nederlands": "nl",
    "nepali": "ne",
    "norwegian": "no",
    "nynorsk": "nn",
    "occitan": "oc",
    "panjabi": "pa",
    "pashto": "ps",
    "persian": "fa",
    "polish": "pl",
    "polski": "pl",
    "portuguese": "pt",
    "português": "pt",
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
    "svenska": "sv",
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
    "türkçe": "tr",
    "ukrainian": "uk",
    "urdu": "ur",
    "uzbek": "uz",
    "valencian": "ca",
    "vietnamese": "vi",
    "welsh": "cy",
    "yiddish": "yi",
    "yoruba": "yo",
}

_OTHER_NAMES = frozenset(
    [
        "bokmål",
        "burmese",
        "cantonese chinese",
        "castilian",
        "español",
        "valencian",
        "mandarin chinese",
        "mandarin",
        "deutsch",
        "flemish",
        "nederlands",
        "filipino",
        "français",
        "haitian",
        "italiano",
        "letzeburgesch",
        "moldavian",
        "moldovan",
        "panjabi",
        "pushto",
        "polski",
        "português",
        "sinhalese",
        "svenska",
        "türkçe",
    ]
)
"""Not those of `LANGUAGES` in openai/whisper."""

_CODE = re.compile("[a-z]{2,3}")

_CACHE_SIZE = 512

_N_SUGGESTIONS = 3


def find_language(name: str) -> str | None:
    """Return Whisper's code for a code, locale or name: `EN`, `en-US`, `eng`, `English` -> `en`.

    An unknown code is returned in lower case, since a model may have it. Any other unknown name gives None.
    """
    word = name.strip().lower().replace("_", "-")
    by_name = _NAMES.get(" ".join(word.replace("-", " ").split()))
    if by_name is not None:
        return by_name
    primary = word.partition("-")[0]
    if not _CODE.fullmatch(primary):
        return None
    return _ALIASES.get(primary) or _THREE_LETTERS.get(primary, primary)


def language_name(code: str) -> str:
    """Return Whisper's name of a code, such as `german`; the code where it has none."""
    return next((name for name, known in _NAMES.items() if known == code and name not in _OTHER_NAMES), code)


# Cached, so that an unknown name is logged once and not for each clip.
@lru_cache(maxsize=_CACHE_SIZE)
def to_whisper_language(name: str) -> str | None:
    """Return `find_language` for the clip of a speech set; log a name that Whisper does not have."""
    code = find_language(name)
    if code is None and name.strip():
        logger.warning("Whisper has no language %.40r; its clips count as of unknown language", name)
    return code


def parse_language(name: str) -> str:
    """Return `find_language` for the language that a user gives; `auto` as it is.

    Raises:
        SpecError: no language has this name; the message has the nearest ones.
    """
    if name.strip().lower() == DETECT:
        return DETECT
    code = find_language(name)
    if code is None:
        raise unknown_language(name, _NAMES.values())
    return code


def unknown_language(name: str, codes: Collection[str]) -> SpecError:
    """Return the error for a language that a model does not have.

    Args:
        name: as the user gave it.
        codes: those that the model has.
    """
    words = {word: f"{word.title()} ({code})" for word, code in _NAMES.items() if code in codes}
    near = get_close_matches(name.strip().lower(), words | {code: code for code in codes}, n=_N_SUGGESTIONS)
    hint = f"did you mean {' or '.join(words.get(word, word) for word in near)}?"
    return SpecError(
        f"unknown language {name:.40}; {hint if near else 'give a code or a name, such as de or German'}"
    )
