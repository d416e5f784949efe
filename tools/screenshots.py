"""Photograph the main pages of the reference app into ``docs/screenshots``: desktop, mobile and dark.

It runs the demo on data of its own, asks a council, and opens each page in Chromium, the same way as the browser tests
do. Pages that this version does not have are skipped and named.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))

from advisory.tests.browsing import ARGUMENTS, CHROMIUM  # noqa: E402 - found there

OUT = ROOT / "docs" / "screenshots"
MODES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "mobile": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
}
PAGES = {
    "pergunta": "/",
    "especialistas": "/especialistas",
    "personas": "/personas",
    "conversas": "/conversas",
    "historico": "/historico",
    "conta": "/conta",
    "saude": "/saude",
    "falhas": "/falhas",
}
MOST = 1600  # pixels of height: the top of a long page


@contextmanager
def demo() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as place:
        process = subprocess.Popen(
            [sys.executable, "-m", "advisory", "demo", "--port", "0", "--data", f"{place}/dados"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=place,
        )
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found, "the demo did not start"
            yield found[0]
        finally:
            process.terminate()
            process.wait(30)


def council(page: Any, url: str) -> str:
    """A finished council's path."""
    page.goto(url)
    page.get_by_role("button", name="Perguntar ao conselho").click()
    page.wait_for_url("**/conselhos/*", timeout=60_000)
    page.get_by_role("heading", name="Síntese", exact=True).wait_for(timeout=120_000)
    page.get_by_role("status").get_by_text("Síntese pronta").first.wait_for(timeout=120_000)
    return re.sub(r"^https?://[^/]+", "", page.url)


def wait_for_workers(page: Any, url: str) -> None:
    deadline = time.monotonic() + 120
    while (
        page.request.get(f"{url}/api/health").json()["checks"].get("workers", {}).get("status") == "degraded"
    ):
        if time.monotonic() > deadline:
            raise TimeoutError("no worker came up")
        time.sleep(0.5)


def photograph(page: Any, name: str, mode: str) -> int:
    """Save what the page shows as WebP and return the bytes."""
    page.wait_for_timeout(1500)  # pictures, frames
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True, animations="disabled")))
    picture = picture.crop((0, 0, picture.width, min(picture.height, MOST))).convert("RGB")
    path = OUT / f"{name}-{mode}.webp"
    picture.save(path, "WEBP", quality=78, method=6)
    return path.stat().st_size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only these pages (default: all)")
    names = parser.parse_args().names
    if CHROMIUM is None:
        print("Chromium is not installed (apt-get install chromium)", file=sys.stderr)
        return 1
    OUT.mkdir(parents=True, exist_ok=True)
    total = 0
    with demo() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS)
        first = browser.new_context(locale="pt-BR").new_page()
        first.goto(url)
        wait_for_workers(first, url)
        pages = {**PAGES, "conselho": council(first, url)}
        for mode, options in MODES.items():
            context = browser.new_context(locale="pt-BR", reduced_motion="reduce", **options)
            page = context.new_page()
            page.goto(url)
            for name, path in pages.items():
                if names and name not in names:
                    continue
                answer = page.goto(url + path)
                if answer is None or answer.status != 200:
                    print(f"skipped {name}: there is no {path}")
                    continue
                total += (size := photograph(page, name, mode))
                print(f"{name}-{mode}.webp  {size / 1024:.0f} kB", flush=True)
            context.close()
        browser.close()
    print(f"{total / 1024:.0f} kB in {OUT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
