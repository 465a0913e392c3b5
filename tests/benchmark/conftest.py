"""Quick processes for engines that are faked."""

import multiprocessing
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from sottovoce.benchmark.timing import worker


@pytest.fixture(scope="module")
def forked_workers() -> Iterator[None]:
    """Fork the processes of engines from one that has imported what they need; users' processes import it anew."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([worker.__name__, "tests.support.engines"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "multiprocessing", SimpleNamespace(get_context=lambda _: context))
        yield
