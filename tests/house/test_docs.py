"""The documents: links that resolve, equal headings, spelling, and a site that builds without a warning."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), ROOT / "tests" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADINGS = ["About", "Usage", "Defaults", "Events", "Errors", "What happens when…", "Mistakes to avoid"]


def anchors(page: Path) -> set[str]:
    """The anchors that viewers make of the headings of `page`."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    dead = []
    for target in LINK.findall(prose):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
            dead.append(target)
    assert not dead


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs" / "reference").glob("*.md")), ids=lambda page: page.stem
)
def test_reference_pages_have_equal_headings(page: Path) -> None:
    assert re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE) == HEADINGS


def test_every_package_has_a_page_and_every_page_is_listed() -> None:
    packages = {path.name for path in (ROOT / "src" / "prodkit").iterdir() if (path / "__init__.py").exists()}
    pages = {path.stem for path in (ROOT / "docs" / "reference").glob("*.md")}
    assert packages - {"core"} <= pages


def test_spelling() -> None:
    command = [
        str(Path(sys.executable).parent / "codespell"),
        *(str(page) for page in PAGES if "pt-br" not in page.name),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


@pytest.mark.static
@pytest.mark.timeout(600)
def test_the_site_builds_without_a_warning() -> None:
    done = subprocess.run(
        [sys.executable, "tools/site.py"], cwd=ROOT, capture_output=True, text=True, timeout=540
    )
    said = "\n".join(line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("INFO"))
    assert done.returncode == 0, said
