"""Places and their line against a naive model: arrivals, departures, expiries and cancels, also in one moment."""

import asyncio
import math
from typing import Any

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from prodkit.policies.queueing import Slots
from prodkit.testing.loop import VirtualTimeLoop

PATIENCE = 0.1


class Places(RuleBasedStateMachine):
    """The model keeps lists of names; the real thing keeps tasks of the same names."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.go: dict[int, asyncio.Event] = {}
        self.got: dict[int, str] = {}
        self.expected: dict[int, str] = {}
        self.holding: list[int] = []
        self.line: list[tuple[int, float, float]] = []  # name, since, latest
        self.now = 0.0
        self.next = 0

    order: Any

    @initialize(limit=st.integers(1, 3), room=st.integers(0, 4), crowd=st.integers(0, 8))
    def begin(self, limit: int, room: int, crowd: int) -> None:
        self.limit, self.room = limit, room
        self.slots = Slots(limit, max_queue=room, order=self.order)
        for _ in range(crowd):
            self.arrive(math.inf)

    # -- the real thing ---------------------------------------------------------------------------------------

    async def caller(self, name: int, latest: float) -> None:
        try:
            if not self.slots.enter():
                refusal = await self.slots.queue.wait(latest)
                if refusal is not None:
                    self.got[name] = refusal
                    return
            self.got[name] = "place"
            try:
                await self.go[name].wait()
            finally:
                self.slots.leave()
        except asyncio.CancelledError:
            self.got.setdefault(name, "cancelled")

    def act(self, *steps: Any, seconds: float = 0.0) -> None:
        """Does all of `steps` without a pause, then lets everything settle."""

        async def moment() -> None:
            for step in steps:
                step()
            for _ in range(8):
                await asyncio.sleep(0)
            if seconds:
                await asyncio.sleep(seconds)
                for _ in range(8):
                    await asyncio.sleep(0)

        self.runner.run(moment())

    # -- the model --------------------------------------------------------------------------------------------

    def newest_first(self) -> bool:
        if self.order == "adaptive":
            return bool(self.line) and self.now - self.line[0][1] >= PATIENCE
        return bool(self.order == "lifo")

    def pick(self) -> int | None:
        if not self.line or len(self.holding) >= self.limit:
            return None
        name, _, _ = self.line.pop(-1 if self.newest_first() else 0)
        self.holding.append(name)
        self.expected[name] = "place"
        return name

    def fill(self) -> None:
        while self.pick() is not None:
            pass

    # -- what happens -------------------------------------------------------------------------------------------

    @rule(patience=st.sampled_from([math.inf, 1.0, 0.15, 0.05, 0.0]))
    def come(self, patience: float) -> None:
        self.arrive(patience)

    def arrive(self, patience: float) -> None:
        name, self.next = self.next, self.next + 1
        latest = self.now + patience
        self.go[name] = asyncio.Event()
        if len(self.holding) < self.limit and not self.line:
            self.holding.append(name)
            self.expected[name] = "place"
        elif latest <= self.now:
            self.expected[name] = "late"
        elif len(self.line) < self.room:
            self.line.append((name, self.now, latest))
        elif self.room and self.newest_first():
            self.expected[self.line.pop(0)[0]] = "displaced"
            self.line.append((name, self.now, latest))
        else:
            self.expected[name] = "full"
        self.act(lambda: self.tasks.update({name: asyncio.ensure_future(self.caller(name, latest))}))

    @precondition(lambda self: self.holding)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.holding))
        self.holding.remove(name)
        self.fill()
        self.act(self.go[name].set)

    @precondition(lambda self: self.holding)
    @rule(data=st.data())
    def cancel_a_holder(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.holding))
        self.holding.remove(name)
        self.fill()
        self.act(self.tasks[name].cancel)

    @precondition(lambda self: self.line)
    @rule(data=st.data())
    def cancel_a_waiter(self, data: st.DataObject) -> None:
        name, _, _ = each = data.draw(st.sampled_from(self.line))
        self.line.remove(each)
        self.expected[name] = "cancelled"
        self.act(self.tasks[name].cancel)

    @precondition(lambda self: self.line and self.holding)
    @rule(data=st.data())
    def a_place_comes_free_for_one_who_is_cancelled_now(self, data: st.DataObject) -> None:
        """The turn comes first, the cancel reaches the caller before it can run: the next one gets the place."""
        cancelled, _, _ = each = data.draw(st.sampled_from(self.line))
        self.limit += 1
        chosen = self.pick()
        if chosen == cancelled:
            self.holding.remove(cancelled)
            self.fill()
        else:
            self.line.remove(each)
            self.fill()
        self.expected[cancelled] = "cancelled"
        self.act(self.grow, self.tasks[cancelled].cancel)

    @precondition(lambda self: self.line and self.holding)
    @rule(data=st.data())
    def one_is_cancelled_and_a_place_comes_free(self, data: st.DataObject) -> None:
        cancelled, _, _ = each = data.draw(st.sampled_from(self.line))
        self.line.remove(each)
        self.expected[cancelled] = "cancelled"
        self.limit += 1
        self.fill()
        self.act(self.tasks[cancelled].cancel, self.grow)

    @precondition(lambda self: self.line)
    @rule(data=st.data())
    def one_is_cancelled_as_another_arrives(self, data: st.DataObject) -> None:
        """A cancelled waiter that has not yet left the queue takes no slot in it."""
        cancelled, _, _ = each = data.draw(st.sampled_from(self.line))
        self.line.remove(each)
        self.expected[cancelled] = "cancelled"
        name, self.next = self.next, self.next + 1
        self.go[name] = asyncio.Event()
        self.line.append((name, self.now, math.inf))

        def come() -> None:
            self.tasks[cancelled].cancel()
            self.tasks[name] = asyncio.ensure_future(self.caller(name, math.inf))

        # The newcomer runs first: its task was made ready in the same iteration, so give it the lead.
        def lead() -> None:
            self.tasks[name] = asyncio.ensure_future(self.caller(name, math.inf))
            self.tasks[cancelled].cancel()

        self.act(data.draw(st.sampled_from([come, lead])))

    @rule(change=st.sampled_from([-1, 1]))
    def the_limit_moves(self, change: int) -> None:
        self.limit = max(1, self.limit + change)
        self.fill()

        def move() -> None:
            self.slots.limit = self.limit
            self.slots.admit()

        self.act(move)

    @rule(seconds=st.sampled_from([0.03, 0.1, 0.5]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for each in list(self.line):
            if each[2] <= self.now + 1e-9:
                self.line.remove(each)
                self.expected[each[0]] = "late"
        self.act(seconds=seconds)

    def grow(self) -> None:
        self.slots.limit += 1
        self.slots.admit()

    # -- what holds ---------------------------------------------------------------------------------------------

    @invariant()
    def the_model_is_right(self) -> None:
        if not hasattr(self, "slots"):
            return
        assert self.got == self.expected
        assert self.slots.inflight == len(self.holding)
        assert len(self.slots.queue) == len(self.line)
        assert not self.line or len(self.holding) >= self.limit, "nobody waits while a place is free"

    def teardown(self) -> None:
        if hasattr(self, "slots"):
            self.act(*(task.cancel for task in self.tasks.values()))
            assert (self.slots.inflight, len(self.slots.queue)) == (0, 0)
            loop: Any = self.runner.get_loop()
            assert not [each for each in loop._scheduled if not each.cancelled()]
        self.runner.close()


class Fifo(Places):
    order = "fifo"


class Lifo(Places):
    order = "lifo"


class Adaptive(Places):
    order = "adaptive"


TestFifo, TestLifo, TestAdaptive = Fifo.TestCase, Lifo.TestCase, Adaptive.TestCase
TestFifo.settings = TestLifo.settings = TestAdaptive.settings = settings(
    max_examples=50, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
