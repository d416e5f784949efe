"""Sources of values: the process environment, .env files, and the files that ``NAME_FILE`` points to."""

from __future__ import annotations

import io
import os
import typing
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource

from prodkit.env.problems import Problems

__all__ = ["Source", "models_in", "read_dotenv", "read_files"]

_LISTS = (list, tuple, set, frozenset)
_MAX_SECRET_FILE = 1 << 20


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

    def fill(self, values: Mapping[str, str]) -> None:
        """Read from `values` from now on. One source serves for the names and for the values."""
        self._values = values
        self.env_vars: Mapping[str, str | None] = self._load_env_vars()

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
        try:
            return super().prepare_field_value(field_name, field, value, value_is_complex)
        except ValueError:
            variable = self.variables(field, field_name)[0]
            self._problems.add(variable, "list" if _is_list(field.annotation) else "json")
            self._problems.spoilt.add(variable)
            return None

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        if isinstance(value, str) and _is_list(field.annotation) and not value.lstrip().startswith("["):
            return [part.strip() for part in value.split(",") if part.strip()]
        return super().decode_complex_value(field_name, field, value)


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
                if binding.key in seen:
                    problems.add(path.name, "dotenv_duplicate", line=line, name=binding.key)
                seen.add(binding.key)
                values[binding.key] = binding.value
                origins[binding.key.upper()] = f"{path.name}:{line}"
    return values


def read_files(
    values: dict[str, str], known: Collection[str], problems: Problems, origins: dict[str, str]
) -> None:
    """Put the content of the file that ``NAME_FILE`` names under ``NAME``, without its last line break."""
    for name in known:
        pointer = f"{name}_FILE"
        if pointer in known or not values.get(pointer):
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
