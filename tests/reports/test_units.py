import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.reports.text.units import count, duration, fixed, printable, signed_points, three_figures


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.0033, "+0.33"),
        (-0.0041, "\N{MINUS SIGN}0.41"),
        (0.0, "0"),
        (-0.000001, "0"),
        (0.000001, "0"),
    ],
)
def test_points_have_a_sign_unless_they_round_to_nothing(fraction: float, text: str) -> None:
    assert signed_points(fraction) == text


@pytest.mark.parametrize(("value", "text"), [(1.234, "1.23"), (12.34, "12.3"), (1234.4, "1,234")])
def test_measurements_keep_about_three_figures(value: float, text: str) -> None:
    assert three_figures(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(45, "45 s"), (492, "8.2 min"), (12240, "3.4 h")])
def test_a_duration_has_the_unit_that_suits_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_one_clip_is_singular() -> None:
    assert (count(1, "clip"), count(1204, "clip")) == ("1 clip", "1,204 clips")


def test_a_rate_without_words_is_infinite_not_a_crash() -> None:
    assert fixed(float("inf")) == "\N{INFINITY}"


@given(text=st.text(alphabet=st.characters(categories=["Cs", "Cc", "L"])))
def test_printable_text_can_always_be_written(text: str) -> None:
    assert printable(text).encode("utf-8").count(b"\x00") == 0
    assert len(printable(text)) == len(text)


def test_untrusted_text_cannot_reverse_the_words_around_it() -> None:
    assert printable("a\u202eb\u2066c\u2069") == "a\ufffdb\ufffdc\ufffd"
    assert printable("\u05e9\u05dc\u05d5\u05dd") == "\u05e9\u05dc\u05d5\u05dd"
