"""Start resources in order and close them in reverse, also when the service is cancelled half-way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

from prodkit.core.validate import Arguments

__all__ = ["Managed", "Resource", "check_startable", "running"]


@runtime_checkable
class Resource(Protocol):
    """Something that holds connections, tasks or files while the service runs."""

    async def start(self) -> None:
        """Open connections, tasks and files. When it raises, it has cleaned up after itself."""
        ...

    async def aclose(self) -> None:
        """Close everything; may be called more than once."""
        ...


class Managed:
    """Base class that gives a :class:`Resource` its ``async with`` form."""

    __slots__ = ()

    async def start(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


Startable: TypeAlias = Resource | AbstractAsyncContextManager[Any]
_STARTABLE = (Resource, AbstractAsyncContextManager)


@asynccontextmanager
async def running(*resources: Startable, close_timeout: float = 10.0) -> AsyncIterator[None]:
    """Start `resources` in order and close them in reverse.

    When one cannot start, those already up are closed and its error is raised. Every resource is closed: an error or
    a cancellation that arrives during closing is kept and raised when all are down. An error of the body wins over
    errors of closing, which are added to it as notes; without one, a single closing error is raised as it is, several
    as an :class:`ExceptionGroup`.

    Args:
        resources: objects with ``start`` and ``aclose``, or async context managers; for example ``db, redis, claude``.
        close_timeout: seconds that each resource may take to close before it is cancelled; 10 by default. Raise it
            for a resource that finishes long work when it closes.

    Raises:
        ValueError: `close_timeout` is not positive.
        TypeError: a resource can be neither started nor entered; none was started then.
    """
    check_startable(resources, close_timeout)
    up: list[Startable] = []
    failure: BaseException | None = None
    try:
        for resource in resources:
            await _start(resource)
            up.append(resource)
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        problems, cancelled = await _close_all(up, close_timeout)
        if failure is not None:
            for problem in problems:
                failure.add_note(f"while closing: {type(problem).__name__}: {problem}")
        elif cancelled is not None:
            raise cancelled
        elif len(problems) == 1:
            raise problems[0]
        elif problems:
            raise ExceptionGroup("several resources failed to close", problems)


def check_startable(resources: Iterable[object], close_timeout: object) -> None:
    """Refuse what :func:`running` cannot start, every problem in one error.

    Args:
        resources: what is to be started.
        close_timeout: seconds for each to close.

    Raises:
        ValueError: `close_timeout` is not positive.
        TypeError: a resource can be neither started nor entered.
    """
    check = Arguments("running")
    for resource in resources:
        check.instance(
            "a resource",
            resource,
            _STARTABLE,
            "an object with start() and aclose(), or an async context manager",
        )
        check.that(not isinstance(resource, type), f"{resource!r} is a class: give an object of it")
    check.seconds("close_timeout", close_timeout)
    check.done()


async def _close_all(
    up: list[Startable], close_timeout: float
) -> tuple[list[Exception], asyncio.CancelledError | None]:
    problems: list[Exception] = []
    cancelled: asyncio.CancelledError | None = None
    for resource in reversed(up):
        # A task of its own: a cancellation that reaches us while we close must not cut the closing short.
        closing = asyncio.ensure_future(_close(resource, close_timeout))
        while not closing.done():
            try:
                await asyncio.wait((closing,))
            except asyncio.CancelledError as error:
                cancelled = error
        if closing.cancelled():
            problems.append(RuntimeError(f"closing {type(resource).__name__} was cancelled from inside"))
        elif isinstance(problem := closing.exception(), Exception):
            problems.append(problem)
        elif problem is not None:
            raise problem
    return problems, cancelled


async def _start(resource: Startable) -> None:
    if isinstance(resource, Resource):
        await resource.start()
    else:
        await resource.__aenter__()


async def _close(resource: Startable, close_timeout: float) -> None:
    name = type(resource).__name__
    limit = asyncio.timeout(close_timeout)
    try:
        async with limit:
            if isinstance(resource, Resource):
                await resource.aclose()
            else:
                await resource.__aexit__(None, None, None)
    except TimeoutError as error:
        if limit.expired():
            raise TimeoutError(f"{name} did not close within {close_timeout} s and was cancelled") from error
        raise
