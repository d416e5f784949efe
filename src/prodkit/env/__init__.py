"""The environment, read once, checked whole: typed settings whose errors and reprs hold no secret."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from prodkit.errors import EnvError as EnvError, EnvProblem as EnvProblem

if TYPE_CHECKING:
    from prodkit.env.fields import Secret as Secret, secret as secret
    from prodkit.env.reference import (
        Variable as Variable,
        env_example as env_example,
        json_schema as json_schema,
        markdown as markdown,
        variables as variables,
    )
    from prodkit.env.settings import Settings as Settings
    from prodkit.env.urls import PostgresUrl as PostgresUrl, RedisUrl as RedisUrl

Environment: TypeAlias = Literal["development", "test", "staging", "production"]
"""The four places where a service runs."""

_HOME = {
    **dict.fromkeys(("Secret", "secret"), "fields"),
    **dict.fromkeys(("Variable", "env_example", "json_schema", "markdown", "variables"), "reference"),
    "Settings": "settings",
    **dict.fromkeys(("PostgresUrl", "RedisUrl"), "urls"),
}

__all__ = [
    "EnvError",
    "EnvProblem",
    "Environment",
    "PostgresUrl",
    "RedisUrl",
    "Secret",
    "Settings",
    "Variable",
    "env_example",
    "json_schema",
    "markdown",
    "secret",
    "variables",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'prodkit.env' has no attribute {name!r}")
    value = getattr(import_module(f"prodkit.env.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
