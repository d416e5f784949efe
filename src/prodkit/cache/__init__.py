"""A cache in memory and Redis that keeps working when Redis does not."""

from __future__ import annotations

from prodkit.cache.cache import Cache as Cache
from prodkit.cache.codec import Codec as Codec, JsonCodec as JsonCodec
from prodkit.cache.entry import FOREVER as FOREVER, MISSING as MISSING
from prodkit.cache.events import (
    CacheHit as CacheHit,
    CacheInvalidated as CacheInvalidated,
    CacheLoaded as CacheLoaded,
    CacheMissed as CacheMissed,
    CacheRefreshFailed as CacheRefreshFailed,
)
from prodkit.cache.keys import hash_data as hash_data, make_cache_key as make_cache_key
from prodkit.cache.patterns import escape as escape

__all__ = [
    "FOREVER",
    "MISSING",
    "Cache",
    "CacheHit",
    "CacheInvalidated",
    "CacheLoaded",
    "CacheMissed",
    "CacheRefreshFailed",
    "Codec",
    "JsonCodec",
    "escape",
    "hash_data",
    "make_cache_key",
]
