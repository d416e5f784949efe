"""Sources of values: the process environment, .env files, and the files that ``NAME_FILE`` points to."""

from __future__ import annotations

import csv
import io
import os
import typing
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource

from prodkit.core.secrets import Hidden
from prodkit.env.durations import duration
from prodkit.env.problems import Problems

__all__ = ["Source", "models_in", "read_dotenv", "read_files"]

_LISTS = (list, tuple, set, frozenset)
_MAX_SECRET_FILE = 1 << 20
_PLAIN: Final = (str, int, float, bool, bytes, Path)
_CONSTRAINTS: Final = (
    "annotated_types",
    "prodkit.env.fields",
)  # metadata that changes nothing about the reading


class Source(EnvSettingsSource):
    """pydantic-settings' reading of names, prefixes, aliases and nesting, over values gathered by us.

    A value that cannot be decoded becomes a problem like any other, where the original gives up at the first.
    """

    def __init__(
        self, settings_cls: type[BaseSettings], values: Mapping[str, str], problems: Problems
    ) -> None:
        self._values = values
        self._problems = problems
        super().__init__(settings_cls, case_sensitive=False)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._values.items()}

    def __call__(self) -> dict[str, Any]:
        """Return the values by the names that the class takes, as the original does, without asking it again."""
        lookups = _lookups(type(self), self.settings_cls)
        if lookups is None:
            return super().__call__()
        data: dict[str, Any] = {}
        nested = bool(self.env_nested_delimiter)
        for each in lookups:
            value = next(
                (found for name in each.variables if (found := self.env_vars.get(name)) is not None), None
            )
            if value is None and (each.plain or not nested):
                continue
            made = value if each.plain else self.prepare_field_value(each.name, each.field, value, each.whole)
            if isinstance(made, dict):
                made = self._replace_field_names_case_insensitively(each.field, made)
            if made is not None:
                data[each.key] = made
            elif value is not None and each.optional and value.strip().lower() == "null":
                data[each.key] = None
        return data

    def variables(self, field: FieldInfo, name: str) -> list[str]:
        """Return the names under which `field` is looked up, the preferred one first."""
        return [found.upper() for _, found, _ in self._extract_field_info(field, name)]

    def nested(self, model: type[Any] | None = None, begin: str = "") -> list[str]:
        """Return the names of fields inside nested models, such as ``DB__PASSWORD``."""
        if not self.env_nested_delimiter:
            return []
        found: list[str] = []
        for name, field in (model or self.settings_cls).model_fields.items():
            full = f"{begin}{name}" if model else self.variables(field, name)[0]
            if model:
                found.append(full.upper())
            for inner in models_in(field.annotation):
                found += self.nested(inner, f"{full}{self.env_nested_delimiter}")
        return found

    def keys(self, field: FieldInfo, name: str) -> list[str]:
        """Return the names by which pydantic's errors call `field`."""
        return [name, *(key for key, _, _ in self._extract_field_info(field, name))]

    def prepare_field_value(
        self, field_name: str, field: FieldInfo, value: Any, value_is_complex: bool
    ) -> Any:
        if isinstance(value, str) and timedelta in (field.annotation, *typing.get_args(field.annotation)):
            found = duration(value)
            return value if found is None else found
        try:
            return super().prepare_field_value(field_name, field, value, value_is_complex)
        except ValueError:
            variable = self.variables(field, field_name)[0]
            self._problems.add(variable, "list" if _is_list(field.annotation) else "json")
            self._problems.spoilt.add(variable)
            return None

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        if isinstance(value, str) and _is_list(field.annotation) and not value.lstrip().startswith("["):
            if value.strip() == "null" and type(None) in typing.get_args(field.annotation):
                return None
            return _separated(value)
        return super().decode_complex_value(field_name, field, value)


class _Lookup(NamedTuple):
    """The way one field is looked up."""

    name: str
    field: FieldInfo
    key: str
    """The name by which the class takes the value."""
    variables: tuple[str, ...]
    """In small letters, the preferred one first."""
    plain: bool
    """The text is the value: nothing is decoded."""
    whole: bool
    """The original asks that the value is decoded as a whole, see its ``value_is_complex``."""
    optional: bool


