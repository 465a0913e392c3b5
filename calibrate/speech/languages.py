"""Names of languages, as speech sets write them, to the codes that Whisper has."""

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

# The languages of the speech sets that write names (Multilingual LibriSpeech, LibriVox), and their peers.
_NAMES = {
    "arabic": "ar",
    "cantonese": "yue",
    "chinese": "zh",
    "dutch": "nl",
    "english": "en",
    "french": "fr",
    "german": "de",
    "hindi": "hi",
    "italian": "it",
    "japanese": "ja",
    "korean": "ko",
    "mandarin": "zh",
    "polish": "pl",
    "portuguese": "pt",
    "russian": "ru",
    "spanish": "es",
    "turkish": "tr",
    "ukrainian": "uk",
}


def to_whisper_language(name: str) -> str | None:
    """Return Whisper's code for a code, locale or English name: `en-US`, `English` -> `en`.

    A language that is not known here stays as its code, so that whoever needs it can say that
    Whisper has no such language; an empty name is None.
    """
    word = name.strip().lower().replace("_", "-")
    primary = word.partition("-")[0]
    return _NAMES.get(word) or _ALIASES.get(primary, primary) or None
