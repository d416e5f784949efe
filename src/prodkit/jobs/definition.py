"""Jobs: async functions with a name under which their runs are kept."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Generic, ParamSpec, TypeVar, overload

from prodkit.core.validate import Arguments
from prodkit.jobs.codec import encode_arguments
from prodkit.jobs.engine import Engine
from prodkit.jobs.schedules import Cron, Every
from prodkit.jobs.values import LONGEST_WAIT, Enqueued, NewRun, check_text
from prodkit.policies.backoff import Backoff, upward

__all__ = ["Job", "engine_of", "job"]

P = ParamSpec("P")
T = TypeVar("T")


class Job(Generic[P, T]):
    """A durable function. Made by :func:`job`; calling it runs the function in place, without a queue or a record.

    Args:
        fn: an async function. Its arguments and its result are stored as JSON.
        name: the kind of its runs; the qualified name of the function when None. Keep it when the function moves.
        attempts: runs of the body before the run becomes a dead letter; 1 for no retry.
        backoff: the wait after each failed attempt.
        retry_on: the errors after which another attempt can help. Never ``InvalidError``: the same input fails again.
        timeout: seconds for one attempt, or None.
        concurrency: runs of this kind at once in the whole fleet; 0 for no limit.
        tenant_limit: runs of one tenant queued or running at once; 0 for no limit. Further ones are held back.
        max_crashes: workers that may vanish with a run before it is a dead letter, so that a run which kills its
            worker does not kill every worker in turn.
        schedule: enqueue a run without arguments at every tick, once in the whole fleet.
        on_dead: async function of the run's arguments, called before the run becomes a dead letter, so that rows of
            yours can say so. It may be called twice; its own errors are ignored.
    """

    def __init__(
        self,
        fn: Callable[P, Awaitable[T]],
        *,
        name: str | None = None,
        attempts: int = 3,
        backoff: Backoff | None = None,
        retry_on: type[Exception] | tuple[type[Exception], ...] = Exception,
        timeout: float | None = None,
        concurrency: int = 0,
        tenant_limit: int = 0,
        max_crashes: int = 10,
        schedule: Cron | Every | None = None,
        on_dead: Callable[..., Awaitable[object]] | None = None,
    ) -> None:
        check = Arguments("job")
        check.that(
            inspect.iscoroutinefunction(fn),
            f"a job must be an async function, got {fn!r}; wrap blocking code in a step",
        )
        if name is not None:
            check_text(check, "name", name)
        check.integer("attempts", attempts, minimum=1)
        check.function("backoff", backoff, optional=True)
        check.seconds("timeout", timeout, optional=True)
        check.integer("concurrency", concurrency, minimum=0)
        check.integer("tenant_limit", tenant_limit, minimum=0)
        check.integer("max_crashes", max_crashes, minimum=1)
        check.instance("schedule", schedule, (Cron, Every), "a Cron or an Every", optional=True)
        check.function("on_dead", on_dead, optional=True)
        check.done()
        self.fn = fn
        self.name: str = name or f"{fn.__module__}.{fn.__qualname__}"
        self.attempts = attempts
        self.backoff: Backoff = backoff or upward(1.0, cap=300.0)
        self.retry_on = retry_on
        self.timeout = timeout
        self.concurrency = concurrency
        self.tenant_limit = tenant_limit
        self.max_crashes = max_crashes
        self.schedule = schedule
        self.on_dead = on_dead
        self._options: dict[str, Any] = {}
        self._limit = 0
        self._signature = inspect.signature(fn)
        self._arity = _arity(self._signature)
        functools.update_wrapper(self, fn)

    def using(
        self,
        *,
        key: str | None = None,
        tenant: str | None = None,
        priority: int = 0,
        delay: float = 0.0,
        deadline: float | None = None,
    ) -> Job[P, T]:
        """Return this job with options for its next ``enqueue``.

        Args:
            key: idempotency key: while a run of this job with this key is kept, no second one is made.
            tenant: whose run it is, for `tenant_limit`.
            priority: higher runs start first.
            delay: seconds until it may start.
            deadline: seconds from now after which the run is given up as a dead letter, whatever it is doing.
        """
        check = Arguments("using")
        if key is not None:
            check_text(check, "key", key)
        if tenant is not None:
            check_text(check, "tenant", tenant)
        check.integer("priority", priority, minimum=-(2**31), maximum=2**31 - 1)
        check.number("delay", delay, minimum=0, maximum=LONGEST_WAIT, unit="seconds")
        check.number("deadline", deadline, above=0, maximum=LONGEST_WAIT, optional=True, unit="seconds")
        check.done()
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._limit = self.tenant_limit if tenant is not None else 0
        other._options = {
            "key": key,
            "tenant": tenant,
            "priority": priority,
            "delay": delay,
            "deadline": deadline,
        }
        return other

    async def enqueue(self, db: Any, /, *args: P.args, **kwargs: P.kwargs) -> Enqueued:
        """Add a run and return its id.

        Args:
            db: a connection inside a transaction (the run then exists exactly when the transaction commits), a
                :class:`~prodkit.postgres.Pool`, or an engine.
            *args: the function's arguments.
            **kwargs: the function's arguments.

        Raises:
            TypeError: the arguments do not fit the function, or cannot be stored as JSON.
        """
        engine, connection = engine_of(db)
        return await engine.enqueue(self.new_run(*args, **kwargs), connection)

    def new_run(self, *args: P.args, **kwargs: P.kwargs) -> NewRun:
        """Return the run that :meth:`enqueue` would add.

        Args:
            *args: the function's arguments.
            **kwargs: the function's arguments.
        """
        if kwargs or len(args) not in self._arity:
            self._signature.bind(*args, **kwargs)
        return NewRun(
            kind=self.name,
            arguments=encode_arguments(args, kwargs),
            tenant_limit=self._limit,
            **self._options,
        )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        from prodkit.jobs.execution import inline

        return inline(self.fn, *args, **kwargs)

    def __repr__(self) -> str:
        return f"Job({self.name!r}, attempts={self.attempts})"


@overload
def job(fn: Callable[P, Awaitable[T]], /) -> Job[P, T]: ...
@overload
def job(
    *,
    name: str | None = None,
    attempts: int = 3,
    backoff: Backoff | None = None,
    retry_on: type[Exception] | tuple[type[Exception], ...] = Exception,
    timeout: float | None = None,
    concurrency: int = 0,
    tenant_limit: int = 0,
    max_crashes: int = 10,
    schedule: Cron | Every | None = None,
    on_dead: Callable[..., Awaitable[object]] | None = None,
) -> Callable[[Callable[P, Awaitable[T]]], Job[P, T]]: ...
def job(fn: Any = None, /, **options: Any) -> Any:
    """Make an async function a durable :class:`Job`: ``@jobs.job`` or ``@jobs.job(attempts=5)``.

    Args:
        fn: the function, when the decorator is used without parentheses.
        name: the kind of its runs; the qualified name of the function when None.
        attempts: runs of the body before the run becomes a dead letter; 1 for no retry.
        backoff: the wait after each failed attempt; 1 s, 2 s, 4 s… and up to a quarter more when None.
        retry_on: the errors after which another attempt can help.
        timeout: seconds for one attempt, or None.
        concurrency: runs of this kind at once in the whole fleet; 0 for no limit.
        tenant_limit: runs of one tenant queued or running at once; 0 for no limit.
        max_crashes: workers that may vanish with a run before it is a dead letter.
        schedule: enqueue a run without arguments at every tick, once in the whole fleet.
        on_dead: async function of the run's arguments, called before the run becomes a dead letter.
        **options: the keyword arguments above.
    """
    if fn is not None:
        return Job(fn)
    return lambda function: Job(function, **options)


def _arity(signature: inspect.Signature) -> range:
    """Return how many positional arguments alone satisfy `signature`, where that needs no binding to see."""
    parameters = signature.parameters.values()
    if any(each.kind is each.KEYWORD_ONLY and each.default is each.empty for each in parameters):
        return range(0)
    positional = [
        each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    return range(sum(each.default is each.empty for each in positional), len(positional) + 1)


@functools.lru_cache(maxsize=64)
def _shape(cls: type) -> str:
    """Return which of the three `cls` is; isinstance would look at each of the protocol's 30 names at every call."""
    if hasattr(cls, "claim"):
        return "engine"
    if hasattr(cls, "acquire") and hasattr(cls, "transaction"):
        return "pool"
    return "connection" if hasattr(cls, "fetchrow") and hasattr(cls, "execute") else ""


def engine_of(db: Any) -> tuple[Engine, Any]:
    """Return the engine of `db` and, where `db` is a connection, that connection."""
    from prodkit.jobs.postgres import PostgresEngine

    shape = _shape(type(db))  # type: ignore[arg-type]  # mypy: a class is not hashable
    if shape == "pool":
        return PostgresEngine.of(db), None
    if shape == "connection":
        return PostgresEngine.bare(), db
    if isinstance(db, Engine):
        return db, None
    raise TypeError(f"expected a Pool, a connection in a transaction or an engine, got {db!r}")
