"""RateLimiter: one question, one round trip, and an answer also while Redis is away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.secrets import Revealable, reveal
from prodkit.errors import PoolExhaustedError, RedisError
from prodkit.ratelimit import redis_store
from prodkit.ratelimit.algorithms import Entry, Outlook
from prodkit.ratelimit.decision import Decision, Grant
from prodkit.ratelimit.events import RateLimitDenied, RateLimitUnchecked
from prodkit.ratelimit.limit import Key, Limit
from prodkit.ratelimit.memory_store import MemoryStore
from prodkit.redis.link import RedisLink

__all__ = ["RateLimiter"]

_KEYS: Final = frozenset((str, int, bytes, UUID, type(None)))
_CLOSED: Final = Outlook(0, 1_000_000, 1_000_000, 1_000_000)
_SENDING: Final = -1  # the stamp of an entry on its way to Redis: nothing is added to it any more


class RateLimiter:
    """Counts callers against limits, in Redis for all processes or in memory for this one.

    ::

        limiter = RateLimiter(redis, runtime=rt)
        decision = await limiter.check((LOGIN, account), (LOGIN_IP, ip))
        if not decision.allowed:
            ...  # decision.retry_after, ratelimit.headers(decision), ratelimit.message(decision)

    In no window does a limit let more through than its amount, whatever the clocks of the clients say:
    Redis reads its own. What a refused caller asked for is not counted, so waiting ``retry_after`` is
    enough.

    While Redis is away each limit follows its ``on_outage``. Under ``local`` this process goes on from
    everything it has admitted itself, before and during the outage, and when Redis is back it is told what
    was admitted without
    it: going down and up again gives nobody a new quota.

    Args:
        redis: the link, or None for limits of this process alone.
        secret: keys the digests under which callers are kept in Redis. All processes need the same one.
        max_keys: logs kept in memory at the same time; callers beyond it share one log per limit.
    """

    def __init__(
        self,
        redis: RedisLink | None = None,
        *,
        runtime: Runtime = SYSTEM,
        namespace: str = "rl",
        secret: str | Revealable | None = None,
        max_keys: int = 100_000,
    ) -> None:
        if max_keys < 1:
            raise ValueError(f"max_keys must be at least 1, got {max_keys!r}")
        if not namespace or not namespace.isprintable() or set(namespace) & set("{} *?["):
            raise ValueError(f"namespace must be a plain word, got {namespace!r}")
        self._link = redis if redis is not None and redis.configured else None
        self._runtime = runtime
        self._memory = MemoryStore(runtime.clock, max_keys)
        key = b"" if secret is None else reveal(secret).encode()
        self._sealer = redis_store.Sealer(namespace, key if len(key) <= 64 else redis_store.short(key))
        # What Redis has yet to be told, by limit and key; True where it has to forget what it had first.
        self._unmerged: dict[tuple[str, Key], tuple[Limit, Key, bool]] = {}
        self._owed: list[tuple[str, int, int]] = []
        self._merging = asyncio.Lock()
        self._namespace = namespace
        self._mark: bytes | None = None
        if self._link is not None:
            self._link.on_up(self._merge)

    async def check(self, *asks: tuple[Limit, Key], cost: int = 1) -> Decision:
        """Takes `cost` from every limit, or from none of them when one has not that much left.

        Each ask is a limit and whom to count: a user id, an address (:func:`client_ip`), an account
        (:func:`account_key`). A missing key (None) shares one counter with all who have none. ``cost=0``
        looks without taking.

        Raises:
            ValueError: `cost` is negative or more than a limit allows at all, or the same ask appears twice.
            TypeError: a key of another type, or an ask that is no pair.
            DeadlineExceededError: the caller's Deadline passed while Redis was asked.
        """
        _validate(asks, cost)
        link = self._link
        if link is None:
            outlooks, grants = self._memory.take(asks, cost)
            return self._settled(Decision([ask[0] for ask in asks], outlooks, "memory", cost, grants))
        if link.up:
            try:
                if self._unmerged or self._owed or self._mark is None:
                    await self._merge()
                return self._settled(await self._together(link, asks, cost))
            except (RedisError, PoolExhaustedError):
                pass
        return self._settled(self._without_redis(asks, cost))

    async def refund(self, decision: Decision) -> None:
        """Gives back what `decision` took, for work that failed through no fault of the caller.

        Removes exactly those entries; a second refund of the same decision does nothing. While Redis is
        away it is remembered and told later.
        """
        grants = tuple(decision.grants)
        decision.grants.clear()
        for grant in grants:
            self._memory.give_back(grant)
            if grant.entry.stamp > 0:
                self._owed.append((self._sealer.name(grant.limit, grant.key), grant.entry.stamp, grant.cost))
        if self._owed:
            await self._merge_if_up()

    async def reset(self, limit: Limit, key: Key) -> None:
        """Forgets what `key` has used of `limit`, for instance after a successful login."""
        _validate(((limit, key),), 0)
        self._memory.forget(limit, key)
        if self._link is not None:
            self._unmerged[limit.series, key] = (limit, key, True)
            await self._merge_if_up()

    # -- counting --
    async def _together(self, link: RedisLink, asks: Sequence[tuple[Limit, Key]], cost: int) -> Decision:
        names = [self._sealer.name(limit, key) for limit, key in asks]
        limits = [limit for limit, _ in asks]
        fits, outlooks, stamps = await redis_store.take(link, names, limits, cost)
        grants: list[Grant] = []
        if fits and cost:
            now = self._memory.now()
            grants = [
                self._memory.record(limit, key, cost, now, stamp)
                for (limit, key), stamp in zip(asks, stamps, strict=True)
            ]
        return Decision(limits, outlooks, "redis", cost, grants)

    def _without_redis(self, asks: Sequence[tuple[Limit, Key]], cost: int) -> Decision:
        denying = [limit for limit, _ in asks if limit.on_outage == "deny"]
        if denying:
            return Decision(denying, [_CLOSED] * len(denying), "outage", cost, [])
        local = [(limit, key) for limit, key in asks if limit.on_outage == "local"]
        free = [limit for limit, _ in asks if limit.on_outage == "allow"]
        outlooks, grants = self._memory.take(local, cost)
        for limit, key, *_ in grants:
            # Where it is there already it may say "begin afresh", which still holds.
            self._unmerged.setdefault((limit.series, key), (limit, key, False))
        decision = Decision(
            [*(limit for limit, _ in local), *free],
            [*outlooks, *(Outlook(limit.amount, 0, 0, 0) for limit in free)],
            "local" if local else "outage",
            cost,
            grants,
        )
        if decision.allowed and self._runtime.events.listened(RateLimitUnchecked):
            for limit in free:
                self._runtime.events.emit(RateLimitUnchecked(limit=limit.name))
        return decision

    def _settled(self, decision: Decision) -> Decision:
        if not decision.allowed and self._runtime.events.listened(RateLimitDenied):
            for state in decision.states:
                if state.retry_after > 0:
                    event = RateLimitDenied(
                        limit=state.limit.name, retry_after=state.retry_after, source=decision.source
                    )
                    self._runtime.events.emit(event)
        return decision

    # -- telling Redis what happened without it --
    async def _merge_if_up(self) -> None:
        if self._link is not None and self._link.up:
            with suppress(RedisError, PoolExhaustedError):  # what could not be told is kept for later
                await self._merge()

    async def _merge(self) -> None:
        assert self._link is not None
        async with self._merging:
            mark = await redis_store.mark(self._link, self._namespace)
            if self._mark is not None and mark != self._mark:
                for limit, key in self._memory.disown():
                    self._unmerged.setdefault((limit.series, key), (limit, key, False))
                self._owed.clear()
            self._mark = mark
            while self._unmerged:
                name = next(iter(self._unmerged))
                limit, key, afresh = self._unmerged.pop(name)
                entries = self._memory.unmerged(limit, key)
                try:
                    await self._tell(self._link, limit, key, afresh, entries)
                except BaseException:
                    later = self._unmerged.get(name)
                    self._unmerged[name] = (limit, key, afresh or (later is not None and later[2]))
                    raise
            while self._owed:
                owed = self._owed[-1]
                log, stamp, cost = owed
                await self._link.run(lambda client: redis_store.refund(client, log, [(stamp, cost)]))  # noqa: B023
                self._owed.remove(owed)

    async def _tell(
        self, link: RedisLink, limit: Limit, key: Key, afresh: bool, entries: list[Entry]
    ) -> None:
        name = self._sealer.name(limit, key)
        now = self._memory.now()
        sent = [(now - entry.at, entry.count) for entry in entries]
        for entry in entries:
            entry.stamp = _SENDING
        stamps = [0] * len(entries)
        try:
            stamps = await link.run(lambda client: redis_store.merge(client, name, limit, afresh, sent))
        finally:
            for entry, stamp in zip(entries, stamps, strict=True):
                entry.stamp = stamp
        for entry, (_, count) in zip(entries, sent, strict=True):
            if entry.count < count:  # given back while it was on its way
                self._owed.append((name, entry.stamp, count - entry.count))

    def __repr__(self) -> str:
        where = "memory" if self._link is None else self._link.address
        return f"RateLimiter({where!r}, keys={len(self._memory)}, unmerged={len(self._unmerged)})"


def _validate(asks: Sequence[tuple[Limit, Key]], cost: int) -> None:
    if not asks:
        raise ValueError("check needs at least one (limit, key)")
    if cost < 0:
        raise ValueError(f"cost must not be negative, got {cost!r}")
    for ask in asks:
        try:
            limit, key = ask
            amount = limit.amount
        except (TypeError, ValueError, AttributeError):
            raise TypeError(f"each ask is a pair (Limit, key), got {type(ask).__name__}") from None
        if type(key) not in _KEYS:
            raise TypeError(f"a key is a str, int, bytes, UUID or None, got {type(key).__name__}")
        if cost > amount:
            raise ValueError(f"cost {cost} can never fit into limit {limit.name!r} of {amount}")
    if len(asks) > 1 and len({(limit.series, key) for limit, key in asks}) < len(asks):
        raise ValueError("the same limit and key appear twice in one check")
