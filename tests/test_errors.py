"""What errors say, and with which exit code."""

import inspect
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce import errors

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]


def test_every_error_is_a_sottovoce_error() -> None:
    assert [kind for kind in KINDS if not issubclass(kind, errors.SottovoceError)] == []


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.SpecError, 2),
        (errors.InputError, 1),
        (errors.OutputExistsError, 1),
        (errors.MissingExtraError, 1),
        (errors.ResourceError, 1),
        (errors.StageError, 1),
        (errors.GateError, 3),
        (errors.ParityError, 3),
    ],
)
def test_the_kind_of_an_error_is_its_exit_code(kind: type[errors.SottovoceError], code: int) -> None:
    assert kind.exit_code == code


@pytest.mark.parametrize("kind", KINDS)
def test_the_tree_in_the_docstring_shows_every_error_a_user_chooses_by(kind: type[Exception]) -> None:
    assert kind is errors.OutputExistsError or kind.__name__ in (errors.__doc__ or "")


def test_a_missing_extra_says_what_to_install() -> None:
    error = errors.MissingExtraError("jiwer", needed_for="`sottovoce benchmark`", extra="benchmark")
    assert str(error).endswith('Run: pip install "sottovoce[benchmark]"')
    assert (error.module, error.extra) == ("jiwer", "benchmark")


def test_an_existing_output_says_how_to_go_on() -> None:
    error = errors.OutputExistsError(Path("runs/mine"))
    assert str(error) == "runs/mine exists already. Choose another --out, or pass --force to replace it"
    assert error.path == Path("runs/mine")


def test_a_typo_gets_a_suggestion() -> None:
    assert errors.nearest("tiny.ne", ["tiny.en", "base"]) == "; did you mean tiny.en?"


def test_what_is_like_nothing_gets_no_suggestion() -> None:
    assert errors.nearest("zzz", ["tiny.en", "base"]) == ""


@given(st.text(max_size=30), st.lists(st.text(max_size=30), max_size=8))
def test_a_suggestion_is_always_a_known_name(name: str, known: list[str]) -> None:
    advice = errors.nearest(name, known)
    assert advice == "" or advice in {f"; did you mean {each}?" for each in known}


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=8))
def test_a_known_name_is_its_own_suggestion(known: list[str]) -> None:
    assert errors.nearest(known[0], known) == f"; did you mean {known[0]}?"
