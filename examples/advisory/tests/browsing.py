"""A real browser that notes everything that should not happen: console, policy, requests elsewhere, axe."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

Browser = Any  # playwright is imported where there is one

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
_people = itertools.count(1)
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(event.violatedDirective + " " + event.blockedURI);
});
"""
FOCUSED = """(() => {
  const focused = document.activeElement;
  return [focused.textContent.trim(), focused.name, focused.id, getComputedStyle(focused).outlineStyle];
})()"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser for tests; a machine without one skips them, but not CI."""
    missing = "Chromium is not installed (apt-get install chromium)" if CHROMIUM is None else ""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing = "playwright is not installed"
    if missing:
        if os.environ.get("CI"):
            pytest.fail(f"{missing}, and CI runs no build without the browser tests")
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS)
        yield browser
        browser.close()


class Tab:
    """A page that notes everything that should not happen."""

    def __init__(self, page, url: str) -> None:
        self.page = page
        self.url = url
        self.problems: list[str] = []
        page.add_init_script(WATCH)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("request", self._request)

    def _console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    def _request(self, request) -> None:
        if not request.url.startswith((self.url, "data:")):
            self.problems.append(f"elsewhere: {request.url}")

    def go(self, path: str):
        self.page.goto(self.url + path)
        return self.page

    def tab_to(self, name: str, limit: int = 60) -> None:
        """Press Tab until the focus is on the control with this text, name or id; it has to be visible there."""
        for _ in range(limit):
            self.page.keyboard.press("Tab")
            *here, outline = self.page.evaluate(FOCUSED)
            if name in here:
                assert outline == "solid", name
                return
        raise AssertionError(f"{name} cannot be reached with Tab")

    def violations(self) -> list[str]:
        """What axe-core finds against the page as it is now."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]

    def check(self) -> None:
        assert self.page.evaluate("window.violations ?? []") == []
        assert self.problems == []

    def register(self) -> None:
        page = self.go("/cadastro")
        page.get_by_label("Nome").fill("Beatriz Rocha")
        page.get_by_label("E-mail").fill(f"navegador{next(_people)}@exemplo.com.br")
        page.get_by_label("Senha").fill("uma frase bem comprida")
        page.get_by_role("button", name="Criar conta").click()
        page.get_by_text("Boas-vindas, Beatriz Rocha!").wait_for()


@contextmanager
def tab(browser, app, **options) -> Iterator[Tab]:
    headers = {"x-forwarded-for": f"10.9.0.{next(_people)}"}
    settings = {"locale": "pt-BR", "viewport": {"width": 1000, "height": 800}, **options}
    context = browser.new_context(extra_http_headers=headers, **settings)
    context.set_default_timeout(20_000)
    try:
        found = Tab(context.new_page(), app.url)
        found.register()
        yield found
        if options.get("java_script_enabled", True):
            found.check()
    finally:
        context.close()
