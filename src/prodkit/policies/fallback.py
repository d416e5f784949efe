"""Fallback: answer with a value, or by another way to get one, when a call fails for a named reason."""

from __future__ import annotations

import inspect
import math
from types import CoroutineType
from typing import Any

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.policies.base import AsyncFn, MisuseError, Policy, SyncFn, name_of
from prodkit.policies.deadline_guard import deadline_for, within_deadline
from prodkit.policies.events import FallbackUsed
from prodkit.policies.matching import Errors, classes_in, matcher
from prodkit.policies.switch import is_off

__all__ = ["Fallback"]


class Fallback(Policy):
    """Answer with `instead` when the call raises one of `on`.

    An error raised by `instead` reaches the caller with the first error as context. Cancellations pass through. It
    belongs outermost, so that it answers for the whole pipeline::

        Fallback([], on=(ConnectionError, CircuitOpenError))

    Args:
        instead: a value, or a callable that gets the error and returns one; an async callable is awaited. All callers
            get the same value: give a callable where they may change it.
        on: an exception class, a predicate, or a collection of both. Only :class:`Exception` and its subclasses.
        runtime: events.
    """

    rank = 10

    instead: Any
    on: Errors
    runtime: Runtime

    def __init__(self, instead: Any, *, on: Errors, runtime: Runtime = SYSTEM) -> None:
        wrong = [kind for kind in classes_in(on) if not issubclass(kind, Exception)]
        if wrong:
            raise TypeError(f"Fallback: on takes exception classes (not BaseException), got {wrong!r}")
        check = Arguments("Fallback")
        check.instance("runtime", runtime, Runtime, "a Runtime")
        check.done()
        if isinstance(on, (tuple, list, set, frozenset)) and not on:
            raise ValueError("Fallback: on names no error, so the fallback would never answer")
        self.instead = instead
        self.on = on
        self.runtime = runtime
        self._matches = matcher("on", on)

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        """Return the guarded form of the async function `fn`."""
        matches, deadline = self._matches, deadline_for(fn)

        async def fallback(*args: Any, **kwargs: Any) -> Any:
            try:
                if deadline() == math.inf:
                    return await fn(*args, **kwargs)
                return await within_deadline(fn, args, kwargs)
            except Exception as error:
                if is_off(self.runtime) or not matches(error):
                    raise
                self._emit(error)
                answer = self.instead(error) if callable(self.instead) else self.instead
                return await answer if inspect.isawaitable(answer) else answer

        return fallback

    def wrap_sync(self, fn: SyncFn) -> SyncFn:
        """Return the guarded form of the plain function `fn`."""
        if inspect.iscoroutinefunction(self.instead) or inspect.iscoroutinefunction(
            getattr(self.instead, "__call__", None)  # noqa: B004
        ):
            raise TypeError(f"{name_of(self.instead)} is async and cannot answer for the plain {name_of(fn)}")
        matches = self._matches

        def fallback(*args: Any, **kwargs: Any) -> Any:
            try:
                result = fn(*args, **kwargs)
            except Exception as error:
                if is_off(self.runtime) or not matches(error):
                    raise
                self._emit(error)
                answer = self.instead(error) if callable(self.instead) else self.instead
                if inspect.iscoroutine(answer):
                    answer.close()
                    raise MisuseError(
                        f"{name_of(self.instead)} is async and cannot answer for the plain {name_of(fn)}"
                    ) from error
                return answer
            return self.resume(fn, result, args, kwargs) if type(result) is CoroutineType else result

        return fallback

    def _emit(self, error: Exception) -> None:
        if self.runtime.events.listened(FallbackUsed):
            name = name_of(self.instead) if callable(self.instead) else type(self.instead).__name__
            self.runtime.events.emit(FallbackUsed(fallback=name, error=type(error).__name__))

    def __repr__(self) -> str:
        named = [name_of(each) for each in (self.on if isinstance(self.on, (tuple, list)) else (self.on,))]
        return f"Fallback({type(self.instead).__name__}, on=({', '.join(named)},))"
