"""Contract of a SharedState: the state that the breakers of several processes share."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from prodkit.policies.shared_state import SharedState

__all__ = ["SharedStateContract"]


class _Received:
    """The messages that one process received."""

    def __init__(self, state: SharedState, breaker: str = "b") -> None:
        self.opened: list[float] = []
        self.closed = 0
        state.listen(breaker, self.opened.append, self._close)

    def _close(self) -> None:
        self.closed += 1


class SharedStateContract:
    """Changes reach the other processes, one of them probes, and a probe that never ends is replaced.

    :meth:`two_processes` makes two instances that share a store, as two processes have. The tests are coroutines and
    run on the loop that your pytest gives them; :meth:`passes` lets time pass there.
    """

    lease: float = 0.4
    """Seconds for which a probe is granted."""

    def two_processes(self) -> AbstractAsyncContextManager[tuple[SharedState, SharedState]]:
        """Return a context with two instances on one empty store, both started."""
        raise NotImplementedError

    async def passes(self, seconds: float) -> None:
        """Let `seconds` pass; messages sent before have then arrived."""
        await asyncio.sleep(seconds)

    async def test_an_opening_reaches_the_others_only(self) -> None:
        async with self.two_processes() as (here, there):
            own, other, foreign = _Received(here), _Received(there), _Received(there, "another breaker")
            here.opened("b", 30.0)
            await self.passes(0.3)
            assert len(other.opened) == 1
            assert 25.0 < other.opened[0] <= 30.0
            assert own.opened == foreign.opened == []
            assert other.closed == 0

    async def test_a_recovery_reaches_the_others_only(self) -> None:
        async with self.two_processes() as (here, there):
            own, other = _Received(here), _Received(there)
            here.opened("b", 30.0)
            await self.passes(0.3)
            there.closed("b")
            await self.passes(0.3)
            assert (own.closed, other.closed) == (1, 0)
            assert await here.claim("b", self.lease) is None

    async def test_one_of_them_probes(self) -> None:
        async with self.two_processes() as (here, there):
            assert await here.claim("b", 30.0) is None
            wait = await there.claim("b", 30.0)
            assert wait is not None
            assert 0.0 < wait <= 30.0
            assert await there.claim("another breaker", 30.0) is None

    async def test_a_probe_that_never_ends_is_replaced(self) -> None:
        async with self.two_processes() as (here, there):
            assert await here.claim("b", self.lease) is None
            assert await there.claim("b", self.lease) is not None
            await self.passes(self.lease * 1.5)
            assert await there.claim("b", self.lease) is None
            assert await here.claim("b", self.lease) is not None

    async def test_the_holder_of_the_probe_may_ask_again(self) -> None:
        async with self.two_processes() as (here, _):
            assert await here.claim("b", 30.0) is None
            assert await here.claim("b", 30.0) is None

    async def test_no_process_probes_while_it_is_held_open(self) -> None:
        async with self.two_processes() as (here, there):
            here.opened("b", 1.0)
            await self.passes(0.3)
            wait = await there.claim("b", self.lease)
            assert wait is not None
            assert wait <= 1.0
            await self.passes(1.0)
            assert await there.claim("b", self.lease) is None

    async def test_a_new_opening_ends_the_probe(self) -> None:
        async with self.two_processes() as (here, there):
            assert await here.claim("b", 30.0) is None
            here.opened("b", 0.5)
            await self.passes(0.8)
            assert await there.claim("b", self.lease) is None
