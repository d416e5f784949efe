"""What users may rely on: every public name and every event. A diff here is a decision, and a changelog line.

To accept a change: ``PRODKIT_GOLDEN=write python3 noxfile.py tests tests/golden``.
"""

import dataclasses
import importlib
import os
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

import prodkit
from prodkit.core.events import Event

GOLDEN = Path(__file__).parent


def modules() -> Iterator[str]:
    for found in pkgutil.walk_packages(prodkit.__path__, "prodkit."):
        if not any(part.startswith("_") for part in found.name.split(".")):
            yield found.name


def public_api() -> list[str]:
    lines = [f"prodkit.{name}" for name in prodkit.__all__]
    for found in pkgutil.iter_modules(prodkit.__path__, "prodkit."):
        if found.ispkg:
            names = getattr(importlib.import_module(found.name), "__all__", ())
            lines += [f"{found.name}.{name}" for name in names]
    return sorted(lines)


def events() -> list[str]:
    for name in modules():
        importlib.import_module(name)
    known: set[type[Event]] = set()
    waiting: list[type[Event]] = [Event]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        # With slots=True the decorator makes a second class; the first one lingers until it is collected.
        current = getattr(sys.modules[kind.__module__], kind.__name__, None) is kind
        if kind.__module__.startswith("prodkit.") and kind is not Event and current:
            known.add(kind)
    return sorted(
        f"{kind.name}({', '.join(field.name for field in dataclasses.fields(kind))})" for kind in known
    )


def check(name: str, lines: list[str]) -> None:
    path = GOLDEN / name
    text = "\n".join(lines) + "\n"
    if os.environ.get("PRODKIT_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text(), f"{name} changed: see the docstring of this file"


def test_public_names() -> None:
    check("public_api.txt", public_api())


def test_every_public_name_is_there() -> None:
    for line in public_api():
        module, _, name = line.rpartition(".")
        assert getattr(importlib.import_module(module), name, None) is not None, line


def test_events() -> None:
    check("events.txt", events())


def test_event_names_are_their_own() -> None:
    names = [line.split("(")[0] for line in events()]
    assert len(names) == len(set(names))
