"""Logs on loguru: one valid line an event, no secret in it, and files that never delete somebody else's."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prodkit.logs.configure import Logging as Logging, setup as setup
    from prodkit.logs.fields import bind as bind, context as context, current as current
    from prodkit.logs.files import DailyFile as DailyFile, purge as purge
    from prodkit.logs.redaction import add_secrets as add_secrets, redact as redact

_HOME = {
    **dict.fromkeys(("bind", "context", "current"), "fields"),
    **dict.fromkeys(("DailyFile", "purge"), "files"),
    **dict.fromkeys(("add_secrets", "redact"), "redaction"),
    **dict.fromkeys(("Logging", "setup"), "configure"),
}

__all__ = [
    "DailyFile",
    "Logging",
    "add_secrets",
    "bind",
    "context",
    "current",
    "purge",
    "redact",
    "setup",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'prodkit.logs' has no attribute {name!r}")
    value = getattr(import_module(f"prodkit.logs.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
