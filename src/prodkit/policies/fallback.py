"""Fallback: a value, or another way to get one, when a call fails for a named reason."""

from __future__ import annotations

import inspect
import math
from types import CoroutineType
from typing import Any, TypeAlias

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.policies.base import AsyncFn, Policy, SyncFn, name_of
from prodkit.policies.deadline_guard import deadline_for, within_deadline
from prodkit.policies.events import FallbackUsed

__all__ = ["Fallback"]

Errors: TypeAlias = type[Exception] | tuple[type[Exception], ...]


class Fallback(Policy):
    """Answers with `instead` when the call raises one of `on`.

    `instead` is a value, or a callable that gets the error; an async callable is awaited. What it raises itself
    reaches the caller with the first error as context. Cancellations pass through: `on` takes exceptions only.
    It belongs outermost, so that it answers for the whole pipeline::

        Fallback([], on=(ConnectionError, CircuitOpenError))
    """

    rank = 10

    def __init__(self, instead: Any, *, on: Errors, runtime: Runtime = SYSTEM) -> None:
        kinds: tuple[Any, ...] = on if isinstance(on, tuple) else (on,)
        wrong = [kind for kind in kinds if not (isinstance(kind, type) and issubclass(kind, Exception))]
        if wrong:
            raise TypeError(f"on takes exception classes (not BaseException), got {wrong!r}")
        if not kinds:
            raise ValueError("on names no error, so the fallback would never answer")
        self.instead = instead
        self.on: tuple[type[Exception], ...] = kinds
        self.runtime = runtime

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        on = self.on
        deadline = deadline_for(fn)

        async def fallback(*args: Any, **kwargs: Any) -> Any:
            try:
                if deadline() == math.inf:
                    return await fn(*args, **kwargs)
                return await within_deadline(fn, args, kwargs)
            except on as error:
                self._tell(error)
                answer = self.instead(error) if callable(self.instead) else self.instead
                return await answer if inspect.isawaitable(answer) else answer

        return fallback

    def wrap_sync(self, fn: SyncFn) -> SyncFn:
        if inspect.iscoroutinefunction(self.instead):
            raise TypeError(f"{name_of(self.instead)} is async and cannot answer for the plain {name_of(fn)}")
        on = self.on

        def fallback(*args: Any, **kwargs: Any) -> Any:
            try:
                result = fn(*args, **kwargs)
            except on as error:
                self._tell(error)
                return self.instead(error) if callable(self.instead) else self.instead
            return self.resume(fn, result, args, kwargs) if type(result) is CoroutineType else result

        return fallback

    def _tell(self, error: Exception) -> None:
        if self.runtime.events.listened(FallbackUsed):
            name = name_of(self.instead) if callable(self.instead) else type(self.instead).__name__
            self.runtime.events.emit(FallbackUsed(fallback=name, error=type(error).__name__))

    def __repr__(self) -> str:
        return (
            f"Fallback({type(self.instead).__name__}, on=({', '.join(kind.__name__ for kind in self.on)},))"
        )
