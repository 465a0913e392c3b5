"""The page's modules, under node."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.javascript import JavaScript, find_node

STATIC = Path(__file__).parents[3] / "serve" / "page" / "static"


@pytest.fixture(scope="session")
def logic() -> Iterator[JavaScript]:
    """Return what calls the page's functions without a document."""
    node = find_node()
    if node is None:
        pytest.skip("node is not installed, nor playwright, which carries it")
    javascript = JavaScript(node, STATIC / "logic")
    yield javascript
    javascript.close()
