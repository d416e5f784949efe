"""After an outage: replay what was invalidated without Redis, without keeping Redis from its users.

::

    back ─▶ everything, keys, tags: a few scripts of 500 names each     before other callers
         ─▶ patterns: one guard for all processes, one script           before other callers
         ─▶ one SCAN for all patterns, a page at a time                 in the background
         ─▶ the guard is removed

A guard holds the patterns and the barrier of that moment. A reader of any process that finds a guard compares: a value
from before the barrier that matches is gone. So the sweep only frees memory, and may take as long as it needs.

Redis may also forget: a primary that fails loses the writes its replica had not received. The invalidations of the
last seconds before an outage are kept and replayed with the log.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from prodkit.cache.outage_log import OutageLog, Pending
from prodkit.cache.patterns import Patterns
from prodkit.cache.redis_tier import RedisTier
from prodkit.core.clock import Clock
from prodkit.core.deadline import Deadline
from prodkit.errors import PoolExhaustedError, RedisError
from prodkit.redis.link import RedisLink

__all__ = ["CatchUp"]

_PART: Final = 10_000
_REMEMBERED: Final = 20.0  # seconds: longer than a cluster or Sentinel takes to notice a dead primary
_MOST_REMEMBERED: Final = 2_000
_PAUSE: Final = 1.0


class CatchUp:
    """Replays one outage log.

    Args:
        link: the link to Redis.
        redis: the commands of the namespace.
        log: the outage log.
        clock: for the age of invalidations.
    """

    def __init__(self, link: RedisLink, redis: RedisTier, log: OutageLog, clock: Clock) -> None:
        self._link = link
        self._redis = redis
        self._log = log
        self._clock = clock
        self._lock = asyncio.Lock()
        self._losses = link.losses
        self._recent: deque[tuple[float, dict[str, Any]]] = deque(maxlen=_MOST_REMEMBERED)
        self._sweeps: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._sweep_everything = False
        self.on_done: Callable[[int, float], None] = lambda *_: None

    @property
    def replaying(self) -> bool:
        """True while another task replays."""
        return self._lock.locked()

    @property
    def sweeping(self) -> int:
        """Patterns whose keys are still being removed."""
        return sum(len(patterns) for patterns, _ in self._sweeps.values())

    def done(self, **what: Any) -> None:
        """Remember an invalidation that Redis has confirmed, for the case that it forgets it.

        Args:
            what: as for :meth:`OutageLog.add`.
        """
        if self._link.replicated:
            self._recent.append((self._clock.monotonic(), what))

    async def recover(self) -> None:
        """Replay before other callers read."""
        since = self._clock.monotonic() - _REMEMBERED
        while self._recent:
            at, what = self._recent.popleft()
            if at >= since:
                self._log.add(**what)
        await self.replay()
        if self._sweeps or self._sweep_everything:
            self._begin()

    async def replay(self) -> None:
        """Send the log to Redis. A part that fails is kept, and the error is raised."""
        async with self._lock:
            # Each part is taken out before it is sent: entries that are added in between are newer, and must stay.
            while len(self._log):
                part = self._log.take(_PART)
                try:
                    await self._send(part)
                except BaseException:
                    self._log.add(
                        keys=part.keys, tags=part.tags, patterns=part.patterns, everything=part.everything
                    )
                    raise

    async def _send(self, part: Pending) -> None:
        if part.everything:
            await self._redis.clear()
            self._sweep_everything = True
        if part.keys:
            await self._redis.delete(part.keys, secrets.token_hex(8))
        if part.tags:
            await self._redis.move_tags(part.tags)
        if part.patterns:
            token = secrets.token_hex(8)
            self._sweeps[token] = (part.patterns, await self._redis.guard(token, part.patterns))
        if part.everything or part.patterns:
            self._begin()

    # --- the sweep --------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._task is None or self._task.done():
            with Deadline.detached():
                self._task = asyncio.ensure_future(self._sweep())

    async def _sweep(self) -> None:
        started, swept = self._clock.monotonic(), 0
        while self._sweeps or self._sweep_everything:
            try:
                if not self._link.up:
                    await self._clock.sleep(_PAUSE)
                    continue
                swept += await self._sweep_once()
            except (RedisError, PoolExhaustedError):
                await self._clock.sleep(_PAUSE)
        self.on_done(swept, self._clock.monotonic() - started)

    async def _sweep_once(self) -> int:
        if self._sweep_everything:
            self._sweep_everything = False
            try:
                # Values of the generation before are gone already; those of now are from after the barrier.
                barriers = await self._redis.barriers()
                await self._redis.sweep("*", None, barriers=barriers)
            except BaseException:
                self._sweep_everything = True
                raise
        tokens = tuple(self._sweeps)
        if not tokens:
            return 0
        patterns = [pattern for token in tokens for pattern in self._sweeps[token][0]]
        barriers = self._sweeps[tokens[-1]][1]
        await self._redis.sweep("*", Patterns(patterns), barriers=barriers)
        for token in tokens:
            await self._redis.release_guard(token)
            del self._sweeps[token]
        return len(patterns)

    async def aclose(self) -> None:
        """End the sweep; guards that are left expire after ten minutes."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
