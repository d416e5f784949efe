"""Logs on loguru: one valid line an event, no secret in it, and files that never delete those of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

if TYPE_CHECKING:
    from prodkit.core.redaction import add_secrets as add_secrets, redact as redact
    from prodkit.logs.configure import Logging as Logging, setup as setup
    from prodkit.logs.executor import ContextExecutor as ContextExecutor
    from prodkit.logs.fields import bind as bind, context as context, current as current
    from prodkit.logs.files import DailyFile as DailyFile, purge as purge
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "configure": ("Logging", "setup"),
            "executor": ("ContextExecutor",),
            "fields": ("bind", "context", "current"),
            "files": ("DailyFile", "purge"),
            ".core.redaction": ("add_secrets", "redact"),
        },
    )
