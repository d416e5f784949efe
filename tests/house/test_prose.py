"""The prose lint: field words, docstrings that begin with a verb or a noun, parameters that are documented.

One test a package, so that ``pytest tests/house/test_prose.py -k cache`` checks one folder. The rules and their
reasons stand in CONTRIBUTING.md.
"""

import ast
import importlib
import inspect
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "prodkit"
PACKAGES = sorted(path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists())
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]

# Words of a private dialect; the field has a term for each.
MARKERS = re.compile(
    r"\b(told|tells|whoever|anew|meanwhile|nobody|somebody|spared|spares|kin|mends|afresh|gone on with|under way)\b",
    re.IGNORECASE,
)
OPENINGS = re.compile(r"(What|Whether|How|Who|Whoever|Whose|When|Where|Which|Why|…)\b")
# Portuguese texts for end users, and quotations, are not English prose.
PORTUGUESE = re.compile(r"[ãõçáéíóúâêô]", re.IGNORECASE)


def sources(package: str) -> list[Path]:
    return sorted((SOURCE / package).rglob("*.py"))


def comments(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def docstrings(path: Path) -> Iterator[tuple[int, str, bool]]:
    """Line, text and whether the object is public, for each docstring of a file."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                name = getattr(node, "name", "")
                yield getattr(node, "lineno", 1), text, not name.startswith("_")


def strings(
    path: Path,
) -> Iterator[tuple[int, str]]:  # prose has blanks; a single name has none
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def names(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg


@pytest.mark.parametrize("package", PACKAGES)
def test_words(package: str) -> None:
    found = []
    for path in sources(package):
        where = path.relative_to(ROOT)
        for line, text in [*comments(path), *strings(path)]:
            if (hit := MARKERS.search(text)) and not PORTUGUESE.search(text):
                found.append(f"{where}:{line}: {hit.group()!r}")
        for line, name in names(path):
            if MARKERS.fullmatch(name.strip("_").replace("_", " ")):
                found.append(f"{where}:{line}: the name {name!r}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings(package: str) -> None:
    found = []
    for path in sources(package):
        where = path.relative_to(ROOT)
        for line, text, _ in docstrings(path):
            if OPENINGS.match(text):
                found.append(f"{where}:{line}: begins with {text.split()[0]!r}")
            last = text.splitlines()[-1].strip()
            if "\n" in text and re.fullmatch(r"[\w'’-]+[.!]", last):
                found.append(f"{where}:{line}: its last line is one word")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("folder", ["benchmarks", "examples", "tests", "tools"])
def test_words_beside_the_package(folder: str) -> None:
    """Comments and docstrings; texts of tests may quote a word."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {hit.group()!r}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, text in [*comments(path), *((line, text) for line, text, _ in docstrings(path))]
        if not PORTUGUESE.search(text) and (hit := MARKERS.search(text))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_pages(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)  # code is not prose
    found = [
        f"line {number}: {hit.group()!r}"
        for number, line in enumerate(prose.splitlines(), 1)
        if (hit := MARKERS.search(line))
    ]
    assert not found, f"{page.name}: " + ", ".join(found)


# --- parameters ---------------------------------------------------------------------------------------------------


def public_callables(package: str) -> Iterator[tuple[str, object, str]]:
    """Name, callable and documentation of every function, constructor and public method of a package."""
    module = importlib.import_module(f"prodkit.{package}")
    for name in getattr(module, "__all__", ()):
        found = getattr(module, name)
        if inspect.isclass(found):
            if issubclass(found, BaseException) or not found.__module__.startswith("prodkit"):
                continue
            own = "__init__" in vars(found)
            text = f"{found.__doc__ or ''}\n{found.__init__.__doc__ or ''}" if own else ""
            if own and not getattr(found, "_is_protocol", False):
                yield f"{package}.{name}", found.__init__, text
            for method, code in vars(found).items():
                code = code.__func__ if isinstance(code, classmethod | staticmethod) else code
                if not method.startswith("_") and inspect.isfunction(code):
                    yield f"{package}.{name}.{method}", code, code.__doc__ or ""
        elif inspect.isfunction(found) and found.__module__.startswith("prodkit"):
            yield f"{package}.{name}", found, found.__doc__ or ""


def undocumented(code: object, text: str) -> list[str]:
    parameters = [
        each
        for each in inspect.signature(code).parameters.values()  # type: ignore[arg-type]
        if each.name not in ("self", "cls") and not each.name.startswith("_")
    ]
    documented = {
        name.lstrip("*") for name in re.findall(r"^\s*(\*{0,2}\w+)(?: \([^)]*\))?:", text, re.MULTILINE)
    }
    # One or two obvious parameters may be named in the sentence itself: ``Call `fn` …``.
    documented |= set(re.findall(r"`+\*{0,2}(\w+)`+", text))
    return [each.name for each in parameters if each.name not in documented]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_parameter_is_documented(package: str) -> None:
    found = [
        f"{name}({', '.join(missing)})"
        for name, code, text in public_callables(package)
        if (missing := undocumented(code, text))
    ]
    assert not found, "\n".join(found)
