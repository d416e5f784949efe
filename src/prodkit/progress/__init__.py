"""Channels of numbered events that are streamed live and replayed to readers who reconnect.

In a handler: ``web.EventStream(channel.subscribe(topic, after=web.last_event_id(request), until={"done"}))``.

::

    publish(topic, name, data)                      subscribe(topic, after=7, until={"done"})
      │ checked and copied                            │ behind the newest id: read pages of the log
      ▼                                               │ gap in the log: resync, then the terminal event
    log.append ── memory_log                          │ at the newest id: wait for the next event
      │      └── redis_log ─ PUBLISH ─ redis_listener │
      ▼                                     │         ▼
    followers of this process ◄─────────────┘ ──► event is yielded; ends after a name in `until`
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

if TYPE_CHECKING:
    from prodkit.progress.channel import Channel as Channel, Pushing as Pushing
    from prodkit.progress.memory_log import (
        RESYNC as RESYNC,
        Log as Log,
        MemoryLog as MemoryLog,
        Page as Page,
        Progress as Progress,
        Source as Source,
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
            "channel": ("Channel", "Pushing"),
            "memory_log": ("RESYNC", "Log", "MemoryLog", "Page", "Progress", "Source"),
            "redis_log": ("RedisLog",),
            "sse": ("comment", "encode", "parse_last_event_id"),
        },
    )
