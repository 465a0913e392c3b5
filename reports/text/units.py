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
_SMALLEST = 0.005
"""Less rounds to 0 with two decimals."""
_NEAR_ONE = 0.2
_HALF, _WHOLE = 50, 100
"""Percentages."""
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


def two_figures(value: float) -> str:
    """Format with two significant digits and at most two decimals: 1,200, 76, 4.3, 0.83, 0.04, 0."""
    if not math.isfinite(value) or abs(value) < _SMALLEST:
        return fixed(value, 0)
    rounded = float(f"{value:.1e}")
    return fixed(rounded, min(max(1 - math.floor(math.log10(abs(rounded))), 0), 2))


def times(ratio: float) -> str:
    """Format a ratio with two significant digits; near 1 with two decimals, since the difference from 1 matters."""
    return fixed(ratio) if abs(ratio - 1) < _NEAR_ONE else two_figures(ratio)


def percent(fraction: float) -> str:
    """Format a fraction as a percentage without its sign; near 100, the distance from 100 has two digits: 98.3."""
    value = 100 * fraction
    if not _HALF < value < _WHOLE:
        return two_figures(value)
    _, _, decimals = two_figures(_WHOLE - value).partition(".")
    return fixed(value, len(decimals))


def points(fraction: float) -> str:
    """Format a difference of two fractions in percentage points."""
    return two_figures(100 * fraction)


def signed_points(fraction: float) -> str:
    """Format a difference of two fractions in percentage points, sign first: +0.33."""
    text = points(fraction)
    return f"+{text}" if fraction > 0 and text != "0" else text


def milliseconds(seconds: float) -> str:
    """Format seconds as milliseconds."""
    return two_figures(seconds * MS_PER_S)


def megabytes(size_bytes: float) -> str:
    """Format bytes as MB (a million bytes)."""
    return two_figures(size_bytes / BYTES_PER_MB)


def gibibytes(size_bytes: float) -> str:
    """Format bytes as GiB, with the unit."""
    return f"{fixed(size_bytes / BYTES_PER_GIB, 1)} GiB"


def duration(seconds: float) -> str:
    """Format a length of audio with the unit that suits it: 45 s, 8.2 min, 3.4 h."""
    if seconds < 2 * _MINUTE_S:
        return f"{fixed(seconds, 0)} s"
    if seconds < 2 * _HOUR_S:
        return f"{two_figures(seconds / _MINUTE_S)} min"
    return f"{two_figures(seconds / _HOUR_S)} h"


def join_figures(figures: Iterable[tuple[str, str]]) -> str:
    """Join labels and figures into a sentence, the description of a chart for screen readers."""
    return "; ".join(f"{label}: {text}" for label, text in figures) + "."


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Join a number and its noun: 1 clip, 2 clips, 1,204 words."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def round_up(number: float) -> int:
    """Round up to two significant figures: 1234 becomes 1300."""
    unit = 10.0 ** max(len(str(int(number))) - 2, 0)
    return math.ceil(number / unit) * int(unit)


def printable(text: str) -> str:
    """Replace control characters, lone surrogates and explicit directions by U+FFFD."""
    if text.isprintable():
        return text
    return "".join(character if _is_shown(character) else "\ufffd" for character in text)


def _is_shown(character: str) -> bool:
    if character in "\n\t":
        return True
    return character not in _DIRECTIONS and unicodedata.category(character) not in _HIDDEN_CATEGORIES
