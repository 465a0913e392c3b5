"""One server for all tests that do not end it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from tests.support.server import RunningServer, running_server


@pytest.fixture(scope="session")
def served(tiny_run: Path) -> Path:
    """Name the variant that is served: stateful, with alignment."""
    return tiny_run / "fp32-stateful"


@pytest.fixture(scope="session")
def server(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(served, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: RunningServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as opened:
        yield opened
