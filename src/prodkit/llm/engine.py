"""The state of one client, shared by all its calls: options, model states, slots, hedges."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol, Self

from prodkit.core.check import CheckResult, Status
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import InvalidError
from prodkit.llm.model_state import ModelState
from prodkit.llm.options import Options
from prodkit.llm.provider import Provider
from prodkit.llm.rate_limits import HedgeShare
from prodkit.llm.results import Attempt
from prodkit.policies.queueing import Slots
from prodkit.policies.shared_state import SharedState

__all__ = ["Accounts", "Engine"]

_ELSEWHERE: Final = 1.0  # seconds to wait for a model while another provider is left: one back-off


class Accounts(Protocol):
    """The side of a ledger that a call uses; ``llm.Ledger`` is one."""

    async def reserve(self, caller: str, amount: float) -> Any:
        """Reserve `amount` dollars for `caller` before a request is sent, or raise BudgetExceededError."""
        ...

    def settle(self, reservation: Any, caller: str, attempt: Attempt) -> None:
        """Replace a reservation by the cost of the request that has ended."""
        ...


class Exchange(Protocol):
    """A request in flight: its timer."""

    def reschedule(self, when: float, /) -> None:
        """Move the end of the wait to the instant `when`."""
        ...


class Lifetime:
    """The end of a client: `closed` once it has come, and the waits and exchanges that it ends."""

    __slots__ = ("closed", "exchanges", "sleeping")

    def __init__(self) -> None:
        self.closed: bool = False
        self.sleeping: set[asyncio.Future[None]] = set()
        self.exchanges: set[Exchange] = set()


class Engine:
    """The resources that the calls of one client share."""

    def __init__(
        self,
        options: Options,
        *,
        shared: SharedState | None = None,
        runtime: Runtime = SYSTEM,
        key: str = "",
        ledger: Accounts | None = None,
    ) -> None:
        self.options = options
        self.runtime = runtime
        self.now: Callable[[], float] = runtime.clock.monotonic
        self.key = key
        self.ledger = ledger
        self.states: tuple[ModelState, ...] = tuple(
            ModelState(
                model, failures=options.failures, open_for=options.open_for, shared=shared, runtime=runtime
            )
            for model in options.models
        )
        self.elsewhere: Mapping[int, int] = {}  # the next model of another provider
        self.max_waits: tuple[float, ...] = (options.max_model_wait,) * len(self.states)
        self.slots: Slots = Slots(options.concurrency, max_queue=options.max_queue, order="fifo")
        self.hedges: HedgeShare = HedgeShare(options.hedge_share)
        self._places = {model.label: index for index, model in reversed(list(enumerate(options.models)))}
        self._places |= {
            model.name: self._places.get(model.name, i)
            for i, model in reversed(list(enumerate(options.models)))
        }
        self.lifetime: Lifetime = Lifetime()  # shared by the copies of with_options

    def with_options(self, **changes: Any) -> Self:
        """Return an engine with other options for its calls and the same state."""
        other = copy.copy(self)
        other.options = replace(self.options, **changes)
        other.connect()
        return other

    def connect(self, provider: Provider | None = None) -> None:
        """Give each model its provider: its own one, or `provider`.

        A model that a later member of the chain serves from another provider is not waited for long: the other one
        may answer at once, and no failure is shared with it.
        """
        for state in self.states:
            state.provider = state.provider or provider
        providers = [state.provider for state in self.states]
        count = len(providers)
        others = [
            [later for later in range(index + 1, count) if providers[later] is not own]
            for index, own in enumerate(providers)
        ]
        self.elsewhere = {index: later[0] for index, later in enumerate(others) if later}
        longest = self.options.max_model_wait
        self.max_waits = tuple(
            min(longest, _ELSEWHERE) if index in self.elsewhere else longest
            for index in range(len(providers))
        )

    def start(self, model: str) -> int:
        """Return the position of `model` in the chain."""
        try:
            return self._places[model]
        except (KeyError, TypeError):
            known = ", ".join(state.model.label for state in self.states)
            raise InvalidError(f"unknown model {model!r}: this client was made for {known}") from None

    # ---------------------------------------------------------------- lifetime
    def close(self) -> None:
        """End the waits and exchanges of calls in flight; their errors say "closed"."""
        self.lifetime.closed = True
        for sleeping in self.lifetime.sleeping:
            sleeping.cancel()
        for exchange in tuple(self.lifetime.exchanges):
            exchange.reschedule(0.0)  # its timeout expires now

    async def sleep(self, seconds: float) -> None:
        """Sleep for `seconds`, or until the client is closed."""
        lifetime = self.lifetime
        sleeping = asyncio.ensure_future(self.runtime.clock.sleep(seconds))
        lifetime.sleeping.add(sleeping)
        try:
            await sleeping
        except asyncio.CancelledError:
            if not lifetime.closed or _cancelling():
                raise  # the caller was cancelled, not the sleep
        finally:
            sleeping.cancel()
            lifetime.sleeping.discard(sleeping)

    # ------------------------------------------------------------------ health
    async def check(self) -> CheckResult:
        """Return ``degraded`` when a model's breaker is open, ``down`` when all are."""
        states = {state.model.label: state.breaker.state for state in self.states}
        refused = [name for name, state in states.items() if state in ("open", "isolated")]
        now = self.now()
        waits = {
            state.model.label: (await state.breaker.check()).details["retry_after"]
            for state in self.states
            if state.breaker.state == "open"
        }
        details: dict[str, object] = {
            "models": states,
            "retry_after": waits,
            "cooling": {
                state.model.label: round(state.cool_until - now, 1)
                for state in self.states
                if state.cool_until > now
            },
            "in_flight": self.slots.inflight,
            "waiting": self.slots.waiting,
        }
        if (budget := self.options.budget) is not None:
            details["budget_left"] = round(budget.left, 4)
        if not refused:
            return CheckResult("up", details=details)
        status: Status = "down" if len(refused) == len(states) else "degraded"
        return CheckResult(status, f"circuit open after failures: {', '.join(refused)}", details)


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
