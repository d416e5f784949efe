"""The class that a service derives its settings from."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Final, Self

from pydantic import PrivateAttr, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, SettingsConfigDict

from prodkit.core.secrets import REGISTRY
from prodkit.core.validate import Arguments
from prodkit.env.fields import MASK, Hidden
from prodkit.env.problems import Problems
from prodkit.env.production import broken_groups, broken_rules
from prodkit.env.source import Source, read_dotenv, read_files
from prodkit.env.texts import LANGUAGES, Language, hint
from prodkit.env.typos import Index, typos
from prodkit.errors import EnvProblem

__all__ = ["Settings"]

_LOGGER: Final = logging.getLogger("prodkit")
_HUSH = ("password", "passwd", "senha", "secret", "token", "apikey", "api_key", "private_key", "credential")


@dataclass(frozen=True, slots=True, eq=False)
class _Loading:
    """The way settings were loaded. Equal to every other: settings are compared by their values."""

    variables: tuple[str, ...] = ()
    set_names: frozenset[str] = frozenset()
    origins: Mapping[str, str] = field(default_factory=dict[str, str])
    notices: tuple[EnvProblem, ...] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Loading)

    def __hash__(self) -> int:
        return 0


class Settings(BaseSettings):
    """Typed settings, read from the environment by :meth:`load`; frozen, and masked when printed.

    ::

        class Settings(env.Settings):
            environment: env.Environment = "development"
            database_url: env.PostgresUrl
            session_secret: env.Secret = env.secret(min_length=32)

        settings = Settings.load()

    ``database_url`` is read from ``DATABASE_URL``, or from the file that ``DATABASE_URL_FILE`` names. Lists
    are written ``a,b,c`` or in JSON. ``model_config = {"env_prefix": "SHOP_"}`` puts a prefix before every
    name. ``Settings(name=value)`` makes settings from values alone, for tests: the environment is
    not read.

    Args:
        values: the fields by name, when settings are made without the environment.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        env_ignore_empty=True,
        validate_default=False,
        revalidate_instances="never",
    )

    all_or_none: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Groups of fields that are set together or not at all: ``(("smtp_host", "smtp_user"),)``."""
    relaxed: ClassVar[tuple[str, ...]] = ()
    """Production rules that this service does without, see ``production.RULES``."""

    _loading: _Loading = PrivateAttr(default_factory=lambda: _Loading())

    def __init__(self, **values: Any) -> None:
        if "_build_sources" in values:
            super().__init__(**values)
            return
        problems = Problems("en")
        try:
            source = InitSettingsSource(type(self), init_kwargs=values)
            super().__init__(_build_sources=((source,), {}))
        except ValidationError as error:
            problems.add_validation(_errors(error), {}, _texts(values), ())
        del values
        if problems:
            raise problems.error()

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str] | None = None,
        dotenv: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
        *,
        language: Language = "en",
        ignore: Collection[str] = (),
    ) -> Self:
        """Read and check everything at once; the secrets that are loaded are registered in ``secrets.REGISTRY``.

        Args:
            environ: the variables; ``os.environ`` when None.
            dotenv: one or several .env files, none by default; a missing one counts as empty. The environment wins
                over them, a later file over an earlier one. An empty variable counts as not set.
            language: language of the hints, ``en`` or ``pt-BR``.
            ignore: variables of other programs that look like a misspelling of one of yours.

        Raises:
            EnvError: every problem: missing and wrong values, names that look like typos, unreadable files and lines,
                groups that are set in part, and what must not run in production. It holds no value.
        """
        check = Arguments("Settings.load")
        check.one_of("language", language, LANGUAGES)
        check.done()
        problems = Problems(language)
        loaded = cls._load(os.environ if environ is None else environ, dotenv, ignore, problems)
        del environ, dotenv  # a traceback that shows locals shows none of ours
        if loaded is None:
            raise problems.error()
        REGISTRY.add(*loaded.secret_values())
        for notice in loaded.notices():
            _LOGGER.warning("%s %s", notice.variable, notice.hint)
        return loaded

    @classmethod
    def _load(
        cls,
        environ: Mapping[str, str],
        dotenv: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None,
        ignore: Collection[str],
        problems: Problems,
    ) -> Self | None:
        files = [] if dotenv is None else [dotenv] if isinstance(dotenv, str | os.PathLike) else list(dotenv)
        origins: dict[str, str] = {}
        given = read_dotenv(files, problems, origins)
        values = _folded(given)
        for name in _fold_into(values, environ):
            origins.pop(name, None)
        skipped = {name.upper() for name in ignore}
        suspects = [name for name in values if name not in skipped] if skipped else list(values)
        plan = _plan(cls)
        read_files(values, plan.known, problems, origins)
        notices = _clean(values, plan.secrets, origins, problems)
        made: Self | None = None
        nested = cls.model_config.get("env_nested_delimiter") or ""
        source = Source(cls, values if nested else _picked(values, plan.known), problems)
        try:
            made = cls(_build_sources=((source,), {}))
        except ValidationError as error:
            problems.add_validation(_errors(error), plan.locations, _texts(values), plan.hidden, nested)
        set_names = frozenset(name for name in plan.known if name in values)
        for name, meant in typos(suspects, plan.index, set_names, source.env_prefix, nested):
            if meant:
                problems.add(name, "unknown", meant=meant)
            else:
                problems.add(name, "unknown_prefix")
        cls._add_rules(made, plan.variables, set_names, problems)
        if made is not None and not problems:
            made._loading = _Loading(tuple(plan.variables.values()), set_names, origins, notices)
        return None if problems else made

    @classmethod
    def _add_rules(
        cls, made: Self | None, variables: Mapping[str, str], set_names: Collection[str], problems: Problems
    ) -> None:
        for missing, other in broken_groups(cls.all_or_none, lambda name: variables[name] in set_names):
            problems.add(variables[missing], "group", other=variables[other])
        if made is None:
            return
        values = dict(made)
        for name, rule, other in broken_rules(values.get("environment"), values):
            if rule not in cls.relaxed:
                problems.add(variables[name], rule, other=variables.get(other, ""))

    def provenance(self) -> dict[str, str]:
        """Return where each variable's value came from; never the value.

        ``environment``, ``.env:3`` (file and line), ``NAME_FILE`` (a file that this variable names) or ``default``.
        Empty for settings that were made from values.
        """
        loading = self._loading
        return {
            name: loading.origins.get(name, "environment" if name in loading.set_names else "default")
            for name in (*loading.variables, *loading.set_names)
        }

    def notices(self) -> tuple[EnvProblem, ...]:
        """Return what was repaired while loading: secrets that arrived in quotes or with blanks around them."""
        return self._loading.notices

    def secret_values(self) -> tuple[str, ...]:
        """Return every secret text in these settings, longest first. ``load`` registers them by itself."""
        found: set[str] = set()
        for name, value in self:
            found.update(_secrets(name, value))
        return tuple(sorted((text for text in found if len(text) >= 4), key=lambda text: (-len(text), text)))

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            hush = isinstance(value, str) and name is not None and _sounds_secret(name)
            yield name, MASK if hush else value

    def __str__(self) -> str:
        return repr(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            "settings do not pickle: a pickle would hold their secrets. Call load() in the other process"
        )


def _errors(error: ValidationError) -> list[Any]:
    return list(error.errors(include_url=False, include_input=False))


def _picked(values: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    return {name: values[name] for name in names if name in values}


def _folded(given: Mapping[str, str]) -> dict[str, str]:
    """Names in capitals; where a system has both ``Port`` and ``PORT``, the capitals win."""
    values: dict[str, str] = {}
    for _ in _fold_into(values, given):
        pass
    return values


def _fold_into(values: dict[str, str], given: Mapping[str, str]) -> Iterator[str]:
    """Put what is set in `given` into `values`, and yield the names."""
    exact: set[str] = set()
    for name, value in given.items():
        if not value:
            continue
        upper = name.upper()
        if upper is name or upper == name:
            exact.add(upper)
        elif upper in exact:
            continue
        values[upper] = value
        yield upper


@dataclass(frozen=True, slots=True)
class _Plan:
    """The names of a settings class, which do not change."""

    variables: Mapping[str, str]
    """Field to preferred variable."""
    locations: Mapping[str, str]
    """First location of a pydantic error to variable."""
    known: tuple[str, ...]
    hidden: frozenset[str]
    secrets: tuple[str, ...]
    index: Index


@lru_cache(maxsize=256)
def _plan(settings: type[Settings]) -> _Plan:
    source = Source(settings, {}, Problems("en"))
    fields = settings.model_fields.items()
    names = {key: source.variables(each, key) for key, each in fields}
    inside = source.nested()
    known = tuple(dict.fromkeys((*(name for listed in names.values() for name in listed), *inside)))
    hidden = frozenset(names[key][0] for key, each in fields if _is_hidden(each.annotation))
    return _Plan(
        variables={key: listed[0] for key, listed in names.items()},
        locations={location: names[key][0] for key, each in fields for location in source.keys(each, key)},
        known=known,
        hidden=hidden,
        secrets=(*hidden, *inside),
        index=Index(known),
    )


def _clean(
    values: dict[str, str], names: Iterable[str], origins: Mapping[str, str], problems: Problems
) -> tuple[EnvProblem, ...]:
    """Remove quotes, blanks and line breaks around secrets, with a notice for each; files stay as they are."""
    found: list[EnvProblem] = []
    for name in names:
        value = values.get(name)
        if value is None or origins.get(name) == f"{name}_FILE":
            continue
        bare = value.strip()
        rule = "cleaned_blanks" if bare and bare != value else ""
        if len(bare) > 2 and bare[0] == bare[-1] and bare[0] in "\"'":
            bare, rule = bare[1:-1].strip(), "cleaned_quotes"
        if rule and bare:
            values[name] = bare
            found.append(EnvProblem(name, rule, hint(rule, problems.language)))
    return tuple(found)


def _texts(values: Mapping[str, Any]) -> list[str]:
    texts = [value.reveal() if isinstance(value, Hidden) else str(value) for value in values.values()]
    return [text for text in texts if len(text) >= 3]


def _sounds_secret(name: str) -> bool:
    return any(word in name.lower() for word in _HUSH)


def _is_hidden(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, Hidden):
        return True
    return any(_is_hidden(part) for part in getattr(annotation, "__args__", ()))


def _secrets(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, Hidden):
        yield from value.secret_values()
    elif isinstance(value, str):
        if _sounds_secret(name):
            yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _secrets(f"{name}.{key}", part)
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from _secrets(name, part)
    elif hasattr(type(value), "model_fields"):
        for key, part in value:
            yield from _secrets(f"{name}.{key}", part)
