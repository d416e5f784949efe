"""The base of all policies: the ways to guard a callable, written once.

A policy implements how it wraps an async function, a plain function, an async generator function and a block. From
that follow its faces: ``await policy.run(fn, *args)``, ``policy.call(fn, *args)``, ``policy.stream(fn, *args)``, the
decorator, and ``with policy:``. A callable that cannot be guarded is refused at once, when it is handed
over, and never silently in production.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from types import CoroutineType, TracebackType
from typing import Any, Literal, ParamSpec, Self, TypeAlias, TypeVar

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.policies.block import Block, Scope, pop_block, push_block
from prodkit.policies.callables import AsyncFn, StreamFn, SyncFn

__all__ = ["AsyncFn", "MisuseError", "Policy", "StreamFn", "SyncFn", "kind_of"]

P = ParamSpec("P")
T = TypeVar("T")

Kind: TypeAlias = Literal["async", "sync", "stream", "generator"]


class MisuseError(TypeError):
    """A callable cannot be guarded the way it was handed over: a mistake that no policy counts or repeats."""


class Policy:
    """The base of all policies; subclass it to make your own.

    A subclass implements :meth:`wrap`, and :meth:`wrap_sync`, :meth:`wrap_stream`, :meth:`wrap_generator` and
    :meth:`scope` where they make sense. A wrap takes a callable and returns one with the same arguments; it is called
    once per decoration, so anything that can be prepared is prepared there.
    """

    runtime: Runtime = SYSTEM
    rank = 0
    """Position in the recommended order, outermost first; 0 for anywhere (see :class:`Pipeline`)."""

    given: tuple[tuple[Any, ...], dict[str, Any]]
    """The arguments that the policy was made with, for :meth:`with_options` and for descriptions."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = super().__new__(cls)
        made.given = args, kwargs
        return made

    def with_options(self, **changes: Any) -> Self:
        """Return a new policy like this one with some arguments of its constructor changed; it has no history.

        Args:
            changes: arguments by name.
        """
        args, kwargs = self.given
        named = inspect.signature(type(self)).bind(*args, **kwargs).arguments
        several = {
            name: named.pop(name)
            for name, each in inspect.signature(type(self)).parameters.items()
            if each.kind is each.VAR_POSITIONAL and name in named
        }
        return type(self)(*(item for items in several.values() for item in items), **{**named, **changes})

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        """Return the guarded form of the async function `fn`."""
        raise NotImplementedError

    def wrap_sync(self, fn: SyncFn) -> SyncFn:
        """Return the guarded form of the plain function `fn`."""
        raise TypeError(f"{type(self).__name__} cannot guard a synchronous call: use it with async functions")

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
        """Return the guarded form of the async generator function `fn`."""
        raise TypeError(
            f"{type(self).__name__} cannot guard an async generator: what would it do after an item?"
        )

    def wrap_generator(self, fn: SyncFn) -> SyncFn:
        """Return the guarded form of the generator function `fn`."""
        raise TypeError(
            f"{name_of(fn)} is a generator, which {type(self).__name__} cannot guard: guard the code that iterates it"
        )

    def scope(self) -> Scope:
        """Return a new guard for one block."""
        raise TypeError(
            f"{type(self).__name__} cannot guard a block, which runs only once: use run, call or the decorator"
        )

    def adopt(self, runtime: Runtime) -> Self:
        """Return this policy on `runtime`, for a pipeline that was given one; a policy with state returns itself."""
        return self

    def run(
        self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]:
        """Call the async function `fn` under this policy: ``await policy.run(fn, *args)``.

        Args:
            fn: a callable, not a coroutine object, so that it can be called again.
            args: passed to `fn`.
            kwargs: passed to `fn`.
        """
        if not callable(fn):
            raise _not_callable(fn)
        return self._run(fn, *args, **kwargs)  # type: ignore[no-any-return]

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the plain function `fn` under this policy, in this thread.

        Args:
            fn: a callable that returns no awaitable.
            args: passed to `fn`.
            kwargs: passed to `fn`.
        """
        if not callable(fn):
            raise _not_callable(fn)
        return self._call(fn, *args, **kwargs)  # type: ignore[no-any-return]

    def stream(
        self, fn: Callable[P, AsyncIterator[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator[T]:
        """Iterate an async generator function under this policy: ``async for item in policy.stream(fn, *args)``.

        Args:
            fn: a callable that returns an async iterator.
            args: passed to `fn`.
            kwargs: passed to `fn`.
        """
        if not callable(fn):
            raise _not_callable(fn)
        return self._stream(fn, *args, **kwargs)

    def __call__(self, fn: Callable[P, T]) -> Callable[P, T]:
        """Decorate `fn`: guard it, with its signature, sync or async as it is."""
        kind = kind_of(fn)
        if self.runtime.policies == "off":
            return fn
        guarded: Callable[..., Any]
        if kind == "async":
            guarded = self.wrap(fn)  # type: ignore[arg-type]
        elif kind == "stream":
            guarded = self.wrap_stream(fn)  # type: ignore[arg-type]
        elif kind == "generator":
            guarded = self.wrap_generator(fn)
        else:
            guarded = self.wrap_sync(fn)
        return fn if guarded is fn else functools.update_wrapper(guarded, fn)

    def calling(self) -> Block:
        """Return a guard for one block: ``async with policy.calling():``, or ``with`` where nothing has to wait.

        The block takes the same permits and slots, and counts in the same state, as :meth:`run`.
        """
        return Block() if self.runtime.policies == "off" else Block(self.scope())

    async def __aenter__(self) -> Self:
        push_block(self, await self.calling().__aenter__())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await pop_block(self).__aexit__(kind, error, trace)

    def __enter__(self) -> Self:
        push_block(self, self.calling().__enter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pop_block(self).__exit__(kind, error, trace)

    # run, call and stream guard a function that calls their first argument: built on first use, then kept.
    @functools.cached_property
    def _run(self) -> Callable[..., Any]:
        return invoke if self.runtime.policies == "off" else self.wrap(invoke)

    @functools.cached_property
    def _call(self) -> SyncFn:
        return _invoke_sync if self.runtime.policies == "off" else self.wrap_sync(_invoke_sync)

    @functools.cached_property
    def _stream(self) -> StreamFn:
        return _invoke_stream if self.runtime.policies == "off" else self.wrap_stream(_invoke_stream)

    def resume(self, fn: AsyncFn, first: Awaitable[Any], args: Any, kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Continue asynchronously where a plain function turned out to return an awaitable.

        For :meth:`wrap_sync`: a lambda around a coroutine function is only recognised when it is called.

        Args:
            fn: the function.
            first: the awaitable that it returned.
            args: the arguments of the call.
            kwargs: the keyword arguments of the call.
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
    """Call `fn` and insist on an awaitable: the function that ``run`` guards."""
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
    """Yield the items of an iterator that is no generator: the guards close what they iterate."""
    async for item in items:
        yield item


INVOKERS = (invoke, _invoke_sync, _invoke_stream, Policy.run, Policy.call, Policy.stream)
"""``run``, ``call`` and ``stream``, and what they guard: the callable that is meant is their first argument."""


def kind_of(fn: object) -> Kind:
    """Return how `fn` is called: "async", "stream" (async generator), "generator" or "sync".

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
        return "generator"
    return "sync"


def name_of(fn: object) -> str:
    """Return a name of `fn` for messages and events, which never holds arguments."""
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
    """Close a coroutine, so that no "was never awaited" warning follows the error just raised."""
    close = getattr(result, "close", None) if inspect.iscoroutine(result) else None
    if close is not None:
        close()
