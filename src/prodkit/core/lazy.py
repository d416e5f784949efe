"""Load the names of a package on first use (PEP 562), from one table.

A package lists which of its modules defines which names::

    if TYPE_CHECKING:
        from prodkit.postgres.pool import Pool as Pool, PoolStats as PoolStats
    else:
        __getattr__, __dir__, __all__ = attach(__name__, {"pool": ("Pool", "PoolStats")})

``from prodkit.postgres import Pool`` then imports ``prodkit.postgres.pool`` and nothing else. Type checkers see the
imports and not the table, so that a misspelled name is an error; ``tests/core/test_lazy.py`` holds the two equal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["attach"]


def attach(
    package: str, names: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` for the package `package`.

    Args:
        package: the ``__name__`` of the package.
        names: the public names by the module that defines them. A module name is relative to `package`; one that
            begins with a dot is relative to ``prodkit`` itself, such as ``".errors"``.
    """
    root = package.partition(".")[0]
    homes = {
        name: f"{root}{module}" if module.startswith(".") else f"{package}.{module}"
        for module, listed in names.items()
        for name in listed
    }
    public = sorted(homes)

    def load(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(home), name)
        setattr(sys.modules[package], name, value)  # the next access is a plain attribute read
        return value

    def listing() -> list[str]:
        return sorted({*vars(sys.modules[package]), *public})

    return load, listing, public
