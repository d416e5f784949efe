"""The environment, read once, checked whole: typed settings whose errors and reprs hold no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from prodkit.core.lazy import attach
from prodkit.errors import EnvError as EnvError, EnvProblem as EnvProblem

if TYPE_CHECKING:
    from prodkit.core.secrets import Secret as Secret
    from prodkit.env.fields import secret as secret
    from prodkit.env.reference import (
        Variable as Variable,
        env_example as env_example,
        json_schema as json_schema,
        markdown as markdown,
        variables as variables,
    )
    from prodkit.env.settings import Settings as Settings
    from prodkit.env.urls import PostgresUrl as PostgresUrl, RedisUrl as RedisUrl
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            ".errors": ("EnvError", "EnvProblem"),
            ".core.secrets": ("Secret",),
            "fields": ("secret",),
            "reference": ("Variable", "env_example", "json_schema", "markdown", "variables"),
            "settings": ("Settings",),
            "urls": ("PostgresUrl", "RedisUrl"),
        },
    )
    __all__ += ["Environment"]

Environment: TypeAlias = Literal["development", "test", "staging", "production"]
"""The four places where a service runs."""
