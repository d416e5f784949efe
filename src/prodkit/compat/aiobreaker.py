"""aiobreaker's names over prodkit: change ``import aiobreaker`` to ``from prodkit.compat import aiobreaker``.

See :mod:`prodkit.compat.breaker_facade` for the kept differences; shared state is ``prodkit.redis.SharedBreakers``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, ClassVar

from prodkit.compat.breaker_facade import BreakerFacade
from prodkit.compat.breaker_parts import Listener, MemoryStorage, State
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import CircuitOpenError

__all__ = [
    "CircuitBreaker",
    "CircuitBreakerBaseState",
    "CircuitBreakerError",
    "CircuitBreakerListener",
    "CircuitBreakerState",
    "CircuitClosedState",
    "CircuitHalfOpenState",
    "CircuitMemoryStorage",
    "CircuitOpenState",
]

CircuitBreakerListener = Listener
CircuitMemoryStorage = MemoryStorage


class CircuitBreakerBaseState(State):
    """The base of the states."""

    @property
    def state(self) -> CircuitBreakerState:
        """The member of :class:`CircuitBreakerState`."""
        return CircuitBreakerState(type(self))

    @property
    def name(self) -> str:
        """The name of that member."""
        return self.state.name


class CircuitClosedState(CircuitBreakerBaseState):
    """The circuit is closed."""


class CircuitOpenState(CircuitBreakerBaseState):
    """The circuit refuses calls."""


class CircuitHalfOpenState(CircuitBreakerBaseState):
    """The circuit admits a trial call."""


class CircuitBreakerState(Enum):
    """The states of a circuit; the value of each is the class of its objects."""

    CLOSED = CircuitClosedState
    OPEN = CircuitOpenState
    HALF_OPEN = CircuitHalfOpenState


class CircuitBreakerError(CircuitOpenError):
    """The circuit is open, or has just opened; it is a :class:`~prodkit.CircuitOpenError` too."""

    @property
    def time_remaining(self) -> timedelta:
        """The time until a trial call is admitted."""
        return timedelta(seconds=self.retry_after or 0.0)


class CircuitBreaker(BreakerFacade):
    """aiobreaker's circuit breaker.

    Args:
        fail_max: failures in a row that open the circuit.
        timeout_duration: time for which it stays open; one minute by default.
        exclude: error classes and predicates that are no failures.
        listeners: called on calls and changes of state.
        state_storage: :class:`CircuitMemoryStorage` only.
        name: of the breaker.
        runtime: clock and events.
    """

    error: ClassVar[type[Exception]] = CircuitBreakerError
    names: ClassVar[dict[str, Any]] = {
        "closed": CircuitBreakerState.CLOSED,
        "open": CircuitBreakerState.OPEN,
        "half_open": CircuitBreakerState.HALF_OPEN,
    }

    def __init__(
        self,
        fail_max: int = 5,
        timeout_duration: timedelta | None = None,
        exclude: Iterable[Any] | None = None,
        listeners: Iterable[Any] | None = None,
        state_storage: Any = None,
        name: str | None = None,
        *,
        runtime: Runtime = SYSTEM,
    ) -> None:
        super().__init__(
            fail_max=fail_max,
            open_for=60.0 if timeout_duration is None else timeout_duration.total_seconds(),
            successes=1,
            exclude=exclude,
            listeners=listeners,
            state_storage=state_storage,
            name=name,
            throw_new_error_on_trip=True,
            runtime=runtime,
        )

    def _entered(self, state: str, before: State | None, *, notify: bool) -> State:
        return self.names[state].value(self, before, notify)  # type: ignore[no-any-return]

    @property
    def timeout_duration(self) -> timedelta:
        """The time for which the circuit stays open."""
        return timedelta(seconds=self._guard.rules.open_for)

    @timeout_duration.setter
    def timeout_duration(self, timeout: timedelta) -> None:
        self._guard.configure(open_for=timeout.total_seconds())

    @property
    def time_until_open(self) -> timedelta | None:
        """The time until a trial call is admitted, or None."""
        left = self._guard.retry_after
        return timedelta(seconds=left) if left else None

    @property
    def opens_at(self) -> datetime | None:
        """The instant at which a trial call is admitted, or None."""
        left = self.time_until_open
        return None if left is None else datetime.now(UTC) + left

    async def sleep_until_open(self) -> None:
        """Sleep until a trial call is admitted."""
        await asyncio.sleep((self.time_until_open or timedelta()).total_seconds())

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `func` if the circuit admits it; a decorated function is not guarded twice."""
        if getattr(func, "_ignore_on_call", False):
            return func(*args, **kwargs)
        return super().call(func, *args, **kwargs)

    async def call_async(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Await `func` if the circuit admits it; a decorated function is not guarded twice."""
        if getattr(func, "_ignore_on_call", False):
            return await func(*args, **kwargs)
        return await super().call_async(func, *args, **kwargs)

    def __call__(self, *functions: Callable[..., Any], ignore_on_call: bool = True) -> Any:
        """Decorate a function, async or plain.

        Args:
            functions: a single function, for the decorator without parentheses.
            ignore_on_call: ``breaker.call(decorated)`` guards once.
        """

        def decorate(func: Callable[..., Any]) -> Any:
            guarded: Any = self._decorated(func)
            guarded._ignore_on_call = ignore_on_call
            return guarded

        if len(functions) > 1 or (functions and not callable(functions[0])):
            raise TypeError("Decorator does not accept positional arguments.")
        return decorate(functions[0]) if functions else decorate
