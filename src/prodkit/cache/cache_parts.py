"""The parts that all methods of a cache work on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

from prodkit.cache.codec import Codec
from prodkit.cache.entry import Entry
from prodkit.cache.events import CacheHit, CacheInvalidated
from prodkit.cache.flight import Flight, Flights
from prodkit.cache.loader import Loader
from prodkit.cache.memory_tier import MemoryTier
from prodkit.cache.tiers import Stats, Tiers
from prodkit.core.events import Event
from prodkit.core.lifespan import Managed
from prodkit.core.runtime import Runtime

__all__ = ["CacheParts", "require_key", "texts"]

D = TypeVar("D")


class CacheParts(Managed):
    """The base of the methods of :class:`~prodkit.cache.Cache`, which makes the parts::

    values.py         get, set       ─┐                 memory_tier
    loads.py          get_or_set      ├─▶ tiers, flights ─▶ redis_tier
    invalidation.py   delete, tags   ─┘                 outage_log
    """

    namespace: str
    stats: Stats
    _runtime: Runtime
    _now: Callable[[], float]
    _clock: Callable[[], Callable[[], float]]
    _listened: Callable[[type[Event]], bool]
    _codec: Codec
    _memory: MemoryTier
    _lookup: Callable[[str], Entry | None]
    _touch: Callable[[str], None]
    _flights: Flights[Entry]
    _tiers: Tiers
    _loader: Loader

    @property
    def _tier(self) -> Literal["memory", "redis"]:
        return "redis" if self._tiers.linked else "memory"

    def _fresh(self, entry: Entry | None, tier: Literal["memory", "redis"], default: D) -> Any | D:
        if entry is None or entry.failure is not None or self._clock()() >= entry.fresh_until:
            self._loader.missed()
            return default
        self.stats.memory_hits += tier == "memory"
        if self._listened(CacheHit):
            self._runtime.events.emit(CacheHit(cache=self.namespace, tier=tier, stale=False))
        return self._tiers.value(entry)

    def _count(self, entry: Entry, tier: Literal["memory", "redis"]) -> None:
        stale = self._now() >= entry.fresh_until
        self.stats.stale_hits += stale
        self.stats.memory_hits += tier == "memory"
        if self._listened(CacheHit):
            self._runtime.events.emit(CacheHit(cache=self.namespace, tier=tier, stale=stale))

    def _supersede(self, key: str) -> None:
        self._flights.supersede_key(key)
        self._tiers.supersede(key)

    def _supersede_all(self, which: Callable[[str, Flight[Entry]], bool]) -> None:
        self._flights.supersede(which)
        self._tiers.supersede_all()

    def _invalidated(self, what: Literal["keys", "tags", "pattern", "all"], later: bool) -> None:
        if self._runtime.events.listened(CacheInvalidated):
            self._runtime.events.emit(CacheInvalidated(cache=self.namespace, what=what, logged=later))


def texts(what: str, given: Iterable[str]) -> tuple[str, ...]:
    """Return `given` as distinct names.

    Args:
        what: the parameter, for the error.
        given: the names; a single text is a mistake.
    """
    if isinstance(given, str):
        raise TypeError(f"{what} is a list of names, got the single text {given!r}")
    try:
        names = tuple(dict.fromkeys(given))
    except TypeError:
        raise TypeError(f"{what} must be a list of texts, got {given!r}") from None
    if not all(type(each) is str and each for each in names):
        raise TypeError(f"{what} must be texts that are not empty, got {names!r}")
    return names


def require_key(key: object) -> None:
    """Refuse a key that Redis and memory would not understand alike, before anything is done or logged.

    Args:
        key: a text that is not empty.
    """
    if not isinstance(key, str) or not key:
        raise TypeError(f"a key must be a text that is not empty, got {key!r}: see make_cache_key")
