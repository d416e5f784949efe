"""A cache in memory and Redis that keeps working while Redis does not.

::

    get_or_set(key, load)
      ├─ tiers.local: memory, if fresh and trusted ─────────────────────────▶ value
      ├─ flight: join the load of this key, or begin one
      │    ├─ tiers.fetch ─▶ redis_tier: one MGET a tick, versions compared ─▶ value
      │    ├─ scope="cluster": lease, or wait for the process that has it
      │    ├─ redis_tier.capture: versions before the load
      │    └─ load ─▶ stored, if no version has moved
      └─ stale: the value at once, loader.refresh in the background

    Redis away ─▶ memory answers, outage_log ─▶ back ─▶ catch_up replays ─▶ Redis is read again
"""

from __future__ import annotations

from prodkit.cache.cache import Cache as Cache
from prodkit.cache.codec import (
    Codec as Codec,
    JsonCodec as JsonCodec,
    MsgpackCodec as MsgpackCodec,
    RecordCodec as RecordCodec,
)
from prodkit.cache.counter import Counter as Counter, counter as counter
from prodkit.cache.entry import FOREVER as FOREVER, MISSING as MISSING, Hit as Hit
from prodkit.cache.events import (
    CacheCaughtUp as CacheCaughtUp,
    CacheHit as CacheHit,
    CacheInvalidated as CacheInvalidated,
    CacheLoaded as CacheLoaded,
    CacheMissed as CacheMissed,
    CacheRefreshFailed as CacheRefreshFailed,
)
from prodkit.cache.keys import hash_data as hash_data, make_cache_key as make_cache_key
from prodkit.cache.lock import Lock as Lock
from prodkit.cache.patterns import escape as escape

__all__ = [
    "FOREVER",
    "MISSING",
    "Cache",
    "CacheCaughtUp",
    "CacheHit",
    "CacheInvalidated",
    "CacheLoaded",
    "CacheMissed",
    "CacheRefreshFailed",
    "Codec",
    "Counter",
    "Hit",
    "JsonCodec",
    "Lock",
    "MsgpackCodec",
    "RecordCodec",
    "counter",
    "escape",
    "hash_data",
    "make_cache_key",
]
