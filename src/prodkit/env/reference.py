"""The settings class as a document: ``.env.example``, ``ENV_VARIABLES.md``, a JSON schema."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from prodkit.core.secrets import MASK, Hidden
from prodkit.env.fields import Quality
from prodkit.env.plan import is_hidden
from prodkit.env.problems import Problems
from prodkit.env.settings import Settings, _sounds_secret
from prodkit.env.source import Source, models_in
from prodkit.env.texts import Language

__all__ = ["Variable", "env_example", "json_schema", "markdown", "variables"]


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of a service, as its documentation shows it.

    Args:
        name: the variable, prefix included.
        kind: its type in words.
        required: the service does not start without it.
        default: the default as text; empty when there is none, masked for secrets.
        secret: the value is hidden in logs and errors.
        description: the field's description, one line.
        min_length: least number of characters of a secret.
    """

    name: str
    kind: str
    required: bool
    default: str
    secret: bool
    description: str
    min_length: int | None = None


def variables(settings: type[Settings], *, language: Language = "en") -> tuple[Variable, ...]:
    """Return the variables of `settings`, in the order of the class. A default that is a secret is not shown.

    With ``env_nested_delimiter`` the variables of a nested model follow the one that takes it as JSON.

    Args:
        settings: the settings class.
        language: of the types' names: ``en`` or ``pt-BR``.
    """
    source = Source(settings, {}, Problems("en"))
    found: list[Variable] = []
    for key, field in settings.model_fields.items():
        name = source.variables(field, key)[0]
        inside = [
            each
            for model in (models_in(field.annotation) if source.env_nested_delimiter else ())
            for each in _inside(model, name, source.env_nested_delimiter or "", field.is_required(), language)
        ]
        variable = _variable(name, key, field, field.is_required() and not inside, language)
        if inside:  # the whole as JSON is the other way
            variable = replace(variable, kind=_word("JSON object", language), default="")
        found += (variable, *inside)
    return tuple(found)


def _inside(
    model: type[Any], begin: str, delimiter: str, required: bool, language: Language
) -> list[Variable]:
    found: list[Variable] = []
    for key, field in model.model_fields.items():
        name = f"{begin}{delimiter}{key.upper()}"
        needed = required and field.is_required()
        deeper = [
            each
            for inner in models_in(field.annotation)
            for each in _inside(inner, name, delimiter, needed, language)
        ]
        found += (_variable(name, key, field, needed and not deeper, language), *deeper)
    return found


def _variable(name: str, key: str, field: FieldInfo, required: bool, language: Language) -> Variable:
    veiled = _sounds_secret(key) and isinstance(field.default, str) and field.default != ""
    lengths = [each.min_length for each in field.metadata if isinstance(each, Quality)]
    return Variable(
        name=name,
        kind=_kind(field.annotation, language),
        required=required,
        default="" if field.is_required() else MASK if veiled else _shown(field.default),
        secret=is_hidden(field.annotation),
        description=field.description or "",
        min_length=lengths[0] if lengths else None,
    )


def env_example(settings: type[Settings]) -> str:
    """Return a ``.env.example`` of `settings`: required variables empty, optional ones commented out with defaults."""
    lines = ["# Copy this file to .env and fill in the values."]
    for each in variables(settings):
        about = [text for text in (each.description, each.kind) if text]
        if each.min_length:
            about.append(
                f'at least {each.min_length} characters: python -c "import secrets; '
                'print(secrets.token_urlsafe(32))"'
            )
        lines += ["", "# " + " · ".join(" ".join(text.split()) for text in about)]
        lines.append(f"{each.name}=" if each.required else f"# {each.name}={_quoted(each.default)}")
    return "\n".join(lines) + "\n"


_HEADS = {
    "en": ("Environment variables", "Variable", "Type", "Required", "Default", "Meaning", "yes", "no"),
    "pt-BR": (
        "Variáveis de ambiente",
        "Variável",
        "Tipo",
        "Obrigatória",
        "Padrão",
        "Significado",
        "sim",
        "não",
    ),
}
_NOTES = {
    "en": "Every variable can also be given as a file: `NAME_FILE=/run/secrets/name`.",
    "pt-BR": "Toda variável também pode vir de um arquivo: `NOME_FILE=/run/secrets/nome`.",
}


