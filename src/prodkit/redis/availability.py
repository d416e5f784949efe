"""Up or down: one verdict for all users of a link, and the probe that looks for Redis while it is down.

::

        a call fails                    a probe is answered, callbacks have run
    up ───────────────▶ down ──▶ probe after 50 ms, 100 ms … 1 s ──▶ up
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from prodkit.core.deadline import Deadline
from prodkit.core.runtime import Runtime
from prodkit.errors import PoolExhaustedError, RedisError
from prodkit.redis.events import RedisLost, RedisRecovered

__all__ = ["Availability"]

T = TypeVar("T")

_FIRST_PROBE: Final = 0.05
_LAST_PROBE: Final = 1.0  # so that Redis is used again within 2 s of its return
_CALLBACK_LIMIT: Final = 30.0

_recovering: ContextVar[Availability | None] = ContextVar("prodkit_redis_recovering", default=None)


class Availability:
    """The state of one link.

    Args:
        up: the state to begin with.
        runtime: clock, randomness and events.
        address: for events and messages.
        probe: returns None when Redis answers, else the problem.
        disconnect: closes the connections of the time before.
    """

    def __init__(
        self,
        up: bool,
        runtime: Runtime,
        address: str,
        probe: Callable[[], Awaitable[str | None]],
        disconnect: Callable[[], Awaitable[Any]],
    ) -> None:
        self.up: bool = up
        self.reason: str = ""
        self.down_since: float = 0.0
        self.last_ok: float = float("-inf")
        self.losses: int = 0
        self.on_up: list[Callable[[], Awaitable[object] | object]] = []
        self.on_down: list[Callable[[], object]] = []
        self._runtime = runtime
        self._clock = runtime.clock
        self._address = address
        self._probe = probe
        self._disconnect = disconnect
        self._next_probe = 0.0
        self._verifying = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def usable(self) -> bool:
        """True while up, and for the callbacks that run before the link is up again."""
        return self.up or _recovering.get() is self

    @property
    def retry_after(self) -> float | None:
        """Seconds until the next probe; None while up."""
        return None if self.up else max(0.0, self._next_probe - self._clock.monotonic())

    def go_down(self, reason: str) -> None:
        """Enter the state down, once, and begin to probe.

        Args:
            reason: shown in errors, events and health.
        """
        if not self.up:
            return
        self.up = False
        self.losses += 1
        self.reason = reason
        self.down_since = self._clock.monotonic()
        self._next_probe = self.down_since + _FIRST_PROBE
        self._background(self._look_for_redis())
        for callback in tuple(self.on_down):
            with suppress(Exception):
                callback()
        if self._runtime.events.listened(RedisLost):
            self._runtime.events.emit(RedisLost(address=self._address, reason=reason))

    def verify(self) -> None:
        """Probe once in the background: a caller ran out of time, which proves nothing by itself."""
        if self.up and not self._verifying:
            self._verifying = True
            self._background(self._look_once())

    async def aclose(self) -> None:
        """Cancel what runs in the background."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _background(self, work: Awaitable[None]) -> None:
        with Deadline.detached():  # what outlives the request does not inherit its deadline
            task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_once(self) -> None:
        try:
            problem = await self._probe()
            if problem is not None:
                self.go_down(problem)
        finally:
            self._verifying = False

    async def _look_for_redis(self) -> None:
        _recovering.set(self)  # in the context of this task only
        delay = _FIRST_PROBE
        while True:
            await self._disconnect()
            wait = delay * (1 - 0.2 * self._runtime.rng.random())
            self._next_probe = self._clock.monotonic() + wait
            await self._clock.sleep(wait)
            problem = await self._probe() or await self._run_callbacks()
            if problem is None:
                break
            self.reason = problem
            delay = min(_LAST_PROBE, delay * 2)
        _recovering.set(None)
        self.up = True
        if self._runtime.events.listened(RedisRecovered):
            down_for = self._clock.monotonic() - self.down_since
            self._runtime.events.emit(RedisRecovered(address=self._address, down_for=down_for))

    async def _run_callbacks(self) -> str | None:
        try:
            async with asyncio.timeout(_CALLBACK_LIMIT):
                for callback in tuple(self.on_up):
                    try:
                        outcome = callback()
                        if inspect.isawaitable(outcome):
                            await outcome
                    except (RedisError, PoolExhaustedError) as error:
                        return f"lost again during recovery: {error}"
                    except Exception as error:  # noqa: BLE001 - a mistake in it must not keep Redis away
                        asyncio.get_running_loop().call_exception_handler(
                            {"message": "a callback of RedisLink.on_up failed", "exception": error}
                        )
        except TimeoutError:
            return f"the callbacks of on_up took more than {_CALLBACK_LIMIT:g} s"
        return None
