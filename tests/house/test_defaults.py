"""The "Defaults" tables of the reference pages name parameters that exist, with the defaults that the code has."""

import importlib
import inspect
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "reference").glob("*.md"))
PACKAGES = {
    "limits": ("policies",),
    "testing-anthropic": ("testing.anthropic",),
    "testing-sources": ("testing.sources",),
    "policies": ("policies", "compat"),
}
UNITS = {
    "": 1,
    "s": 1,
    "ms": 1e-3,
    "min": 60,
    "h": 3600,
    "days": 86400,
    "KiB": 2**10,
    "MiB": 2**20,
    "%": 0.01,
}
NUMBER = re.compile(r"(-?[\d., ]*\d)\s*(s|ms|min|h|days|KiB|MiB|%)?")


def rows(page: Path) -> Iterator[tuple[list[str], list[str]]]:
    """The backticked names and the values of each row of the page's Defaults table."""
    section = re.search(r"^## Defaults\n(.*?)^## ", page.read_text(), re.MULTILINE | re.DOTALL)
    for line in (section[1] if section else "").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) < 2 or set(cells[0]) <= {"-", " ", ":"}:
            continue
        names: list[str] = []
        for code in re.findall(r"`([^`]+)`", cells[0]):
            inner = re.fullmatch(r"[\w.]+\((.*)\)", code)
            found = re.split(r",\s*", inner[1]) if inner else [code]
            names += [each.rstrip("=") for each in found if re.fullmatch(r"[a-z_]\w*=?", each)]
        if names:
            yield names, re.split(r",\s+", cells[1])


def defaults(page: Path) -> dict[str, set[object]]:
    """Every parameter of the page's packages with the defaults it has somewhere."""
    found: dict[str, set[object]] = {}
    for package in PACKAGES.get(page.stem, (page.stem,)):
        module = importlib.import_module(f"prodkit.{package}")
        values = [getattr(module, name) for name in getattr(module, "__all__", ())]
        callables = [each for each in values if callable(each)]
        callables += [
            code for each in values if inspect.isclass(each) for code in vars(each).values() if callable(code)
        ]
        for each in callables:
            try:
                parameters = inspect.signature(each).parameters.values()
            except (ValueError, TypeError):
                continue
            for parameter in parameters:
                value = parameter.default
                hashable = value if isinstance(value, int | float | str | bool | None) else "…"
                found.setdefault(parameter.name, set()).add(hashable)
    return found


def number(text: str) -> float | None:
    match = NUMBER.fullmatch(text.strip("` "))
    if match is None:
        return None
    digits = re.sub(r"[,\s](?=\d{3}\b)", "", match[1])
    try:
        return float(digits) * UNITS[match[2] or ""]
    except ValueError:
        return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_documented_defaults_are_those_of_the_code(page: Path) -> None:
    known = defaults(page)
    wrong = []
    for names, values in rows(page):
        for position, name in enumerate(names):
            if name not in known:
                continue
            if len(values) != len(names) or (documented := number(values[position])) is None:
                continue
            numbers = [
                each for each in known[name] if isinstance(each, int | float) and not isinstance(each, bool)
            ]
            # a parameter named `days` counts days, any other one seconds
            unit = 86400 if name == "days" else 1
            if numbers and not any(math.isclose(documented, unit * each, rel_tol=1e-9) for each in numbers):
                wrong.append(f"{name}: documented {values[position]}, in the code {sorted(numbers)}")
    assert not wrong, "\n".join(wrong)


def test_the_check_reads_tables_at_all() -> None:
    assert sum(len(names) for page in PAGES for names, _ in rows(page)) > 80