@lru_cache(maxsize=256)
def _lookups(source: type[Source], settings: type[BaseSettings]) -> tuple[_Lookup, ...] | None:
    """Return what does not change from load to load, or None for classes that only the original reads."""
    config = settings.model_config
    unusual = ("strict", "validate_by_name", "populate_by_name", "env_parse_none_str", "env_parse_enums")
    if any(config.get(each) for each in unusual) or config.get("validate_by_alias") is False:
        return None
    made = source(settings, {}, Problems("en"))
    found: list[_Lookup] = []
    for name, field in settings.model_fields.items():
        choices = made._extract_field_info(field, name)
        if field.validation_alias is not None and any(deep for _, _, deep in choices):
            return None  # a path into a value
        found.append(
            _Lookup(
                name=name,
                field=field,
                key=choices[0][0],
                variables=tuple(variable for _, variable, _ in choices),
                plain=all(type(each).__module__ in _CONSTRAINTS for each in field.metadata)
                and _is_plain(field.annotation),
                whole=choices[-1][2],
                optional=type(None) in typing.get_args(field.annotation),
            )
        )
    return tuple(found)


def _is_plain(annotation: Any) -> bool:
    """Return True for types that take the text as it is."""
    if typing.get_origin(annotation) is typing.Literal:
        return all(isinstance(part, str) for part in typing.get_args(annotation))
    parts = [part for part in typing.get_args(annotation) if part is not type(None)]
    if parts:
        return not isinstance(typing.get_origin(annotation), type) and all(map(_is_plain, parts))
    if not isinstance(annotation, type):
        return False
    return annotation in _PLAIN or issubclass(annotation, Hidden)


def _separated(text: str) -> list[str]:
    """The items of ``a,b,"c,d"``: quotes keep a comma inside an item."""
    if '"' not in text:
        return [part.strip() for part in text.split(",") if part.strip()]
    rows = csv.reader([text.replace("\r", " ").replace("\n", " ")], skipinitialspace=True, strict=True)
    try:
        return [part.strip() for part in next(rows) if part.strip()]
    except csv.Error:
        raise ValueError("quotes that do not match") from None


def models_in(annotation: Any) -> list[type[Any]]:
    """Return the nested models of a field's annotation."""
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in models_in(part)]


def _is_list(annotation: Any) -> bool:
    origin = typing.get_origin(annotation) or annotation
    if origin in _LISTS:
        return True
    return any(_is_list(part) for part in typing.get_args(annotation) if part is not type(None)) and not (
        isinstance(origin, type) and issubclass(origin, Mapping)
    )


def read_dotenv(
    paths: Iterable[str | os.PathLike[str]], problems: Problems, origins: dict[str, str]
) -> dict[str, str]:
    """Return the variables of .env files, later files first; a missing file counts as empty.

    Values are literal: nothing is expanded. A line that cannot be read and a name given twice are problems,
    where other readers drop the one and let the other win silently. `origins` gets file and line of each variable.
    """
    from dotenv.parser import parse_stream

    values: dict[str, str] = {}
    for path in map(Path, paths):
        try:
            text = path.expanduser().read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            problems.add(path.name, "dotenv_unreadable", reason=_reason(error))
            continue
        seen: set[str] = set()
        for binding in parse_stream(io.StringIO(text)):
            line = binding.original.line
            if binding.error or (binding.key and binding.value is None):
                problems.add(path.name, "dotenv_line", line=line)
            elif binding.key and binding.value is not None:
                if binding.key.upper() in seen:
                    problems.add(path.name, "dotenv_duplicate", line=line, name=binding.key)
                seen.add(binding.key.upper())
                values[binding.key] = binding.value
                origins[binding.key.upper()] = f"{path.name}:{line}"
    return values


def read_files(
    values: dict[str, str], known: Collection[str], problems: Problems, origins: dict[str, str]
) -> None:
    """Put the content of the file that ``NAME_FILE`` names under ``NAME``, without its last line break."""
    for pointer in [each for each in values if each.endswith("_FILE")]:
        name = pointer.removesuffix("_FILE")
        if pointer in known or name not in known or not values[pointer]:
            continue
        if values.get(name):
            problems.add(name, "both_set", other=pointer)
            problems.spoilt.add(name)
            continue
        try:
            values[name] = _read_secret_file(Path(values[pointer]))
            origins[name] = pointer
        except (OSError, ValueError) as error:
            problems.add(pointer, "file_unreadable", reason=_reason(error))
            problems.spoilt.add(name)


def _read_secret_file(path: Path) -> str:
    if not path.is_file():
        path.stat()  # raises when there is nothing at all
        raise IsADirectoryError
    with path.open("rb") as file:
        raw = file.read(_MAX_SECRET_FILE + 1)
    if len(raw) > _MAX_SECRET_FILE:
        raise OSError
    text = raw.decode("utf-8-sig")
    return text.removesuffix("\n").removesuffix("\r")


def _reason(error: Exception) -> str:
    """The reason without the path: people sometimes put the secret itself there."""
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return "not a file" if isinstance(error, IsADirectoryError) else "unusable"
