"""Open connections as the queue needs them, and as the server has room for them."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Final

from prodkit.postgres.connect import ServerFullError
from prodkit.postgres.stock import Stock

if TYPE_CHECKING:
    from prodkit.postgres.asyncpg_internals import GuardedConnection

__all__ = ["Growing"]

_AT_ONCE: Final = 2
_FULL_PAUSE: Final = 1.0
_SHORTEST_PAUSE: Final = 0.05


class Growing(Stock):
    """A stock that grows; growth.py decides when that pays."""

    connecting: int
    refusal: Exception | None

    def consider(self) -> None:
        """Open connections where the floor or the queue asks for them; look again later where it does not yet."""
        now = self.runtime.clock.monotonic()
        while self.growing and self.connecting < _AT_ONCE and now >= self._grow_after:
            total = self.size + self.connecting
            if total >= self.limit() or not (total < self.min_size or self._pays(now)):
                break
            self.connecting += 1
            grower = self._spawn(self._grow())
            self._growers.add(grower)
            grower.add_done_callback(self._growers.discard)
        if self.queue and self.growing and self._nudge is None:
            wait = max(self.growth.patience, self._grow_after - now)
            self._nudge = asyncio.get_running_loop().call_later(wait, self._nudged, context=Context())

    def _pays(self, now: float) -> bool:
        if not self.queue or not self.lending:
            return False
        first = next(iter(self.queue))
        return self.growth.pays(
            waiting=len(self.queue) - self.connecting,
            busy=len(self.lent) + len(self.pending),
            now=now,
            waited=now - first.since,
            coming=self.connecting,
        )

    def _nudged(self) -> None:
        self._nudge = None
        if self.queue and self.idle and self.lending:
            connection = self._usable(self.runtime.clock.monotonic())
            if connection is not None:
                self.offer(connection)
        self.consider()

    async def _grow(self) -> None:
        clock = self.runtime.clock
        try:
            for pause in self.connector.pauses():
                if not self.growing or not (self.queue or self.size < self.min_size):
                    return
                generation, began = self.generation, clock.monotonic()
                try:
                    connection = await self.connector.open(others=self.size)
                except ServerFullError as error:
                    self.connector.report(error, pause)
                    if self.size:
                        self._ceiling = self.size
                        self._ceiling_until = clock.monotonic() + _FULL_PAUSE * (
                            1 + self.runtime.rng.random()
                        )
                        self._grow_after = self._ceiling_until
                        self._changed.set()
                        return
                except ConnectionError as error:
                    self.connector.report(error, pause)
                    self._changed.set()
                else:
                    self.refusal = None
                    self.growth.connected(clock.monotonic() - began)
                    self._joined(connection, generation)
                    return
                await self._pause(pause)
        except Exception as error:  # noqa: BLE001 - the server said no, or the caller's init= failed
            self._refused(error)
        finally:
            self.connecting -= 1
            if self.growing:
                self.consider()

    async def _pause(self, seconds: float) -> None:
        """Wait before the next attempt; a caller that comes during it waits for the first 50 ms at most."""
        self._asked.clear()
        await self.runtime.clock.sleep(min(seconds, _SHORTEST_PAUSE))
        try:
            async with asyncio.timeout(max(0.0, seconds - _SHORTEST_PAUSE)):
                await self._asked.wait()
        except TimeoutError:
            pass

    def _joined(self, connection: GuardedConnection, generation: int) -> None:
        connection.generation = generation
        connection.home = self
        connection.on_closed = self.closed
        if not self.growing:
            self.retire(connection, "closing")
        elif generation != self.generation:
            self.retire(connection, "expired")
        else:
            self.offer(connection)
        self._changed.set()

    def _refused(self, error: Exception) -> None:
        """A connect that no repetition can help: callers who have no other connection to wait for get the reason."""
        self.refusal = error
        self._grow_after = self.runtime.clock.monotonic() + _FULL_PAUSE
        if not self.size:
            self.fail_queue(error)
        self._changed.set()
