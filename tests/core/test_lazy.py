"""Lazy packages: what the editor shows and what `from … import` finds are the same names."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import prodkit
from prodkit.core.lazy import attach

ROOT = Path(prodkit.__file__).parent
LAZY = sorted(path.parent for path in ROOT.rglob("__init__.py") if "lazy import attach" in path.read_text())


def package_name(package: Path) -> str:
    return ".".join(("prodkit", *package.relative_to(ROOT).parts))


def shown(package: Path) -> set[str]:
    """The names that `package` gives to type checkers, private ones left out."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((package / "__init__.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module != package_name(package):
            found |= {each.asname for each in node.names if each.asname}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return {name for name in found if not name.startswith("_")}


@pytest.mark.parametrize("package", LAZY, ids=lambda path: path.name)
def test_the_table_equals_what_type_checkers_see(package: Path) -> None:
    module = importlib.import_module(package_name(package))
    assert set(module.__all__) == shown(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert set(module.__all__) <= set(dir(module))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'prodkit' has no attribute 'CircuitBraker'"):
        prodkit.CircuitBraker  # noqa: B018


def test_a_module_that_is_not_there_is_reported_where_the_name_is_used() -> None:
    load, _, public = attach("prodkit", {"no_such_module": ("Thing",)})
    assert public == ["Thing"]
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        load("Thing")


def test_every_package_imports() -> None:
    for found in pkgutil.iter_modules(prodkit.__path__, "prodkit."):
        if not found.ispkg:
            continue
        importlib.import_module(found.name)