def markdown(settings: type[Settings], *, language: Language = "en") -> str:
    """Return an ``ENV_VARIABLES.md`` of `settings`; `language` is ``en`` or ``pt-BR``."""
    title, *heads, yes, no = _HEADS[language]
    lines = [f"# {title}", "", _NOTES[language], "", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for each in variables(settings, language=language):
        kind = f"{each.kind}, ≥ {each.min_length}" if each.min_length else each.kind
        cells = (
            f"`{each.name}`",
            kind,
            yes if each.required else no,
            f"`{each.default}`" if each.default else "",
        )
        lines.append("| " + " | ".join(_cell(text) for text in (*cells, each.description)) + " |")
    return "\n".join(lines) + "\n"


def json_schema(settings: type[Settings]) -> dict[str, Any]:
    """Return a JSON schema of the environment that `settings` reads: property names are variables."""
    schema = settings.model_json_schema(by_alias=False)
    source = Source(settings, {}, Problems("en"))
    names = {key: source.variables(field, key)[0] for key, field in settings.model_fields.items()}
    lengths = {each.name: each.min_length for each in variables(settings) if each.min_length}
    properties = {names.get(key, key): dict(value) for key, value in schema.get("properties", {}).items()}
    for name, value in properties.items():
        if value.get("writeOnly") or name in lengths:
            value.pop("default", None)
        if name in lengths:
            value["minLength"] = lengths[name]
    schema["properties"] = properties
    schema["required"] = [names.get(key, key) for key in schema.get("required", [])]
    schema["additionalProperties"] = True
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


_PORTUGUESE: Final = {
    "text": "texto",
    "whole number": "número inteiro",
    "number": "número",
    "true or false": "true ou false",
    "JSON object": "objeto JSON",
    "list of": "lista de",
    "or": "ou",
    "Secret": "segredo",
    "PostgresUrl": "URL do PostgreSQL",
    "RedisUrl": "URL do Redis",
    "HttpUrl": "URL http(s)",
    "Path": "caminho",
    "date": "data",
    "datetime": "data e hora",
    "timedelta": "duração",
}


def _word(word: str, language: Language) -> str:
    return _PORTUGUESE.get(word, word) if language == "pt-BR" else word


def _kind(annotation: Any, language: Language) -> str:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _kind(parts[0], language)
    if origin is Literal:
        return " | ".join(map(str, parts))
    if parts and origin is not None:
        inner = [_kind(part, language) for part in parts if part not in (type(None), Ellipsis)]
        if isinstance(origin, type) and origin in (list, tuple, set, frozenset):
            return f"{_word('list of', language)} {inner[0]}"
        if isinstance(origin, type) and issubclass(origin, dict):
            return _word("JSON object", language)
        return f" {_word('or', language)} ".join(inner)
    if isinstance(annotation, type):
        if issubclass(annotation, Enum):
            return " | ".join(str(each.value) for each in annotation)
        if hasattr(annotation, "model_fields") or issubclass(annotation, dict):
            return _word("JSON object", language)
        named = {str: "text", int: "whole number", float: "number", bool: "true or false"}
        return _word(named.get(annotation, annotation.__name__), language)
    return str(annotation)


def _shown(default: Any) -> str:
    if default is None or default is PydanticUndefined:
        return ""
    if isinstance(default, Hidden):
        return str(default)
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, Enum):
        return str(default.value)
    if isinstance(default, BaseModel):
        return default.model_dump_json()
    if isinstance(default, Mapping):
        return json.dumps(default, default=str, ensure_ascii=False)
    if isinstance(default, timedelta):
        return f"{default.total_seconds():g}"
    if isinstance(default, list | tuple | set | frozenset):
        items = [
            _shown(each) for each in (sorted(default) if isinstance(default, set | frozenset) else default)
        ]
        return (
            json.dumps(items, ensure_ascii=False) if any("," in each for each in items) else ",".join(items)
        )
    return str(default)


def _quoted(text: str) -> str:
    """A value as a .env file takes it."""
    if not any(char in text for char in " #'\"\n\r\\"):
        return text
    if not any(char in text for char in "'\n\r\\"):
        return f"'{text}'" if '"' in text else f'"{text}"'
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
