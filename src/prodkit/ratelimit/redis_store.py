"""Logs in Redis: the checks of one tick are one script call."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from prodkit.core.deadline import Deadline
from prodkit.errors import DeadlineExceededError
from prodkit.ratelimit.algorithms import Outlook
from prodkit.ratelimit.limit import Limit
from prodkit.ratelimit.redis_scripts import MARK, TAKE
from prodkit.redis.link import RedisLink

__all__ = ["Checks", "Taken", "mark", "merge_arguments"]

_YEAR: Final = 366 * 86_400_000
_BATCH: Final = 100  # checks of one script call: about two milliseconds of Redis' time


class Taken(NamedTuple):
    """The reply of a check: whether all limits had room, their outlooks, and the stamps of the entries recorded."""

    fits: bool
    outlooks: list[Outlook]
    stamps: list[int]


class Checks:
    """The checks of one limiter: the first of a tick is sent at once, those that follow in it are one script call.

    Args:
        link: the link to Redis.
        mark: the name of the mark.
    """

    __slots__ = ("_busy", "_link", "_loop", "_mark", "_waiting")

    def __init__(self, link: RedisLink, mark: str) -> None:
        self._link = link
        self._mark = mark
        self._loop: asyncio.AbstractEventLoop | None = None
        self._busy = False
        self._waiting: list[_Waiting] = []

    async def take(self, names: list[str], limits: Sequence[Limit], cost: int, mark: bytes) -> Taken | None:
        """Check all limits in one round trip; None when Redis has another mark than `mark`, and nothing was counted.

        Args:
            names: of the logs.
            limits: of the logs.
            cost: the quota asked for.
            mark: the mark known to this process.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._busy, self._waiting = loop, False, []
        args: list[int | bytes] = [cost, len(names)]
        for limit in limits:
            args += (limit.amount, limit.window_us, limit.quantum_us, limit.count_denied + 2 * limit.shadow)
        at = 0
        if not self._busy:
            self._busy = True
            loop.call_soon(self._idle)
            reply = await TAKE(self._link, keys=[*names, self._mark], args=[mark, *args])
        else:
            future: asyncio.Future[tuple[list[int], int]] = loop.create_future()
            if not self._waiting:
                loop.call_soon(self._flush)
            self._waiting.append((names, args, mark, future))
            reply, at = await (future if Deadline.instant() == math.inf else _until_deadline(future))
        if reply[0] < 0:
            return None
        if len(names) == 1:
            _, remaining, wait, more, full, stamp = reply[at : at + 6]
            return Taken(reply[at] == 1, [Outlook(remaining, wait, more, full)], [stamp])
        rows = range(at + 1, at + 1 + 5 * len(names), 5)
        return Taken(
            reply[at] == 1, [Outlook(*reply[row : row + 4]) for row in rows], [reply[row + 4] for row in rows]
        )

    def _idle(self) -> None:
        self._busy = False

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        with Deadline.detached():
            for start in range(0, len(waiting), _BATCH):
                task = asyncio.ensure_future(self._send(waiting[start : start + _BATCH]))
                task.add_done_callback(lambda each: each.cancelled() or each.exception())

    async def _send(self, waiting: list[_Waiting]) -> None:
        """Send checks that know the same mark together; one that was cancelled by then is not sent."""
        sent = [each for each in waiting if not each[3].done()]
        if not sent:
            return
        mark = sent[0][2]
        later = [each for each in sent if each[2] != mark]
        sent = [each for each in sent if each[2] == mark]
        keys = [name for names, _, _, _ in sent for name in names]
        flat: list[int | bytes] = [mark]
        for _, args, _, _ in sent:
            flat += args
        try:
            reply: list[int] = await TAKE(self._link, keys=[*keys, self._mark], args=flat)
        except BaseException as error:
            for _, _, _, future in sent:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # a caller that was cancelled does not look at it
            raise
        at = 0
        for names, _, _, future in sent:
            if not future.done():
                future.set_result((reply, at))
            at += 1 + 5 * len(names)
        if later:
            await self._send(later)


_Waiting: TypeAlias = tuple[list[str], list[int | bytes], bytes, "asyncio.Future[tuple[list[int], int]]"]


async def _until_deadline(future: asyncio.Future[tuple[list[int], int]]) -> tuple[list[int], int]:
    limit = Deadline.sooner(None)
    await asyncio.wait((future,), timeout=limit)
    if not future.done():
        future.cancel()
        raise DeadlineExceededError("the deadline passed while waiting for Redis", timeout=limit)
    return future.result()


async def mark(link: RedisLink, name: str) -> bytes:
    """Return the mark that says whether Redis still has its memory, made if need be.

    Args:
        link: the link to Redis.
        name: of the mark.
    """
    found: bytes = await MARK(link, keys=[name], args=[secrets.token_hex(8), _YEAR])
    return found


def merge_arguments(limit: Limit, reset: bool, entries: Sequence[tuple[int, int, int]]) -> list[Any]:
    """Return ARGV of :data:`~prodkit.ratelimit.redis_scripts.MERGE`.

    Args:
        limit: the limit of the log.
        reset: begin from nothing.
        entries: stamp, age and count of each.
    """
    return [limit.window_us, int(reset), *(number for entry in entries for number in entry)]
