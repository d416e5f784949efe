"""Sources of values: the process environment, .env files, and the files that ``NAME_FILE`` points to."""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource

from prodkit.env.problems import Problems

__all__ = ["Source", "read_dotenv", "read_files", "typos"]

_LISTS = (list, tuple, set, frozenset)
_MAX_SECRET_FILE = 1 << 20
# Names that other programs own, however close they come to one of ours.
_FOREIGN = re.compile(
    r"\A(?:PG[A-Z]+|LC_\w+|PYTHON\w+|npm_\w+|XDG_\w+|SSH_\w+|GIT_\w+|[A-Z]+_(?:PORT|SERVICE)_\w+)\Z"
)


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

    def variables(self, field: FieldInfo, name: str) -> list[str]:
        """The names under which `field` is looked up, the preferred one first."""
        return [found.upper() for _, found, _ in self._extract_field_info(field, name)]

    def keys(self, field: FieldInfo, name: str) -> list[str]:
        """The names by which pydantic's errors call `field`."""
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


def _is_list(annotation: Any) -> bool:
    origin = typing.get_origin(annotation) or annotation
    if origin in _LISTS:
        return True
    return any(_is_list(part) for part in typing.get_args(annotation) if part is not type(None)) and not (
        isinstance(origin, type) and issubclass(origin, Mapping)
    )


def read_dotenv(paths: Iterable[str | os.PathLike[str]], problems: Problems) -> dict[str, str]:
    """The variables of .env files, later files first; a file that is not there is an empty one.

    Values are literal: nothing is expanded. A line that cannot be read and a name given twice are problems,
    where other readers drop the one and let the other win silently.
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
        for binding in parse_stream(iter_lines(text)):
            line = binding.original.line
            if binding.error or (binding.key and binding.value is None):
                problems.add(path.name, "dotenv_line", line=line)
            elif binding.key and binding.value is not None:
                if binding.key in seen:
                    problems.add(path.name, "dotenv_duplicate", line=line, name=binding.key)
                seen.add(binding.key)
                values[binding.key] = binding.value
    return values


def iter_lines(text: str) -> typing.IO[str]:
    """`text` as the stream that the parser reads."""
    import io

    return io.StringIO(text)


def read_files(values: dict[str, str], known: Collection[str], problems: Problems) -> None:
    """Puts the content of the file that ``NAME_FILE`` names under ``NAME``, without its last line break."""
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


def typos(
    names: Iterable[str], known: Collection[str], set_names: Collection[str], prefix: str, nested: str
) -> Iterable[tuple[str, str | None]]:
    """Names that look like ours and are not, each with the known name that was probably meant.

    Without a prefix only near misses of a name that is *not* set count: the rest belongs to other programs.
    """
    pointers = {f"{name}_FILE" for name in known}
    for name in names:
        upper = name.upper()
        if upper in known or upper in pointers or _FOREIGN.match(upper):
            continue
        if nested and any(upper.startswith(f"{each}{nested}".upper()) for each in known):
            continue
        ours = bool(prefix) and upper.startswith(prefix.upper())
        meant = _nearest(upper, [each for each in (*known, *pointers) if ours or each not in set_names])
        if meant is not None or ours:
            yield name, meant


def _nearest(name: str, known: Collection[str]) -> str | None:
    best: tuple[int, str] | None = None
    letters = set(name)
    for each in known:
        allowed = 2 if min(len(each), len(name)) >= 8 else 1 if min(len(each), len(name)) >= 5 else 0
        if abs(len(each) - len(name)) > allowed or len(letters.symmetric_difference(each)) > 2 * allowed:
            continue  # an edit changes at most two letters of the alphabet in use
        distance = _distance(name, each, allowed)
        if distance <= allowed and _same_words(name, each) and (best is None or (distance, each) < best):
            best = distance, each
    return best[1] if best else None


def _same_words(a: str, b: str) -> bool:
    """Return True when no word became another one: REDIS_PORT is no misspelt REDIS_HOST, two letters apart."""
    left, right = a.split("_"), b.split("_")
    if len(left) != len(right):
        return True
    return all(2 * _distance(x, y, 2) < max(len(x), len(y), 1) for x, y in zip(left, right, strict=True))


def _distance(a: str, b: str, limit: int) -> int:
    """Edits between two names, a swap of neighbours counting as one; more than `limit` is `limit` + 1."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        last, before, row = before, row, [i]
        for j, right in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == b[j - 2] and a[i - 2] == right:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
    return row[-1]
