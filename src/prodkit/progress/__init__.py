"""What a long piece of work has done so far, told live, and told again to whoever comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

if TYPE_CHECKING:
    from prodkit.progress.channel import Channel as Channel
    from prodkit.progress.memory_log import (
        Log as Log,
        MemoryLog as MemoryLog,
        Page as Page,
        Progress as Progress,
    )
    from prodkit.progress.redis_log import RedisLog as RedisLog
    from prodkit.progress.sse import (
        comment as comment,
        encode as encode,
        parse_last_event_id as parse_last_event_id,
    )
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "channel": ("Channel",),
            "memory_log": ("Log", "MemoryLog", "Page", "Progress"),
            "redis_log": ("RedisLog",),
            "sse": ("comment", "encode", "parse_last_event_id"),
        },
    )
