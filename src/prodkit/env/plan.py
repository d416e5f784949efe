"""The names that a settings class reads: found once for each class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from prodkit.core.secrets import Hidden
from prodkit.env.problems import Problems
from prodkit.env.source import Source, models_in
from prodkit.env.typos import Index

__all__ = ["Plan", "is_hidden", "plan_of"]


@dataclass(frozen=True, slots=True)
class Plan:
    """The names of a settings class, which do not change."""

    variables: Mapping[str, str]
    """Field to preferred variable."""
    locations: Mapping[str, str]
    """First location of a pydantic error to variable."""
    choices: tuple[tuple[str, ...], ...]
    """For each field its variables, the preferred one first."""
    known: tuple[str, ...]
    closed: tuple[str, ...]
    """Beginnings of nested names, such as ``DB__``, after which only known names make sense."""
    hidden: frozenset[str]
    secrets: tuple[str, ...]
    index: Index


@lru_cache(maxsize=256)
def plan_of(settings: type[BaseSettings]) -> Plan:
    source = Source(settings, {}, Problems("en"))
    fields = settings.model_fields.items()
    names = {key: source.variables(each, key) for key, each in fields}
    inside = source.nested()
    delimiter = source.env_nested_delimiter or ""
    known = tuple(dict.fromkeys((*(name for listed in names.values() for name in listed), *inside)))
    hidden = frozenset(names[key][0] for key, each in fields if is_hidden(each.annotation))
    return Plan(
        variables={key: listed[0] for key, listed in names.items()},
        locations={location: names[key][0] for key, each in fields for location in source.keys(each, key)},
        choices=tuple(map(tuple, names.values())),
        known=known,
        closed=tuple(
            f"{name}{delimiter}"
            for key, each in fields
            if delimiter and _is_closed(each)
            for name in names[key]
        ),
        hidden=hidden,
        secrets=(*hidden, *inside),
        index=Index(known),
    )


def _is_closed(field: FieldInfo) -> bool:
    """Return True for a nested model that takes its own fields only, and for nothing that takes any name."""
    annotation = field.annotation
    parts = [part for part in get_args(annotation) if part is not type(None)] or [annotation]
    return all(
        isinstance(part, type)
        and issubclass(part, BaseModel)
        and part.model_config.get("extra") != "allow"
        and not any(
            models_in(inner.annotation) or _is_mapping(inner.annotation)
            for inner in part.model_fields.values()
        )
        for part in parts
    )


def _is_mapping(annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    if annotation is Any or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return True
    return any(map(_is_mapping, get_args(annotation)))


def is_hidden(annotation: Any) -> bool:
    """Return True when a field of this type holds a secret."""
    if isinstance(annotation, type) and issubclass(annotation, Hidden):
        return True
    return any(is_hidden(part) for part in getattr(annotation, "__args__", ()))
