"""RateLimiter: one check, one round trip, and an answer while Redis is away."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, TypeAlias, cast
from uuid import UUID

from prodkit.core.check import CheckResult
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.secrets import Revealable, reveal
from prodkit.core.validate import Arguments
from prodkit.errors import RedisError
from prodkit.ratelimit.algorithms import Outlook
from prodkit.ratelimit.decision import Decision, Grant
from prodkit.ratelimit.events import RateLimitDenied, RateLimitUnchecked
from prodkit.ratelimit.limit import Key, Limit
from prodkit.ratelimit.memory_store import Ask, MemoryStore
from prodkit.ratelimit.merging import Merging
from prodkit.ratelimit.redis_store import Checks
from prodkit.ratelimit.sealer import Sealer, shorten
from prodkit.redis.link import RedisLink

__all__ = ["RateLimiter"]

_ONE: Final = 1  # the default itself: True and 1.0 are other objects and go the long way
_KEYS: Final = frozenset((str, int, bytes, UUID, type(None)))
_CLOSED: Final = Outlook(0, 1_000_000, 1_000_000, 1_000_000)
_Denial: TypeAlias = tuple[
    int, int, int, list[Outlook]
]  # refusals in a row, since, until, the last one's outlooks
_MAX_DENIALS: Final = 10_000
_REPEAT_FROM: Final = 5  # refusals in a row after which a caller is taken to retry without pause
_SWEEP: Final = 2_000  # ended logs dropped at once: about a millisecond


class RateLimiter:
    """Counts callers against limits, in Redis for all processes or in memory for this one.

    ::

        limiter = RateLimiter(redis, runtime=rt)
        decision = await limiter.check((LOGIN, account), (LOGIN_IP, ip))
        if not decision.allowed:
            ...  # decision.retry_after, ratelimit.headers(decision), ratelimit.message(decision)

    No window of the given length ever admits more than the limit, whatever the clocks of the clients say: Redis reads
    its own. Refused calls are not counted (unless the limit says so), so waiting ``retry_after`` is enough.

    While Redis is away each limit follows its ``on_outage``. Under ``local`` this process continues from everything it
    has admitted itself, before and during the outage. When Redis is back it is used again at once; a caller counted
    during the outage is merged into it before it decides about that caller, the others in the background. An outage
    gives no caller a new quota.

    Args:
        redis: the link, or None for limits of this process alone.
        runtime: clock and events; the default is the system's.
        namespace: the prefix of its keys in Redis, and their hash tag on a cluster.
        secret: keys the digests under which callers are kept in Redis. All processes need the same one.
        max_keys: logs kept in memory at the same time; callers beyond it share one log per limit.
        denial_cache: seconds for which the fifth refusal in a row of the same check is repeated without asking
            Redis, never longer than its wait; 0 asks every time. :meth:`reset` and :meth:`refund` in another process
            are noticed that much later.
    """

    def __init__(
        self,
        redis: RedisLink | None = None,
        *,
        runtime: Runtime = SYSTEM,
        namespace: str = "rl",
        secret: str | Revealable | None = None,
        max_keys: int = 100_000,
        denial_cache: float = 1.0,
    ) -> None:
        check = Arguments("RateLimiter")
        check.instance("redis", redis, RedisLink, "a RedisLink", optional=True)
        check.integer("max_keys", max_keys, minimum=1)
        check.seconds("denial_cache", denial_cache, zero=True)
        if not str(namespace).isprintable() or not namespace or set(str(namespace)) & set("{} *?["):
            check.value("namespace must be a plain word", namespace)
        check.done()
        self.name: str = "ratelimit"
        self._link = redis if redis is not None and redis.configured else None
        self._runtime = runtime
        self._memory = MemoryStore(runtime.clock, max_keys)
        self._take_one = self._memory.take_one
        self._listened = runtime.events.listened
        key = b"" if secret is None else reveal(secret).encode()
        self._sealer = Sealer(namespace, key if len(key) <= 64 else shorten(key))
        self._denial_us = int(denial_cache * 1_000_000)
        self._denials: OrderedDict[tuple[object, ...], _Denial] = OrderedDict()
        self._sweeping = False
        self._merging: Merging | None = None
        self._checks: Checks | None = None
        if self._link is not None:
            self._checks = Checks(self._link, self._sealer.mark)
            self._merging = Merging(self._link, self._memory, self._sealer, runtime)
            self._link.on_up(self._merging.recovered)

    async def check(self, *asks: tuple[Limit, Key], cost: int = 1) -> Decision:
        """Take `cost` from every limit, or from none of them when one has not that much left.

        Args:
            asks: each a limit and the caller to count: a user id, an address (:func:`client_ip`), an account
                (:func:`account_key`). A missing key (None) shares one counter with all that have none.
            cost: the quota to take; 0 looks without taking.

        Raises:
            ValueError: `cost` is negative or more than a limit allows at all, or the same ask appears twice.
            TypeError: a key of another type, an ask that is no pair, or a cost that is no int.
            DeadlineExceededError: the caller's Deadline passed while Redis was asked.
        """
        if cost is _ONE and self._link is None and len(asks) == 1:  # the short way: one limit in memory
            ask = asks[0]
            if ask.__class__ is tuple and len(ask) == 2:
                limit, key = ask
                if (
                    limit.__class__ is Limit
                    and limit.plain
                    and (key.__class__ is str or key.__class__ in _KEYS)
                ):
                    decision = self._take_one(limit, key)
                    if decision.allowed or not self._listened(RateLimitDenied):
                        return decision
                    return self._report(decision)
        _validate(asks, cost)
        if self._merging is None or self._checks is None:
            outlooks, grants = self._memory.take(asks, cost)
            return self._report(Decision([ask[0] for ask in asks], outlooks, "memory", cost, tuple(grants)))
        if self._link is not None and self._link.up:
            try:
                return self._report(await self._with_redis(self._checks, self._merging, asks, cost))
            except RedisError:
                pass
        return self._report(self._without_redis(asks, cost))

    async def refund(self, decision: Decision) -> None:
        """Give back the quota that `decision` took, for work that failed through no fault of the caller.

        Removes exactly those entries; a second refund of the same decision does nothing. While Redis is away it is
        remembered and sent later.

        Args:
            decision: an answer of :meth:`check`.
        """
        grants, decision.grants = decision.grants, ()
        self._denials.clear()
        for grant in grants:
            self._memory.give_back(grant)
            if self._merging is not None:
                self._merging.refund(grant)
        if grants:
            await self._send([(grant[0], grant[1]) for grant in grants])

    async def reset(self, limit: Limit, key: Key) -> None:
        """Forget the quota that `key` has used of `limit`, for instance after a successful login.

        Args:
            limit: the limit.
            key: the caller.
        """
        _validate(((limit, key),), 0)
        self._denials.clear()
        self._memory.forget(limit, key)
        if self._merging is not None:
            self._merging.reset(limit, key)
            await self._send([(limit, key)])

    async def health(self) -> CheckResult:
        """Report degraded while Redis is configured and away, and how many counters are still to be merged."""
        pending = 0 if self._merging is None else len(self._merging)
        details: dict[str, object] = {"keys": len(self._memory), "to_merge": pending}
        if self._link is None:
            return CheckResult("up", "counting in the memory of this process only", details)
        if not self._link.up:
            return CheckResult("degraded", "Redis is away: counting in this process", details)
        return CheckResult("up", f"catching up: {pending} counters to merge" if pending else "", details)

    # --- counting ---------------------------------------------------------------------------------------------------

    async def _with_redis(self, checks: Checks, merging: Merging, asks: Sequence[Ask], cost: int) -> Decision:
        limits = [limit for limit, _ in asks]
        name: tuple[object, ...] = ()
        if self._denial_us and cost:
            name = (cost, *((limit.series, limit.amount, key) for limit, key in asks))
            if name in self._denials and (found := self._repeat(name)) is not None:
                return Decision(limits, found, "redis", cost, ())
        names = [self._sealer.name(limit, key) for limit, key in asks]
        mark = merging.ready or await merging.prepare(asks)
        taken = await checks.take(names, limits, cost, mark)
        if taken is None:  # Redis has lost its memory: merge these callers, then ask again
            await merging.find_mark()
            taken = await checks.take(names, limits, cost, await merging.prepare(asks))
            if taken is None:
                raise RedisError("Redis lost its counters twice in a moment")
        now = self._memory.now()
        grants: list[Grant] = []
        for (limit, key), stamp in zip(asks, taken.stamps, strict=True):
            if stamp:
                grants.append(self._memory.record(limit, key, cost, now, stamp))
        if taken.fits:
            self._denials.pop(name, None)
        elif name:
            plain = all(limit.plain for limit in limits)
            wait = max(outlook.wait for outlook in taken.outlooks)
            if plain and wait:
                times = self._denials.pop(name)[0] if name in self._denials else 0
                self._denials[name] = (times + 1, now, now + min(wait, self._denial_us), taken.outlooks)
                while len(self._denials) > _MAX_DENIALS:
                    self._denials.popitem(last=False)
        return Decision(limits, taken.outlooks, "redis", cost, tuple(grants))

    def _repeat(self, name: tuple[object, ...]) -> list[Outlook] | None:
        """Return the outlooks of a recent refusal, moved on by the time that has passed since."""
        times, since, until, outlooks = self._denials[name]
        now = self._memory.now()
        if now >= until or times < _REPEAT_FROM:
            return None
        passed = now - since
        return [
            Outlook(remaining, *(max(0, each - passed) for each in times)) for remaining, *times in outlooks
        ]

    def _without_redis(self, asks: Sequence[Ask], cost: int) -> Decision:
        denying = [limit for limit, _ in asks if limit.on_outage == "deny"]
        if denying:
            return Decision(denying, [_CLOSED] * len(denying), "outage", cost, ())
        local = [(limit, key) for limit, key in asks if limit.on_outage == "local"]
        free = [limit for limit, _ in asks if limit.on_outage == "allow"]
        outlooks, grants = self._memory.take(local, cost)
        decision = Decision(
            [*(limit for limit, _ in local), *free],
            [*outlooks, *(Outlook(limit.amount, 0, 0, 0) for limit in free)],
            "local" if local else "outage",
            cost,
            tuple(grants),
        )
        self._sweep_later(local)
        if self._merging is not None and self._link is not None and self._link.up:
            self._merging.add(local)
        if decision.allowed and self._runtime.events.listened(RateLimitUnchecked):
            for limit in free:
                self._runtime.events.emit(RateLimitUnchecked(limit=limit.name))
        return decision

    def _report(self, decision: Decision) -> Decision:
        if self._runtime.events.listened(RateLimitDenied):
            for state in decision.states:
                if state.retry_after > 0:
                    event = RateLimitDenied(
                        limit=state.limit.name,
                        retry_after=state.retry_after,
                        source=decision.source,
                        shadow=state.limit.shadow,
                    )
                    self._runtime.events.emit(event)
        return decision

    # --- after the fact ---------------------------------------------------------------------------------------------

    async def _send(self, asks: Sequence[Ask]) -> None:
        merging = self._merging
        if merging is not None and self._link is not None and self._link.up:
            with suppress(RedisError):  # kept for later
                await merging.prepare(asks)

    def _sweep_later(self, asks: Sequence[Ask]) -> None:
        """Drop the logs of an outage soon after their windows, also when no further caller comes."""
        if not self._sweeping and asks:
            self._sweeping = True
            wait = min(max(limit.window for limit, _ in asks), 60.0) + 0.01
            asyncio.get_running_loop().call_later(wait, self._sweep, wait)

    def _sweep(self, wait: float) -> None:
        full = self._memory.drop_ended(_SWEEP) >= _SWEEP
        self._sweeping = len(self._memory) > 0
        if self._sweeping:
            asyncio.get_running_loop().call_later(0.01 if full else wait, self._sweep, wait)

    def __repr__(self) -> str:
        where = "memory" if self._link is None else self._link.address
        pending = 0 if self._merging is None else len(self._merging)
        return f"RateLimiter({where!r}, keys={len(self._memory)}, to_merge={pending})"


def _validate(asks: Sequence[Ask], cost: int) -> None:
    if not asks:
        raise ValueError("check needs at least one (limit, key)")
    if type(cost) is not int:
        raise TypeError(f"cost must be an int, got {cost!r}")
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
    if len(asks) > 1 and len({(limit.series, cast("object", key)) for limit, key in asks}) < len(asks):
        raise ValueError("the same limit and key appear twice in one check")
