"""The page's modules under node, and the page in a real browser."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import WATCH, chromium
from tests.support.javascript import JavaScript, find_node
from tests.support.server import RunningServer, running_server

STATIC = Path(__file__).parents[3] / "serve" / "page" / "static"
DESKTOP = {"width": 1400, "height": 880}


@pytest.fixture(scope="session")
def logic() -> Iterator[JavaScript]:
    """Return what calls the page's functions without a document."""
    node = find_node()
    if node is None:
        pytest.skip("node is not installed, nor playwright, which carries it")
    javascript = JavaScript(node, STATIC / "logic")
    yield javascript
    javascript.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The page in the browser.

    Attributes:
        page: of playwright.
        messages: of the console, of errors and of dialogs.
        requests: addresses of all requests.
    """

    page: Any
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


Visit = Callable[..., Opened]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def pair(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Start a server of two variants."""
    folder = tmp_path_factory.mktemp("pair")
    with running_server(tiny_run / "fp32-stateful", folder, [str(tiny_run / "fp32")]) as running:
        yield running


@pytest.fixture
def visit(browser: Any, pair: RunningServer) -> Iterator[Visit]:
    """Return a function that opens the page; `answers` are routes of playwright, by the pattern of their addresses."""
    contexts = []

    def visit(
        view: str = "", *, answers: dict[str, Any] | None = None, context: Any = None, **options: Any
    ) -> Opened:
        if context is None:
            context = browser.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce", **options})
            context.add_init_script(WATCH)
            context.set_default_timeout(60_000)
            contexts.append(context)
        opened = Opened(page=context.new_page())
        opened.page.on("console", lambda message: opened.messages.append(message.text))
        opened.page.on("pageerror", lambda error: opened.messages.append(str(error)))
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        for pattern, answer in (answers or {}).items():
            opened.page.route(pattern, answer)
        opened.page.goto(f"{pair.url}/#{view}")
        opened.page.wait_for_selector("#server[data-state]")
        return opened

    yield visit
    for context in contexts:
        context.close()
