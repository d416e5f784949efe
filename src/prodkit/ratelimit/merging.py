"""Merging: Redis learns what this process has counted without it, in the background and in batches.

::

    outage ─▶ admissions are recorded in memory, without a stamp
    back   ─▶ guard every caller with such an entry; Redis is used again at once
                a guarded caller asks ─▶ its log is merged first, one round trip more
                the background merges the others, 100 logs a round trip
    empty  ─▶ another mark: every live entry is unknown to Redis, guard them all
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from prodkit.core.deadline import Deadline
from prodkit.core.runtime import Runtime
from prodkit.errors import PoolExhaustedError, RedisError
from prodkit.ratelimit import redis_store
from prodkit.ratelimit.algorithms import AT, COUNT, STAMP, Entry
from prodkit.ratelimit.decision import Grant
from prodkit.ratelimit.events import RateLimitCaughtUp
from prodkit.ratelimit.limit import Key, Limit
from prodkit.ratelimit.memory_store import Ask, MemoryStore
from prodkit.ratelimit.redis_scripts import MERGE, REFUND
from prodkit.ratelimit.sealer import Sealer
from prodkit.redis.link import RedisLink

__all__ = ["Merging"]

_BATCH: Final = 100
_AT_ONCE: Final = 10  # batches merged before Redis is used again: about 50 ms
_SENDING: Final = -1  # the stamp of an entry on its way to Redis: nothing is added to it any more
_MAX_RESETS: Final = 100_000
_PURGE: Final = 1_000
_RETRY: Final = 1.0


class _Pending(NamedTuple):
    limit: Limit
    key: Key
    reset: bool  # Redis has to forget its log first
    every: bool  # entries with a stamp may be unknown too
    lost: bool = False  # all of them are: Redis has begun from nothing


class Merging:
    """The difference between the memory of this process and Redis, and the task that removes it.

    Args:
        link: the link to Redis.
        memory: the logs of this process.
        sealer: names of logs.
        runtime: clock and events.
    """

    def __init__(self, link: RedisLink, memory: MemoryStore, sealer: Sealer, runtime: Runtime) -> None:
        self._link = link
        self._memory = memory
        self._sealer = sealer
        self._runtime = runtime
        self._pending: dict[tuple[str, Key], _Pending] = {}
        self._refunds: list[tuple[str, int, int, int]] = []  # name, slot, stamp, cost
        self._locks: dict[tuple[str, Key], asyncio.Future[None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._server: bytes | None = None
        self._connections = -1
        self._purge_at = _PURGE
        self.mark: bytes | None = None

    def __len__(self) -> int:
        return len(self._pending)

    # --- recording --------------------------------------------------------------------------------------------------

    def reset(self, limit: Limit, key: Key) -> None:
        """Remember that Redis has to forget the log of `key`.

        Args:
            limit: the limit.
            key: the caller.
        """
        if len(self._pending) < _MAX_RESETS:
            self._pending[limit.series, key] = _Pending(limit, key, True, False)

    def refund(self, grant: Grant) -> None:
        """Remember that Redis has to give an admission back, where it knows of it.

        Args:
            grant: the admission, already given back in memory.
        """
        limit, key, _, entry, cost = grant
        if entry[STAMP] > 0:
            self._refunds.append((self._sealer.name(limit, key), limit.quantum_us, entry[STAMP], cost))

    def guard(self, *, every: bool, lost: bool = False) -> None:
        """Mark the callers whose log has to be merged before Redis may decide about them.

        Args:
            every: all live logs, because Redis may have lost what it knew.
            lost: it has, for certain.
        """
        for limit, key in self._memory.live(every=every):
            before = self._pending.get((limit.series, key))
            reset, lost_before = (before.reset, before.lost) if before is not None else (False, False)
            self._pending[limit.series, key] = _Pending(limit, key, reset, every, lost or lost_before)

    def add(self, asks: Sequence[Ask]) -> None:
        """Guard callers that were counted here while the link stayed up, because Redis refused the command.

        Args:
            asks: the limits and callers.
        """
        for limit, key in asks:
            before = self._pending.get((limit.series, key))
            if before is None:
                self._pending[limit.series, key] = _Pending(limit, key, False, False)
        if (
            len(self._pending) > self._purge_at
        ):  # for as long as Redis refuses: drop those whose window is over
            for name, each in tuple(self._pending.items()):
                if not each.reset and not self._memory.entries(each.limit, each.key, every=each.every):
                    del self._pending[name]
            self._purge_at = 2 * len(self._pending) + _PURGE
        self.work()

    @property
    def ready(self) -> bytes | None:
        """The mark of Redis if nothing is to be merged before a check, as is the rule; else None."""
        if self._pending or self._refunds or self._locks or self._link.connections != self._connections:
            return None
        return self.mark

    # --- merging ----------------------------------------------------------------------------------------------------

    async def prepare(self, asks: Sequence[Ask]) -> bytes:
        """Merge the logs of `asks` where that is due; return the mark of Redis.

        Args:
            asks: the limits and callers of a check.
        """
        if self.mark is None:
            await self.find_mark()
        if self._link.connections != self._connections:
            await self._look_at_server()
        if self._pending:
            due = [
                name
                for limit, key in asks
                if (name := (limit.series, key)) in self._pending or name in self._locks
            ]
            if due:
                await self._merge(due)
        if self._refunds:
            await self._send_refunds()
        assert self.mark is not None
        return self.mark

    async def find_mark(self) -> None:
        """Read the mark; where it is another one, guard every caller."""
        found = await redis_store.mark(self._link, self._sealer.mark)
        before, self.mark = self.mark, found
        if before is not None and before != found:
            self._refunds.clear()
            self.guard(every=True, lost=True)
            self.work()

    async def _look_at_server(self) -> None:
        """After connecting: another server, or the same one started again, may have lost the last writes."""
        self._connections = self._link.connections
        reply: Any = await self._link.execute_many((("INFO", "server"),), key=self._sealer.mark)
        text: bytes = reply[0] if isinstance(reply[0], bytes) else b""
        server = next((line for line in text.splitlines() if line.startswith(b"run_id:")), None)
        before, self._server = self._server, server
        self._connections = self._link.connections
        if before is not None and server != before:
            self.guard(every=True)
            self.work()

    async def recovered(self) -> None:
        """Merge what Redis does not know: the first thousand callers now, the others in the background.

        Called by the link when Redis answers again, before other callers use it.
        """
        if self._link.replicated:
            self.guard(every=True)
        else:
            self.guard(every=False)
        for _ in range(_AT_ONCE):
            if not self._pending:
                break
            await self._merge(list(islice(self._pending, _BATCH)))
        self.work()

    def work(self) -> None:
        """Begin to merge in the background, unless that runs."""
        if (self._pending or self._refunds) and (self._task is None or self._task.done()):
            with Deadline.detached():
                self._task = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        clock = self._runtime.clock
        started, merged = clock.monotonic(), 0
        await asyncio.sleep(0)
        while self._pending or self._refunds:
            if not self._link.up:
                return  # `recovered` begins again
            try:
                names = list(islice(self._pending, _BATCH))
                await self._merge(names)
                merged += len(names)
                if not self._pending:
                    await self._send_refunds()
            except (RedisError, PoolExhaustedError):  # up, and refusing: out of memory, say
                await clock.sleep(_RETRY)
            await asyncio.sleep(0)  # requests come first
        if merged and self._runtime.events.listened(RateLimitCaughtUp):
            seconds = clock.monotonic() - started
            self._runtime.events.emit(RateLimitCaughtUp(callers=merged, seconds=seconds))

    async def _merge(self, names: Sequence[tuple[str, Key]]) -> None:
        """Merge the logs of `names`; those that another task is merging are awaited."""
        for name in names:
            while (running := self._locks.get(name)) is not None:
                await asyncio.shield(running)
        batch = [(name, self._pending.pop(name)) for name in names if name in self._pending]
        if not batch:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for name, _ in batch:
            self._locks[name] = done
        try:
            await self._send([pending for _, pending in batch])
        except BaseException:
            for name, pending in batch:  # kept; what was recorded since is newer and stays
                later = self._pending.get(name)
                self._pending[name] = pending._replace(
                    reset=pending.reset or (later is not None and later.reset), every=True
                )
            raise
        finally:
            for name, _ in batch:
                del self._locks[name]
            done.set_result(None)

    async def _send(self, batch: Sequence[_Pending]) -> None:
        now = self._memory.now()
        logs: list[tuple[str, int, list[Entry], list[tuple[int, int, int]]]] = []
        commands: list[tuple[Any, ...]] = []
        for limit, key, reset, every, lost in batch:
            entries = self._memory.entries(limit, key, every=every)
            if not entries and not reset:
                continue  # its window is over
            sent = [(max(0, entry[STAMP]), now - entry[AT], entry[COUNT]) for entry in entries]
            name = self._sealer.name(limit, key)
            arguments = redis_store.merge_arguments(limit, reset, lost, sent)
            commands.append(("EVALSHA", MERGE.digest, 1, name, *arguments))
            logs.append((name, limit.quantum_us, entries, sent))
        if not commands:
            return
        for _, _, entries, _ in logs:
            for entry in entries:
                entry[STAMP] = entry[STAMP] or _SENDING
        try:
            replies = await self._run(commands)
        except BaseException:
            for _, _, entries, _ in logs:
                for entry in entries:
                    entry[STAMP] = max(0, entry[STAMP])
            raise
        for (name, slot, entries, sent), stamps in zip(logs, replies, strict=True):
            for entry, stamp, (_, _, count) in zip(entries, stamps, sent, strict=True):
                entry[STAMP] = stamp
                if entry[COUNT] < count:  # given back while it was on its way
                    self._refunds.append((name, slot, stamp, count - entry[COUNT]))

    async def _run(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """Run scripts in one round trip; load the script where Redis does not know it."""
        key = self._sealer.mark
        replies = await self._link.execute_many(commands, key=key)
        if isinstance(replies[0], Exception) and type(replies[0]).__name__ == "NoScriptError":
            await self._link.execute("SCRIPT", "LOAD", MERGE.source, key=key)
            replies = await self._link.execute_many(commands, key=key)
        for reply in replies:
            if isinstance(reply, Exception):
                raise RedisError(f"Redis refused to merge counters: {type(reply).__name__}") from reply
        return replies

    async def _send_refunds(self) -> None:
        while self._refunds:
            name, slot, stamp, cost = self._refunds.pop()
            try:
                await REFUND(self._link, keys=[name], args=[slot, stamp, cost])
            except BaseException:
                self._refunds.append((name, slot, stamp, cost))
                raise
