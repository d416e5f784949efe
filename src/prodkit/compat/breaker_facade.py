"""A circuit breaker with the manners of pybreaker and aiobreaker over :class:`prodkit.CircuitBreaker`.

The differences that are kept on purpose, because each of them is a known trap of those libraries: an excluded error
does not close a half-open circuit, a cancelled call counts nowhere, one probe goes at a time, an outcome counts only in
the era that admitted its call, time is monotonic, and no lock is held during a call.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import GeneratorType
from typing import Any, ClassVar, TypeVar

from prodkit.compat.breaker_parts import MemoryStorage, State
from prodkit.core.runtime import Runtime
from prodkit.errors import CircuitOpenError
from prodkit.policies.breaker import CircuitBreaker as Guard
from prodkit.policies.permit import Permit

__all__ = ["BreakerFacade"]

F = TypeVar("F", bound=Callable[..., Any])

_OPEN = "Timeout not elapsed yet, circuit breaker still open"
_TRIPPED = "Failures threshold reached, circuit breaker opened"
_TRIAL = "Trial call failed, circuit breaker opened"


class BreakerFacade:
    """The common part of both libraries' breakers.

    Args:
        fail_max: failures in a row that open the circuit.
        open_for: seconds for which it stays open.
        successes: successful trial calls that close it.
        exclude: error classes and predicates that are no failures.
        listeners: called on calls and changes of state.
        state_storage: only memory; share state between processes with ``redis.SharedBreakers`` instead.
        name: of the breaker.
        throw_new_error_on_trip: raise the library's error instead of the call's own one when the circuit opens.
        runtime: clock and events.
    """

    error: ClassVar[type[Exception]]
    names: ClassVar[dict[str, Any]]
    """The library's names of the states "closed", "open" and "half_open"."""

    def __init__(
        self,
        *,
        fail_max: int,
        open_for: float,
        successes: int,
        exclude: Iterable[Any] | None,
        listeners: Sequence[Any] | Iterable[Any] | None,
        state_storage: Any,
        name: str | None,
        throw_new_error_on_trip: bool,
        runtime: Runtime,
    ) -> None:
        if state_storage is not None and not isinstance(state_storage, MemoryStorage):
            raise TypeError(
                f"{type(state_storage).__name__} is not supported: share state between processes with "
                "prodkit.CircuitBreaker(shared=prodkit.redis.SharedBreakers(link))"
            )
        self._excluded: list[Any] = list(exclude or ())
        self._listeners: list[Any] = list(listeners or ())
        self._name = name
        self._throw = throw_new_error_on_trip
        self._successes = 0
        self._lock = threading.RLock()  # for counts and listeners, never held while a call runs
        self._state_storage = MemoryStorage(self.names["closed"]) if state_storage is None else state_storage
        self._guard = Guard(
            name or type(self).__name__,
            failures=fail_max,
            failure_rate=None,
            open_for=open_for,
            successes=successes,
            on=self.is_system_error,
            classify=None,
            runtime=runtime,
        )
        self._state = "closed" if state_storage is None else self._ours(state_storage.state)
        if self._state != "closed":
            self._guard.trip(0 if self._state == "half_open" else None)
        self._noticed: State = self._entered(self._state, None, notify=False)

    @property
    def fail_counter(self) -> int:
        """The failures in a row."""
        return self._state_storage.counter

    @property
    def success_counter(self) -> int:
        """The successful trial calls in a row."""
        return self._successes

    @property
    def fail_max(self) -> int:
        """The failures in a row that open the circuit."""
        return self._guard.rules.failures or 0

    @fail_max.setter
    def fail_max(self, number: int) -> None:
        self._guard.configure(failures=number)

    @property
    def state(self) -> State:
        """The state, with a ``name``."""
        return self._noticed

    @state.setter
    def state(self, name: Any) -> None:
        ours = self._ours(name)
        {"open": self.open, "half_open": self.half_open, "closed": self.close}[ours]()

    def _ours(self, name: Any) -> str:
        found = next((ours for ours, theirs in self.names.items() if theirs == name), None)
        if found is None:
            raise ValueError(
                f"Unknown state {name!r}, valid states: {', '.join(map(str, self.names.values()))}"
            )
        return found

    @property
    def current_state(self) -> Any:
        """The library's name of the state."""
        return self.names[self._state]

    @property
    def name(self) -> str | None:
        """The name of the breaker."""
        return self._name

    @name.setter
    def name(self, name: str | None) -> None:
        self._name = name

    @property
    def excluded_exceptions(self) -> tuple[Any, ...]:
        """The error classes and predicates that are no failures."""
        return tuple(self._excluded)

    def add_excluded_exception(self, exception: Any) -> None:
        """Add an error class or a predicate."""
        self._excluded.append(exception)

    def add_excluded_exceptions(self, *exceptions: Any) -> None:
        """Add several."""
        self._excluded.extend(exceptions)

    def remove_excluded_exception(self, exception: Any) -> None:
        """Remove one."""
        self._excluded.remove(exception)

    @property
    def listeners(self) -> tuple[Any, ...]:
        """The listeners."""
        return tuple(self._listeners)

    def add_listener(self, listener: Any) -> None:
        """Add a listener."""
        self._listeners.append(listener)

    def add_listeners(self, *listeners: Any) -> None:
        """Add several."""
        self._listeners.extend(listeners)

    def remove_listener(self, listener: Any) -> None:
        """Remove one."""
        self._listeners.remove(listener)

    def is_system_error(self, exception: BaseException) -> bool:
        """Return True if `exception` is a failure of the dependency."""
        for each in self._excluded:
            if isinstance(each, type):
                if isinstance(exception, each):
                    return False
            elif each(exception):
                return False
        return True

    def open(self) -> bool:
        """Open the circuit by hand."""
        self._guard.reset()
        self._guard.trip()
        self._moved("open")
        return self._throw

    def half_open(self) -> None:
        """Admit a trial call."""
        self._guard.reset()
        self._guard.trip(0)
        self._moved("half_open")

    def close(self) -> None:
        """Close the circuit by hand."""
        self._guard.reset()
        self._moved("closed")

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `func` if the circuit admits it."""
        permit = self._before(func, args, kwargs)
        try:
            result = func(*args, **kwargs)
        except BaseException as error:
            self._failed(permit, error)
            raise
        if isinstance(result, GeneratorType):
            return self._iterate(permit, result)
        self._succeeded(permit)
        return result

    async def call_async(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Await ``func(*args, **kwargs)`` if the circuit admits it."""
        permit = self._before(func, args, kwargs)
        try:
            result = await func(*args, **kwargs)
        except BaseException as error:
            self._failed(permit, error)
            raise
        self._succeeded(permit)
        return result

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Guard a ``with`` block."""
        permit = self._before(self.calling, (), {})
        try:
            yield
        except BaseException as error:
            self._failed(permit, error)
            raise
        self._succeeded(permit)

    def _decorated(self, func: F) -> F:
        if inspect.iscoroutinefunction(func):

            @functools.wraps(func)
            async def wrapped_async(*args: Any, **kwargs: Any) -> Any:
                return await self.call_async(func, *args, **kwargs)

            return wrapped_async  # type: ignore[return-value]

        @functools.wraps(func)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return self.call(func, *args, **kwargs)

        return wrapped  # type: ignore[return-value]

    def _iterate(self, permit: Permit, items: GeneratorType[Any, Any, Any]) -> Generator[Any, Any, Any]:
        try:
            result = yield from items
        except GeneratorExit:
            permit.cancel()
            raise
        except BaseException as error:
            self._failed(permit, error, reraise=False)
            raise
        self._succeeded(permit)
        return result

    def _before(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Permit:
        with self._lock:
            if self._state == "open" and self._guard.state == "half_open":
                self._moved("half_open")
            try:
                permit = self._guard.acquire()
            except CircuitOpenError as refused:
                raise self._error(_OPEN, refused.retry_after) from None
            for listener in self._listeners:
                listener.before_call(self, func, *args, **kwargs)
            return permit

    def _succeeded(self, permit: Permit) -> None:
        with self._lock:
            self._state_storage.reset_counter()
            self._successes += self._state == "half_open"
            permit.succeed()
            self._follow()
            for listener in self._listeners:
                listener.success(self)

    def _failed(self, permit: Permit, error: BaseException, *, reraise: bool = True) -> None:
        counted = isinstance(error, Exception) and self.is_system_error(error)
        with self._lock:
            before = self._state
            if not counted and isinstance(error, Exception) and before == "closed":
                self._state_storage.reset_counter()
                permit.succeed()  # as both libraries have it; a trial call it leaves open
            elif not counted:
                permit.cancel()
            else:
                if before != "open":
                    self._state_storage.increment_counter()
                permit.fail()
                for listener in self._listeners:
                    listener.failure(self, error)
            self._follow()
        if counted and reraise and self._throw and before != "open" and self._state == "open":
            message = _TRIAL if before == "half_open" else _TRIPPED
            raise self._error(message, self._guard.rules.open_for) from error

    def _error(self, message: str, retry_after: float | None) -> Exception:
        error = self.error(message)
        error.retry_after = retry_after  # type: ignore[attr-defined]
        return error

    def _entered(self, state: str, before: State | None, *, notify: bool) -> State:
        """Return the library's own object for `state`."""
        raise NotImplementedError

    def _follow(self) -> None:
        """Notice the state that the breaker has reached by itself."""
        state = self._guard.state
        if state == "half_open" and self._state == "closed":
            return
        if state != self._state and not (self._state == "open" and state == "half_open"):
            self._moved(state)

    def _moved(self, state: str) -> None:
        if state != "half_open":
            self._successes = 0
        if state == "closed":
            self._state_storage.reset_counter()
        old, self._state = self._noticed, state
        self._noticed = self._entered(state, old, notify=True)
        for listener in self._listeners:
            listener.state_change(self, old, self._noticed)
