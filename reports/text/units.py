"""Figures formatted for people. Units stand in headings; a function here returns the figure alone."""

import math
import unicodedata
from collections.abc import Iterable

MINUS = "\N{MINUS SIGN}"
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
NOT_MEASURED = "\N{EM DASH}"

BYTES_PER_MB = 1e6
BYTES_PER_GIB = 2**30
MS_PER_S = 1e3
_MINUTE_S = 60
_HOUR_S = 3600
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Cn", "Co"})
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Unicode's explicit directions: in untrusted text they would reverse the words around it."""


def fixed(value: float, digits: int = 2) -> str:
    """Format with a fixed number of decimals, thousands apart, a true minus sign, never `-0`."""
    if not math.isfinite(value):
        return "\N{INFINITY}" if value > 0 else NOT_MEASURED
    text = f"{abs(value):,.{digits}f}"
    is_negative = value < 0 and any(digit in text for digit in "123456789")
    return MINUS + text if is_negative else text


def three_figures(value: float) -> str:
    """Format a positive measurement with about three significant figures: 1.23, 12.3, 123."""
    size = abs(value)
    return fixed(value, 2 if size < 10 else 1 if size < 100 else 0)  # noqa: PLR2004 the powers of ten


def percent(fraction: float) -> str:
    """Format a fraction as a percentage without its sign: 0.0547 becomes 5.47."""
    return fixed(100 * fraction)


def signed_points(fraction: float) -> str:
    """Format a difference of two fractions in percentage points, sign first: +0.33."""
    text = percent(fraction)
    is_positive = fraction > 0 and any(digit in text for digit in "123456789")
    return f"+{text}" if is_positive else text


def milliseconds(seconds: float) -> str:
    """Format seconds as milliseconds."""
    return three_figures(seconds * MS_PER_S)


def megabytes(size_bytes: float) -> str:
    """Format bytes as MB (a million bytes)."""
    return three_figures(size_bytes / BYTES_PER_MB)


def gibibytes(size_bytes: float) -> str:
    """Format bytes as GiB, with the unit."""
    return f"{fixed(size_bytes / BYTES_PER_GIB, 1)} GiB"


def duration(seconds: float) -> str:
    """Format a length of audio with the unit that suits it: 45 s, 8.2 min, 3.4 h."""
    if seconds < 2 * _MINUTE_S:
        return f"{fixed(seconds, 0)} s"
    if seconds < 2 * _HOUR_S:
        return f"{fixed(seconds / _MINUTE_S, 1)} min"
    return f"{fixed(seconds / _HOUR_S, 1)} h"


def join_figures(figures: Iterable[tuple[str, str]]) -> str:
    """Join labels and figures into a sentence, the description of a chart for screen readers."""
    return "; ".join(f"{label}: {text}" for label, text in figures) + "."


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Join a number and its noun: 1 clip, 2 clips, 1,204 words."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def printable(text: str) -> str:
    """Replace control characters, lone surrogates and explicit directions by U+FFFD."""
    if text.isprintable():
        return text
    return "".join(character if _is_shown(character) else "\ufffd" for character in text)


def _is_shown(character: str) -> bool:
    if character in "\n\t":
        return True
    return character not in _DIRECTIONS and unicodedata.category(character) not in _HIDDEN_CATEGORIES
