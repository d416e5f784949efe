"""The class that a service derives its settings from."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

from pydantic import BaseModel, PrivateAttr, SecretBytes, SecretStr, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, SettingsConfigDict

from prodkit.core.secrets import REGISTRY
from prodkit.core.validate import Arguments
from prodkit.env.fields import MASK, Hidden
from prodkit.env.gathered import Gathered
from prodkit.env.plan import Plan, plan_of
from prodkit.env.problems import Problems
from prodkit.env.production import broken_groups, broken_rules
from prodkit.env.source import Source, read_dotenv, read_files
from prodkit.env.texts import LANGUAGES, Language, hint
from prodkit.env.typos import typos
from prodkit.errors import EnvProblem

__all__ = ["Settings"]

_LOGGER: Final = logging.getLogger("prodkit")
_HUSH = ("password", "passwd", "senha", "secret", "token", "apikey", "api_key", "private_key", "credential")


@dataclass(frozen=True, slots=True, eq=False)
class _Loading:
    """The way settings were loaded. Equal to every other: settings are compared by their values."""

    choices: tuple[tuple[str, ...], ...] = ()
    """For each field its variables, the preferred one first."""
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
        plan = plan_of(cls)
        nested = cls.model_config.get("env_nested_delimiter") or ""
        gathered = Gathered(environ, read_dotenv(files, problems, origins), ignore)
        values = gathered.values(plan.known, nested, origins)
        read_files(values, plan.index.known, problems, origins)
        notices = _clean(values, plan.secrets, origins, problems)
        made = cls._made(values, plan, nested, problems)
        set_names = frozenset(name for name in plan.known if name in values)
        prefix = str(cls.model_config.get("env_prefix") or "")
        for name, meant in typos(gathered.names(), plan.index, set_names, prefix, nested, plan.closed):
            if not gathered.is_set(name):
                continue
            if meant:
                problems.add(name, "unknown", meant=meant)
            else:
                problems.add(name, "unknown_prefix")
        cls._add_rules(made, plan.variables, set_names, problems)
        if made is not None and not problems:
            made._loading = _Loading(plan.choices, set_names, origins, notices)
        return None if problems else made

    @classmethod
    def _made(cls, values: Mapping[str, str], plan: Plan, nested: str, problems: Problems) -> Self | None:
        """Return the settings of `values`, or None and problems."""
        made = cls.__new__(cls)
        try:
            # Not through the constructor of pydantic-settings: it has nothing to add to one source, and its log of
            # sources, which an environment variable switches on, shows every value.
            BaseModel.__init__(made, **Source(cls, values, problems)())
        except ValidationError as error:
            problems.add_validation(_errors(error), plan.locations, _texts(values), plan.hidden, nested)
        except Exception as error:  # noqa: BLE001 - a validator of the class; its message may hold the value
            problems.add("-", "validator", error=type(error).__name__, where=_place(error))
        else:
            return made
        return None

    @classmethod
    def _add_rules(
        cls, made: Self | None, variables: Mapping[str, str], set_names: Collection[str], problems: Problems
    ) -> None:
        for missing, other in broken_groups(cls.all_or_none, lambda name: variables[name] in set_names):
            if variables[missing] in problems.spoilt:
                continue  # it is set, and its own problem says what is wrong
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
        used = [
            next((name for name in each if name in loading.set_names), each[0]) for each in loading.choices
        ]
        return {
            name: loading.origins.get(name, "environment" if name in loading.set_names else "default")
            for name in (*used, *sorted(loading.set_names.difference(*loading.choices)))
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

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).model_fields:
            raise self._frozen(name)
        super().__setattr__(name, value)

    def _frozen(self, name: str) -> ValidationError:
        """Pydantic's error for a change, without the value that pydantic would show."""
        wrong: Any = {"type": "frozen_instance", "loc": (name,), "input": MASK}
        return ValidationError.from_exception_data(type(self).__name__, [wrong], hide_input=True)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            "settings do not pickle: a pickle would hold their secrets. Call load() in the other process"
        )


def _errors(error: ValidationError) -> list[Any]:
    return list(error.errors(include_url=False, include_input=False))


def _place(error: BaseException) -> str:
    """File and line where `error` was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "?"  # noqa: PTH119 - a name


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


def _secrets(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, Hidden):
        yield from value.secret_values()
    elif isinstance(value, SecretStr | SecretBytes):
        text = value.get_secret_value()
        yield text if isinstance(text, str) else text.decode("utf-8", "replace")
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
