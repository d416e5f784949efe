"""The names of the environment and of .env files, of which only the service's own are read. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

__all__ = ["Gathered"]


class Gathered:
    """Names in capitals, whatever their case; the environment wins over the files.

    A process has dozens of variables that are not the service's. Their values are never read: only their names are
    compared, for misspellings.

    Args:
        environ: the environment.
        dotenv: the variables of .env files.
        ignore: names that no one asks about, in any case.
    """

    __slots__ = ("_dotenv", "_environ", "_ignored", "_written")

    def __init__(
        self, environ: Mapping[str, str], dotenv: Mapping[str, str], ignore: Collection[str] = ()
    ) -> None:
        self._environ = environ
        self._written = _capitals(environ)
        self._dotenv = {name.upper(): value for name, value in dotenv.items() if value}
        self._ignored = frozenset(name.upper() for name in ignore)

    def names(self) -> Iterable[str]:
        """Return every name but those to ignore."""
        names: Iterable[str] = {**self._written, **self._dotenv} if self._dotenv else self._written
        return [name for name in names if name not in self._ignored] if self._ignored else names

    def is_set(self, name: str) -> bool:
        """Return True when the variable is not empty."""
        return bool(self._read(name) or self._dotenv.get(name))

    def values(self, known: Iterable[str], nested: str, origins: dict[str, str]) -> dict[str, str]:
        """Return the values of `known` names, of their ``NAME_FILE``, and of the names nested under them.

        Args:
            known: the variables of the service, in capitals.
            nested: the delimiter of nested names, or an empty text.
            origins: loses the names that the environment gives.
        """
        found: dict[str, str] = {}
        wanted = [each for name in known for each in (name, f"{name}_FILE")]
        if nested:
            begins = tuple(f"{name}{nested}".upper() for name in known)
            wanted += [name for name in self.names() if name.startswith(begins)]
        for name in wanted:
            value = self._read(name)
            if value:
                origins.pop(name, None)
            else:
                value = self._dotenv.get(name)
            if value:
                found[name] = value
        return found

    def _read(self, name: str) -> str | None:
        written = self._written.get(name)
        return None if written is None else self._environ[written]


def _capitals(environ: Mapping[str, str]) -> dict[str, str]:
    """Return each name in capitals with the name as it is written; of ``Port`` and ``PORT``, the capitals win."""
    names = list(environ)
    try:
        found = dict(zip(map(str.upper, names), names, strict=True))
    except TypeError:
        raise TypeError("Settings.load: the names of environ must be text") from None
    if len(found) < len(names):
        found.update((name.upper(), name) for name in names if environ[name])
        found.update((name, name) for name in names if name == name.upper() and environ[name])
    return found
