"""One guarded link to Redis, used by whatever shares state between processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

if TYPE_CHECKING:
    from prodkit.redis.events import RedisLost as RedisLost, RedisRecovered as RedisRecovered
    from prodkit.redis.link import RedisLink as RedisLink
    from prodkit.redis.scripts import Script as Script
    from prodkit.redis.shared_breakers import SharedBreakers as SharedBreakers
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "events": ("RedisLost", "RedisRecovered"),
            "link": ("RedisLink",),
            "scripts": ("Script",),
            "shared_breakers": ("SharedBreakers",),
        },
    )
