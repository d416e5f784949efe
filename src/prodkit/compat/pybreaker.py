"""pybreaker's names over prodkit: change ``import pybreaker`` to ``from prodkit.compat import pybreaker``.

``call_async`` and the decorator on ``async def`` work on asyncio; tornado is not needed. ``CircuitRedisStorage`` is
replaced by ``prodkit.redis.SharedBreakers``. See :mod:`prodkit.compat.breaker_facade` for the kept differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final

from prodkit.compat.breaker_facade import BreakerFacade
from prodkit.compat.breaker_parts import Listener, MemoryStorage, State
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import CircuitOpenError

__all__ = [
    "STATE_CLOSED",
    "STATE_HALF_OPEN",
    "STATE_OPEN",
    "CircuitBreaker",
    "CircuitBreakerError",
    "CircuitBreakerListener",
    "CircuitBreakerState",
    "CircuitClosedState",
    "CircuitHalfOpenState",
    "CircuitMemoryStorage",
    "CircuitOpenState",
]

STATE_OPEN: Final = "open"
STATE_CLOSED: Final = "closed"
STATE_HALF_OPEN: Final = "half-open"

CircuitBreakerListener = Listener
CircuitMemoryStorage = MemoryStorage
CircuitBreakerState = State


class CircuitClosedState(CircuitBreakerState):
    """The circuit is closed."""

    name = STATE_CLOSED


class CircuitOpenState(CircuitBreakerState):
    """The circuit refuses calls."""

    name = STATE_OPEN


class CircuitHalfOpenState(CircuitBreakerState):
    """The circuit admits a trial call."""

    name = STATE_HALF_OPEN


class CircuitBreakerError(CircuitOpenError):
    """The circuit is open, or has just opened; it is a :class:`~prodkit.CircuitOpenError` too."""


class CircuitBreaker(BreakerFacade):
    """pybreaker's circuit breaker.

    Args:
        fail_max: failures in a row that open the circuit.
        reset_timeout: seconds for which it stays open.
        success_threshold: successful trial calls that close it.
        exclude: error classes and predicates that are no failures.
        listeners: called on calls and changes of state.
        state_storage: :class:`CircuitMemoryStorage` only.
        name: of the breaker.
        throw_new_error_on_trip: raise CircuitBreakerError instead of the call's own error when the circuit opens.
        runtime: clock and events.
    """

    error: ClassVar[type[Exception]] = CircuitBreakerError
    names: ClassVar[dict[str, Any]] = {
        "closed": STATE_CLOSED,
        "open": STATE_OPEN,
        "half_open": STATE_HALF_OPEN,
    }

    def __init__(
        self,
        fail_max: int = 5,
        reset_timeout: float = 60,
        success_threshold: int = 1,
        exclude: Iterable[Any] | None = None,
        listeners: Sequence[Any] | None = None,
        state_storage: Any = None,
        name: str | None = None,
        throw_new_error_on_trip: bool = True,
        *,
        runtime: Runtime = SYSTEM,
    ) -> None:
        super().__init__(
            fail_max=fail_max,
            open_for=reset_timeout,
            successes=success_threshold,
            exclude=exclude,
            listeners=listeners,
            state_storage=state_storage,
            name=name,
            throw_new_error_on_trip=throw_new_error_on_trip,
            runtime=runtime,
        )

    def _entered(self, state: str, before: State | None, *, notify: bool) -> State:
        if state == "closed":
            return CircuitClosedState(self, prev_state=before, notify=notify)
        kind = CircuitOpenState if state == "open" else CircuitHalfOpenState
        return kind(self, prev_state=before, notify=notify)

    @property
    def reset_timeout(self) -> float:
        """The seconds for which the circuit stays open."""
        return self._guard.rules.open_for

    @reset_timeout.setter
    def reset_timeout(self, timeout: float) -> None:
        self._guard.configure(open_for=timeout)

    @property
    def success_threshold(self) -> int:
        """The successful trial calls that close the circuit."""
        return self._guard.rules.successes

    @success_threshold.setter
    def success_threshold(self, threshold: int) -> None:
        self._guard.configure(successes=threshold)

    def __call__(self, *functions: Callable[..., Any], **flags: Any) -> Any:
        """Decorate a function, async or plain; ``__pybreaker_call_async`` is not needed."""
        flags.pop("__pybreaker_call_async", None)
        return self._decorated(functions[0]) if functions else self._decorated
