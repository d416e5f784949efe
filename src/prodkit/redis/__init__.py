"""One guarded link to Redis for everything that shares state between processes.

::

    link.execute("GET", "k")                       link.run(lambda client: …)
      ├─ availability: down? RedisError at once      ├─ availability
      ├─ topology: which node                        ├─ a slot of the pool, or the queue
      ├─ shared_connection: one write a tick         ├─ redis-py's client
      └─ errors.classify: outage, refused, bug       └─ errors.classify
            outage ─▶ availability: go_down ─▶ probe ─▶ callbacks of on_up ─▶ up
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

if TYPE_CHECKING:
    from prodkit.redis.events import RedisLost as RedisLost, RedisRecovered as RedisRecovered
    from prodkit.redis.link import RedisLink as RedisLink
    from prodkit.redis.scripts import Script as Script
    from prodkit.redis.shared_breakers import SharedBreakers as SharedBreakers
    from prodkit.redis.shared_budget import SharedRetryBudget as SharedRetryBudget
    from prodkit.redis.shared_bulkhead import SharedBulkhead as SharedBulkhead
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "events": ("RedisLost", "RedisRecovered"),
            "link": ("RedisLink",),
            "scripts": ("Script",),
            "shared_breakers": ("SharedBreakers",),
            "shared_budget": ("SharedRetryBudget",),
            "shared_bulkhead": ("SharedBulkhead",),
        },
    )
