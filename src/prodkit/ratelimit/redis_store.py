"""Logs in Redis: the checks of one tick are one script call."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from prodkit.ratelimit.algorithms import Outlook
from prodkit.ratelimit.limit import Limit
from prodkit.ratelimit.redis_scripts import MARK, TAKE
from prodkit.redis.link import RedisLink
from prodkit.redis.tick import Tick

__all__ = ["Checks", "Taken", "mark", "merge_arguments"]

_YEAR: Final = 366 * 86_400_000
_BATCH: Final = 100  # checks of one script call: about two milliseconds of Redis' time


class Taken(NamedTuple):
    """The reply of a check: whether all limits had room, their outlooks, and the stamps of the entries recorded."""

    fits: bool
    outlooks: list[Outlook]
    stamps: list[int]


class Checks:
    """The checks of one limiter: those of a tick are one script call (:mod:`prodkit.redis.tick`).

    Args:
        link: the link to Redis.
        mark: the name of the mark.
    """

    __slots__ = ("_link", "_mark", "_tick")

    def __init__(self, link: RedisLink, mark: str) -> None:
        self._link = link
        self._mark = mark
        self._tick: Tick[_Check, tuple[list[int], int]] = Tick(self._send, _BATCH)

    async def take(self, names: list[str], limits: Sequence[Limit], cost: int, mark: bytes) -> Taken | None:
        """Check all limits in one round trip; None when Redis has another mark than `mark`, and nothing was counted.

        Args:
            names: of the logs.
            limits: of the logs.
            cost: the quota asked for.
            mark: the mark known to this process.
        """
        args: list[int | bytes] = [cost, len(names)]
        for limit in limits:
            args += (limit.amount, limit.window_us, limit.quantum_us, limit.count_denied + 2 * limit.shadow)
        at = 0
        future = self._tick.join((names, args, mark))
        if future is None:
            reply = await TAKE(self._link, keys=[*names, self._mark], args=[mark, *args])
        else:
            try:
                reply, at = await future
            finally:
                del future  # it holds its error, whose traceback holds this frame
        if reply[0] < 0:
            return None
        if len(names) == 1:
            _, remaining, wait, more, full, stamp = reply[at : at + 6]
            return Taken(reply[at] == 1, [Outlook(remaining, wait, more, full)], [stamp])
        rows = range(at + 1, at + 1 + 5 * len(names), 5)
        return Taken(
            reply[at] == 1, [Outlook(*reply[row : row + 4]) for row in rows], [reply[row + 4] for row in rows]
        )

    async def _send(self, checks: list[_Check]) -> list[tuple[list[int], int]]:
        """Send the checks that know the same mark together; return the reply of each and where it begins."""
        found: list[tuple[list[int], int]] = [([-1], 0)] * len(checks)
        for mark in dict.fromkeys(mark for _, _, mark in checks):
            keys: list[str] = []
            flat: list[int | bytes] = [mark]
            starts: list[tuple[int, int]] = []
            at = 0
            for number, (names, args, known) in enumerate(checks):
                if known == mark:
                    keys += names
                    flat += args
                    starts.append((number, at))
                    at += 1 + 5 * len(names)
            reply: list[int] = await TAKE(self._link, keys=[*keys, self._mark], args=flat)
            for number, start in starts:
                found[number] = reply, start
        return found


_Check: TypeAlias = tuple[list[str], list[int | bytes], bytes]


async def mark(link: RedisLink, name: str) -> bytes:
    """Return the mark that says whether Redis still has its memory, made if need be.

    Args:
        link: the link to Redis.
        name: of the mark.
    """
    found: bytes = await MARK(link, keys=[name], args=[secrets.token_hex(8), _YEAR])
    return found


def merge_arguments(
    limit: Limit, reset: bool, lost: bool, entries: Sequence[tuple[int, int, int]]
) -> list[Any]:
    """Return ARGV of :data:`~prodkit.ratelimit.redis_scripts.MERGE`.

    Args:
        limit: the limit of the log.
        reset: begin from nothing.
        lost: Redis has lost its memory, and what it has now is of other processes.
        entries: stamp, age and count of each.
    """
    return [
        limit.window_us,
        1 if lost else limit.quantum_us,
        int(reset),
        *(number for entry in entries for number in entry),
    ]
