"""Results made by hand, and what writes them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import Results
from tests.support.results import build_sample, save_sample


@pytest.fixture(scope="session")
def results() -> Results:
    """Return results over twelve clips: fp16 no faster, int8 faster and of undecided accuracy."""
    return build_sample().results


@pytest.fixture(scope="session")
def rows() -> tuple[ClipRow, ...]:
    """Return the clips of `results`."""
    return build_sample().rows


@pytest.fixture(scope="session")
def save() -> Callable[[Results, tuple[ClipRow, ...], Path], Path]:
    """Return a function that writes results into a folder, as `sottovoce benchmark` does."""
    return save_sample
