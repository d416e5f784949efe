"""Read and write the scripted behaviours of simulators: one already, a mapping of its fields, or a short name."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, TypeVar

__all__ = ["changed_fields", "read_behaviour"]

B = TypeVar("B")


def read_behaviour(
    cls: Callable[..., B],
    value: Mapping[str, Any] | str,
    *,
    short: Sequence[tuple[str, Mapping[str, Any]]],
    kinds: Collection[str],
    numbers: Mapping[str, Callable[[str], Any]],
) -> B:
    """Return the behaviour that `value` stands for.

    Args:
        cls: makes a behaviour of its fields.
        value: the fields, or a short name such as ``"503"``.
        short: patterns of short names, and the fields that each stands for; named groups are fields too.
        kinds: every kind; a name that no pattern matches is one of them.
        numbers: how the text of a group becomes a number, by field.

    Raises:
        ValueError: the name is not known.
    """
    if not isinstance(value, str):
        return cls(**value)
    for pattern, base in short:
        if found := re.fullmatch(pattern, value):
            given = {name: numbers.get(name, str)(text) for name, text in found.groupdict().items()}
            return cls(**{**base, **given})
    kind = value.replace("-", "_")
    if kind == "status" or kind not in kinds:
        raise ValueError(f"unknown behaviour {value!r}; see Behaviour.of for the names")
    return cls(kind=kind, status=502 if kind == "html" else 200)


def changed_fields(value: Any, plain: Any) -> dict[str, Any]:
    """Return the fields of the dataclass `value` that differ from those of `plain`."""
    return {f.name: v for f in fields(value) if (v := asdict(value)[f.name]) != getattr(plain, f.name)}
