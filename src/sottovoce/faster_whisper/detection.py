"""The language of several windows."""

from collections import Counter
from collections.abc import Iterable

from sottovoce.runtime.decoding.context import DetectedLanguage


def settle_language(windows: Iterable[DetectedLanguage], threshold: float | None) -> DetectedLanguage:
    """Return the language of the first window that is likely enough, or else of most windows.

    Args:
        windows: at least one; no more are taken than are needed.
        threshold: probability that the language must exceed; None looks at all windows.
    """
    found: list[DetectedLanguage] = []
    for window in windows:
        if threshold is not None and window.probability > threshold:
            return window
        found.append(window)
    ((language, _),) = Counter(each.language for each in found).most_common(1)
    return max((each for each in found if each.language == language), key=lambda each: each.probability)
