"""Debian's Chromium for tests of pages."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
PHONE = {"width": 390, "height": 844}

WATCH = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
"""
"""Collects what a page's security policy stopped."""

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (or set CHROMIUM)")


@contextmanager
def chromium(arguments: Sequence[str] = (), **options: Any) -> Iterator[Any]:
    """Start the browser with more arguments and options of playwright's `launch`."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *arguments], **options)
        yield started
        started.close()
