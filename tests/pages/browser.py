"""A real Chromium for tests of pages, and what is seen with it."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
WAIT = 30_000
"""Milliseconds that something on a page may take to happen."""

expect.set_options(timeout=WAIT)


def chromium() -> str:
    """The path of a Chromium of this machine: PARLEY_CHROMIUM, or one on the PATH; "" when there is none."""
    named = os.environ.get("PARLEY_CHROMIUM", "")
    return named or next((path for name in _NAMES if (path := shutil.which(name))), "")


@contextmanager
def started() -> Iterator[Browser]:
    """The browser. Without one tests are skipped, or fail where PARLEY_CHROMIUM_REQUIRED is set (as in CI)."""
    path = chromium()
    if not path:
        reason = "there is no Chromium: install chromium-headless-shell, or name one in PARLEY_CHROMIUM"
        if os.environ.get("PARLEY_CHROMIUM_REQUIRED"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """One who looks at pages, and notes all that the browser complains of."""

    def __init__(self, browser: Browser, base: str) -> None:
        self._browser = browser
        self._base = base
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []
        self.foreign: list[str] = []

    def visit(self, path: str = "/", **options: Any) -> Page:
        """A page in a window of its own; `options` are those of a browser context."""
        context = self._browser.new_context(base_url=self._base, reduced_motion="reduce", **options)
        self._contexts.append(context)
        context.set_default_timeout(WAIT)
        page = context.new_page()
        page.on(
            "console", lambda said: said.type in ("error", "warning") and self.complaints.append(said.text)
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "dialog", lambda dialog: (self.complaints.append(f"dialog {dialog.message}"), dialog.dismiss())
        )
        page.on("request", lambda call: call.url.startswith(self._base) or self.foreign.append(call.url))
        page.goto(path)
        return page

    def leave(self) -> None:
        """Close all windows."""
        for context in self._contexts:
            context.close()


def faults(page: Page) -> list[str]:
    """What axe finds wrong on a page, by the rules of WCAG 2.2 AA and its best practices; contrast is computed."""
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": tags}}).response["violations"]
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary']}"
        for one in found
        for node in one["nodes"]
    ]


def overflow(page: Page) -> int:
    """CSS pixels by which a page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def focused(page: Page) -> str:
    """The text of what has the focus."""
    text = page.evaluate("(document.activeElement.innerText || document.activeElement.name || '')")
    return re.sub(r"\s+", " ", str(text)).strip()
