"""The pictures of the documentation are those that their sources draw."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"


def loaded(place: str) -> ModuleType:
    name = "drawings_" + Path(place).stem
    spec = importlib.util.spec_from_file_location(name, ROOT / place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


def drawn() -> dict[str, str]:
    tool = loaded("tools/diagrams.py")
    found: dict[str, str] = {f"{each.name}.svg": tool.draw(each) for each in tool.diagrams()}
    return found | loaded("benchmarks/plots.py").pictures()


def test_the_pictures_are_current() -> None:
    """`python tools/diagrams.py` and `python -m benchmarks.plots` write them."""
    current = drawn()
    for path in IMAGES.glob("*.svg"):
        assert path.read_text() == current[path.name], path.name


def test_each_picture_stands_alone_and_has_a_name() -> None:
    for path in IMAGES.glob("*.svg"):
        root = ElementTree.fromstring(path.read_text())
        assert root.findtext("{http://www.w3.org/2000/svg}title"), path
        assert not re.search(r"href|<script|url\(", path.read_text()), path


def test_each_picture_is_shown_with_a_text_for_those_who_do_not_see_it() -> None:
    pages = "\n".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))
    found = re.findall(r"!\[([^\]]*)\]\([^)]*images/([\w.-]+)\)", pages)
    shown = {name: text for text, name in found}
    assert set(shown) == {path.name for path in IMAGES.glob("*.svg")}
    assert all(len(text) > 10 for text in shown.values())


@pytest.mark.parametrize(
    ("cell", "figure"),
    [("×1.05", 1.05), ("60", 60.0), ("5,000 ms", 5000.0), ("1.95e+04", 19500.0), ("inf", None)],
)
def test_figures_are_read_from_cells(cell: str, figure: float | None) -> None:
    assert loaded("benchmarks/plots.py").number(cell) == figure
