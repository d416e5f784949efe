"""How a policy guards a callable: written once, the same for all policies.

A policy says how it wraps an async function, a plain function and an async generator function. From that
follow its four faces: ``await policy.run(fn, *args)``, ``policy.call(fn, *args)``, ``policy.stream(fn,
*args)`` and the decorator. What cannot be guarded is refused when it is handed over, never silently at
night.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from types import CoroutineType
from typing import Any, Literal, ParamSpec, Self, TypeAlias, TypeVar

from prodkit.core.runtime import SYSTEM, Runtime

__all__ = ["AsyncFn", "MisuseError", "Policy", "StreamFn", "SyncFn", "kind_of"]

P = ParamSpec("P")
T = TypeVar("T")

AsyncFn: TypeAlias = Callable[..., Awaitable[Any]]
SyncFn: TypeAlias = Callable[..., Any]
StreamFn: TypeAlias = Callable[..., AsyncIterator[Any]]
Kind: TypeAlias = Literal["async", "sync", "stream"]


class MisuseError(TypeError):
    """A callable cannot be guarded the way it was handed over: a mistake that no policy counts or repeats."""


class Policy:
    """The base of all policies; subclass it to make your own.

    A subclass implements :meth:`wrap`, and :meth:`wrap_sync` and :meth:`wrap_stream` where they make sense.
    Each takes a callable and returns one with the same arguments; it is called once per decoration, so
    whatever can be prepared is prepared there.
    """

    runtime: Runtime = SYSTEM
    rank = 0
    """Where the policy stands in the recommended order, outermost first; 0 for anywhere (see
    :class:`Pipeline`).
    """

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        """The guarded form of an async function."""
        raise NotImplementedError

    def wrap_sync(self, fn: SyncFn) -> SyncFn:
        """The guarded form of a plain function."""
        raise TypeError(f"{type(self).__name__} cannot guard a synchronous call: use it with async functions")

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
        """The guarded form of an async generator function."""
        raise TypeError(
            f"{type(self).__name__} cannot guard an async generator: what would it do after an item?"
        )

    def adopt(self, runtime: Runtime) -> Self:
        """This policy on `runtime`, for a pipeline that was given one. A policy with state stays itself."""
        return self

    def run(
        self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]:
        """``await policy.run(fn, *args)`` calls `fn` under this policy. `fn` is a callable, not a coroutine
        object.
        """
        if not callable(fn):
            raise _not_callable(fn)
        return self._run(fn, *args, **kwargs)  # type: ignore[no-any-return]

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls the plain function `fn` under this policy, in this thread."""
        if not callable(fn):
            raise _not_callable(fn)
        return self._call(fn, *args, **kwargs)  # type: ignore[no-any-return]

    def stream(
        self, fn: Callable[P, AsyncIterator[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator[T]:
        """``async for item in policy.stream(fn, *args)`` iterates what the async generator function `fn`
        yields.
        """
        if not callable(fn):
            raise _not_callable(fn)
        return self._stream(fn, *args, **kwargs)

    def __call__(self, fn: Callable[P, T]) -> Callable[P, T]:
        """The decorator: `fn` under this policy, with its signature, sync or async as it is."""
        kind = kind_of(fn)
        guarded: Callable[..., Any]
        if kind == "async":
            guarded = self.wrap(fn)  # type: ignore[arg-type]
        elif kind == "stream":
            guarded = self.wrap_stream(fn)  # type: ignore[arg-type]
        else:
            guarded = self.wrap_sync(fn)
        return functools.update_wrapper(guarded, fn)

    # What run, call and stream guard is a function that calls their first argument: built on first use, then
    # kept.
    @functools.cached_property
    def _run(self) -> Callable[..., Any]:
        return self.wrap(invoke)

    @functools.cached_property
    def _call(self) -> SyncFn:
        return self.wrap_sync(_invoke_sync)

    @functools.cached_property
    def _stream(self) -> StreamFn:
        return self.wrap_stream(_invoke_stream)

    def resume(self, fn: AsyncFn, first: Awaitable[Any], args: Any, kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Goes on asynchronously where a plain `fn` turned out to return an awaitable, `first`.

        For :meth:`wrap_sync`: a lambda around a coroutine function is only known when it is called.
        """
        kept: list[Awaitable[Any]] = [first]

        def again(*args: Any, **kwargs: Any) -> Awaitable[Any]:
            return kept.pop() if kept else invoke(fn, *args, **kwargs)

        async def resumed() -> Any:
            try:
                return await self.wrap(again)(*args, **kwargs)
            finally:
                if kept:
                    _close(kept.pop())

        return resumed()


def invoke(fn: AsyncFn, /, *args: Any, **kwargs: Any) -> Awaitable[Any]:
    """What ``run`` guards: calls `fn` and insists on an awaitable."""
    result = fn(*args, **kwargs)
    if type(result) is CoroutineType or hasattr(result, "__await__"):
        return result
    if hasattr(result, "__aiter__"):
        raise MisuseError(f"{name_of(fn)} is an async generator: use policy.stream(fn, …) and iterate it")
    raise MisuseError(
        f"{name_of(fn)} returned {type(result).__name__}, which cannot be awaited: use policy.call(fn, …)"
    )


def _invoke_sync(fn: SyncFn, /, *args: Any, **kwargs: Any) -> Any:
    result = fn(*args, **kwargs)
    if type(result) is CoroutineType or hasattr(result, "__await__"):
        _close(result)
        raise MisuseError(f"{name_of(fn)} returned an awaitable: use `await policy.run(fn, …)`")
    return result


def _invoke_stream(fn: StreamFn, /, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
    result = fn(*args, **kwargs)
    if hasattr(result, "__anext__"):
        return result if hasattr(result, "aclose") else _closable(result)
    _close(result)
    raise MisuseError(
        f"{name_of(fn)} returned {type(result).__name__}, not an async iterator: use policy.run(fn, …)"
    )


async def _closable(items: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """An iterator that is no generator, in the form of one: the guards close what they iterate."""
    async for item in items:
        yield item


INVOKERS = (invoke, _invoke_sync, _invoke_stream)
"""What ``run``, ``call`` and ``stream`` guard: the callable that is meant is their first argument."""


def kind_of(fn: object) -> Kind:
    """How `fn` is called: "async", "stream" or "sync".

    Sees through ``functools.partial``, bound methods and objects with an async ``__call__``.

    Raises:
        TypeError: when it cannot be guarded, with what to do instead.
    """
    if isinstance(fn, (staticmethod, classmethod)):
        raise TypeError(f"put the policy below @{type(fn).__name__}, next to the function")
    if not callable(fn):
        raise _not_callable(fn)
    if isinstance(fn, type):
        raise TypeError(f"{fn.__name__} is a class: guard the function that makes or uses it")
    target: Any = fn
    while isinstance(target, functools.partial):
        target = target.func
    if not (inspect.isroutine(target) or inspect.iscoroutinefunction(target)):
        target = target.__call__
    if getattr(getattr(target, "__code__", None), "co_filename", None) == contextlib.__file__:
        raise TypeError(f"{name_of(fn)} makes a context manager: guard the function that enters it")
    if inspect.iscoroutinefunction(target):
        return "async"
    if inspect.isasyncgenfunction(target):
        return "stream"
    if inspect.isgeneratorfunction(target):
        raise TypeError(
            f"{name_of(fn)} is a generator, which runs after the guard is gone: guard what iterates it"
        )
    return "sync"


def name_of(fn: object) -> str:
    """A name for messages and events: never the arguments."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return getattr(fn, "__qualname__", None) or type(fn).__qualname__


def _not_callable(fn: object) -> TypeError:
    if inspect.isawaitable(fn) or inspect.isasyncgen(fn):
        name = getattr(fn, "__qualname__", "fn")
        _close(fn)
        return TypeError(
            f"pass the function, not what it returned: run({name}, …) instead of run({name}(…)), "
            "so that it can be called when the policy says so"
        )
    return TypeError(f"a policy guards a callable, got {type(fn).__name__}")


def _close(result: object) -> None:
    """Spares the "was never awaited" warning to somebody who just got a better one."""
    close = getattr(result, "close", None) if inspect.iscoroutine(result) else None
    if close is not None:
        close()
