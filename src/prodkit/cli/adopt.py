"""``prodkit adopt PATH``: find the libraries that prodkit replaces, and print the replacement line by line.

Reads Python files as syntax trees and changes nothing.
"""

from __future__ import annotations

import ast
import json
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from prodkit.cli.adopt_table import LIBRARIES, REPLACEMENTS, Replacement

__all__ = ["Finding", "app", "scan"]

app: typer.Typer = typer.Typer(
    add_completion=False, help="Find tenacity, pybreaker and others in PATH and print the replacements."
)

_SKIPPED: Final = frozenset(
    {".git", ".venv", "venv", "node_modules", "__pycache__", "site-packages", ".tox", ".nox", "build"}
)


_TOO_DEEP: Final = (RecursionError, MemoryError)  # of the parser, for a file that is nested too deeply


@dataclass(frozen=True, slots=True)
class Finding:
    """One use of a library that prodkit replaces.

    Args:
        path: the file.
        line: its line, counted from 1.
        library: name of the package.
        name: what is used, such as ``tenacity.retry``.
        code: the line as it is.
        replacement: the code to write instead.
        change: behaviour that changes, or empty.
    """

    path: str
    line: int
    library: str
    name: str
    code: str
    replacement: str
    change: str


@app.command()
def adopt(
    path: Annotated[Path, typer.Argument(exists=True, help="A file or a directory.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per finding.")] = False,
) -> None:
    """Print, line by line, what prodkit would replace and what would behave differently. Changes nothing."""
    findings, unread = scan(path)
    if as_json:
        for each in findings:
            print(json.dumps(asdict(each), ensure_ascii=False))
        return
    last = ""
    for each in findings:
        if each.path != last:
            print(f"\n{each.path}" if last else each.path)
            last = each.path
        print(f"  {each.line:>4}  {each.code}")
        print(f"     -> {each.replacement}")
        if each.change:
            print(f"        {each.change}")
    counts: dict[str, int] = {}
    for each in findings:
        counts[each.library] = counts.get(each.library, 0) + 1
    listed = ", ".join(f"{library} {count}" for library, count in sorted(counts.items()))
    print(
        f"\n{len(findings)} findings: {listed}. Nothing was changed."
        if findings
        else "Nothing to replace was found."
    )
    for name in unread:
        print(f"not read: {name}", file=sys.stderr)


def scan(path: Path) -> tuple[list[Finding], list[str]]:
    """Return the findings in a file or a tree, in order of file and line, and the files that could not be parsed.

    Args:
        path: a file or a directory; virtual environments and build directories are skipped.
    """
    findings: list[Finding] = []
    unread: list[str] = []
    root = path if path.is_dir() else path.parent
    for file in _files(path):
        name = str(file.relative_to(root))
        try:
            with tokenize.open(file) as opened:  # by its byte order mark or its coding comment
                source = opened.read()
            findings += _findings(name, source.splitlines(), ast.parse(source))
        except (SyntaxError, ValueError, OSError, *_TOO_DEEP):
            unread.append(name)
    return findings, unread


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for each in sorted(path.iterdir()):
        if each.is_symlink():
            continue
        if each.is_dir():
            if each.name not in _SKIPPED and not (each / "pyvenv.cfg").exists():
                yield from _files(each)
        elif each.suffix in (".py", ".pyi"):
            yield each


def _findings(path: str, lines: list[str], tree: ast.AST) -> list[Finding]:
    names = _imports(tree)
    if not names:
        return []
    found: dict[tuple[int, str], Finding] = {}
    variables = _variables(tree, names)
    for node in ast.walk(tree):
        uses = (
            [(each, node.lineno) for each in _imported(node)]
            if isinstance(node, ast.Import | ast.ImportFrom)
            else _used(node, names, variables)
        )
        for used, line in uses:
            replacement = _replacement(used)
            if replacement is None:
                continue
            text, change = replacement.write(node)
            code = lines[line - 1].strip()
            library = used.partition(".")[0]
            found.setdefault((line, used), Finding(path, line, library, used, code, text, change))
    return [found[key] for key in sorted(found)]


def _imports(tree: ast.AST) -> dict[str, str]:
    """Return local names with the full names that they stand for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                library = each.name.partition(".")[0]
                if library in LIBRARIES:
                    names[each.asname or library] = each.name if each.asname else library
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and _library(node) in LIBRARIES:
            for each in node.names:
                names[each.asname or each.name] = f"{node.module}.{each.name}"
    return names


def _library(node: ast.ImportFrom) -> str:
    return (node.module or "").partition(".")[0]


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [
            f"{each.name.partition('.')[0]}.import"
            for each in node.names
            if each.name.partition(".")[0] in LIBRARIES
        ]
    library = (node.module or "").partition(".")[0]
    return [f"{library}.import"] if node.level == 0 and library in LIBRARIES else []


def _variables(tree: ast.AST, names: dict[str, str]) -> dict[str, str]:
    """Return variables that hold an object made by a library: ``breaker = pybreaker.CircuitBreaker()``."""
    held: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
            full = _full_name(node.value.func, names)
            if full is None:
                continue
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                key = _dotted(target)
                if key:
                    held[key] = full
    return held


def _used(node: ast.AST, names: dict[str, str], variables: dict[str, str]) -> list[tuple[str, int]]:
    """Return what a call, a decorator, a ``with``, a loop or an ``except`` uses of a library, and the lines."""
    if isinstance(node, ast.Call):
        full = _full_name(node.func, names)
        if full is not None:
            return [(full, node.lineno)]
        if (
            isinstance(node.func, ast.Attribute)
            and (held := variables.get(_dotted(node.func.value))) is not None
        ):
            return [(f"{held}().{node.func.attr}", node.lineno)]
        return []
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        found: list[tuple[str, int]] = []
        for each in node.decorator_list:
            if not isinstance(each, ast.Call):
                full = _full_name(each, names)
                held = variables.get(_dotted(each))
                used = full or (f"{held}()@" if held else "")
                found += [(used, each.lineno)] if used else []
        return found
    if isinstance(node, ast.ExceptHandler) and node.type is not None:
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        return [(full, each.lineno) for each in kinds if (full := _full_name(each, names)) is not None]
    return []


def _full_name(node: ast.AST, names: dict[str, str]) -> str | None:
    dotted = _dotted(node)
    first, _, rest = dotted.partition(".")
    if first not in names:
        return None
    return f"{names[first]}.{rest}" if rest else names[first]


def _dotted(node: ast.AST) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _replacement(used: str) -> Replacement | None:
    """Return the entry for `used`: its full name, else library and last part, so that submodules are found."""
    if used in REPLACEMENTS:
        return REPLACEMENTS[used]
    library, _, last = used.partition(".")[0], "", used.rpartition(".")[2]
    if "()" in used:
        kind, _, method = used.partition("()")
        return REPLACEMENTS.get(f"{library}.{kind.rpartition('.')[2]}(){method}")
    return REPLACEMENTS.get(f"{library}.{last}")
