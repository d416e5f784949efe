"""What a long piece of work has done so far, told live, and told again to whoever comes back."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prodkit.progress.channel import Channel as Channel
    from prodkit.progress.log import Log as Log, MemoryLog as MemoryLog, Page as Page, Progress as Progress
    from prodkit.progress.shared import RedisLog as RedisLog
    from prodkit.progress.sse import (
        comment as comment,
        encode as encode,
        parse_last_event_id as parse_last_event_id,
    )

_HOME = {
    "Channel": "channel",
    "Log": "log",
    "MemoryLog": "log",
    "Page": "log",
    "Progress": "log",
    "RedisLog": "shared",
    "comment": "sse",
    "encode": "sse",
    "parse_last_event_id": "sse",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'prodkit.progress' has no attribute {name!r}")
    value = getattr(import_module(f"prodkit.progress.{home}"), name)
    globals()[name] = value
    return value
