"""The class that a service derives its settings from."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, SettingsConfigDict

from prodkit.core.secrets import REGISTRY
from prodkit.env.fields import MASK, Hidden
from prodkit.env.problems import Problems
from prodkit.env.source import Source, read_dotenv, read_files, typos
from prodkit.env.texts import LANGUAGES, Language

__all__ = ["Settings"]

_HUSH = ("password", "passwd", "senha", "secret", "token", "apikey", "api_key", "private_key", "credential")


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
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        env_ignore_empty=True,
        validate_default=False,
        revalidate_instances="never",
    )

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
        """Reads and checks everything at once.

        `environ` is ``os.environ`` unless given. `dotenv` names one or several .env files (none by default, a
        missing one counts as empty); the environment wins over them, a later file over an earlier one. An
        empty variable counts as not set. `language` is that of the problems: ``en`` or ``pt-BR``. `ignore`
        lists variables of other programs that look like a misspelling of one of yours.

        Raises EnvError with all problems: what is missing or wrong, variables that look like typos,
        unreadable files and lines. It holds no value.
        """
        if language not in LANGUAGES:
            raise ValueError(f"language is one of {', '.join(LANGUAGES)}; got {language!r}")
        problems = Problems(language)
        loaded = cls._load(os.environ if environ is None else environ, dotenv, ignore, problems)
        del environ, dotenv  # a traceback that shows locals shows none of ours
        if loaded is None:
            raise problems.error()
        REGISTRY.add(*loaded.secret_values())
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
        given = {**read_dotenv(files, problems), **{k: v for k, v in environ.items() if v}}
        values = _folded(given)
        probe = Source(cls, {}, problems)
        fields = cls.model_fields.items()
        known = list(dict.fromkeys(name for key, field in fields for name in probe.variables(field, key)))
        read_files(values, known, problems)
        set_names = {name for name in known if name in values}
        prefix, nested = probe.env_prefix, probe.env_nested_delimiter or ""
        skipped = {name.upper() for name in ignore}
        suspects = [name for name in given if name.upper() not in skipped]
        source = Source(cls, values, problems)
        hidden = {probe.variables(field, key)[0] for key, field in fields if _is_hidden(field.annotation)}
        made: Self | None = None
        try:
            made = cls(_build_sources=((source,), {}))
        except ValidationError as error:
            names = {
                key: probe.variables(field, name)[0]
                for name, field in fields
                for key in probe.keys(field, name)
            }
            problems.add_validation(_errors(error), names, _texts(values), hidden)
        for name, meant in typos(suspects, known, set_names, prefix, nested):
            if meant:
                problems.add(name, "unknown", meant=meant)
            else:
                problems.add(name, "unknown_prefix")
        return None if problems else made

    def secret_values(self) -> tuple[str, ...]:
        """Every secret text in these settings, longest first: give them to ``logs.setup(secrets=…)``."""
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


def _folded(given: Mapping[str, str]) -> dict[str, str]:
    """Names in capitals; where a system has both ``Port`` and ``PORT``, the capitals win."""
    values = {name.upper(): value for name, value in given.items()}
    values.update({name: value for name, value in given.items() if name.isupper()})
    return values


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
