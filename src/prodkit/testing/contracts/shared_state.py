"""What a SharedState does for the breakers of several processes."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from prodkit.policies.shared_state import SharedState

__all__ = ["SharedStateContract"]


class _Heard:
    """What one process was told."""

    def __init__(self, state: SharedState, breaker: str = "b") -> None:
        self.opened: list[float] = []
        self.closed = 0
        state.listen(breaker, self.opened.append, self._close)

    def _close(self) -> None:
        self.closed += 1


class SharedStateContract:
    """News reach the others, one of them gets to probe, and a probe that never ends is replaced.

    :meth:`two_processes` gives two instances that share a store, as two processes would have. The tests are
    coroutines and run on whatever loop your pytest gives them; :meth:`passes` lets time pass there.
    """

    lease: float = 0.4

    def two_processes(self) -> AbstractAsyncContextManager[tuple[SharedState, SharedState]]:
        """Two instances on one empty store, both started."""
        raise NotImplementedError

    async def passes(self, seconds: float) -> None:
        """Lets `seconds` pass; news told before have then arrived."""
        await asyncio.sleep(seconds)

    async def test_an_opening_is_told_to_the_others_only(self) -> None:
        async with self.two_processes() as (here, there):
            own, other, foreign = _Heard(here), _Heard(there), _Heard(there, "another breaker")
            here.opened("b", 30.0)
            await self.passes(0.3)
            assert len(other.opened) == 1
            assert 25.0 < other.opened[0] <= 30.0
            assert own.opened == foreign.opened == []
            assert other.closed == 0

    async def test_a_recovery_is_told_to_the_others_only(self) -> None:
        async with self.two_processes() as (here, there):
            own, other = _Heard(here), _Heard(there)
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

    async def test_who_holds_the_probe_may_ask_again(self) -> None:
        async with self.two_processes() as (here, _):
            assert await here.claim("b", 30.0) is None
            assert await here.claim("b", 30.0) is None

    async def test_nobody_probes_while_it_is_held_open(self) -> None:
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
