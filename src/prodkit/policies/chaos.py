"""Chaos: inject latency, faults, results or behaviour into a share of the calls, to see how a service degrades."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from types import CoroutineType
from typing import Any

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.policies.base import AsyncFn, Policy, StreamFn, SyncFn
from prodkit.policies.deadline_guard import stream_until_deadline, until_deadline
from prodkit.policies.events import ChaosInjected
from prodkit.policies.idempotency import innermost
from prodkit.policies.switch import is_off

__all__ = ["Chaos"]

_UNSET: Any = object()


class Chaos(Policy):
    """Disturb a share of the calls.

    ::

        chaos = Chaos(0.1, latency=2.0, error=lambda: ConnectionError("injected"))
        await Pipeline(Retry(3), breaker, Timeout(1), chaos).run(fetch, url)

    It belongs innermost, next to the dependency that it plays. A disturbed call waits for `latency`, runs `behaviour`,
    and then raises `error` or returns `result`; with neither, the call goes on. A runtime whose ``environment`` is
    ``"production"`` refuses it unless `allow_production` names this very policy.

    Args:
        rate: share of the calls that are disturbed, from 0 to 1; assign :attr:`rate` to change it while running.
        name: of the experiment, in events.
        latency: seconds to wait, or a function that returns them.
        error: an exception class, an instance, or a function that returns one.
        result: returned instead of calling; give a function through `behaviour` where it has to be computed.
        behaviour: called before the error or result, async or plain: to drop a connection, say.
        when: decides by the call's arguments which calls may be disturbed; all of them by default.
        enabled: False only passes calls through; assign :attr:`enabled` to switch it while running, or give a function
            that is asked for each call.
        allow_production: the `name`, repeated, to permit it where the runtime's environment is production.
        runtime: clock, randomness, events and environment.

    Raises:
        ValueError: a value is out of range, or the environment is production and `allow_production` is not the name.
    """

    rank = 90

    name: str
    runtime: Runtime

    def __init__(
        self,
        rate: float,
        *,
        name: str = "chaos",
        latency: float | Callable[[], float] = 0.0,
        error: type[Exception] | Exception | Callable[[], Exception] | None = None,
        result: Any = _UNSET,
        behaviour: Callable[[], Any] | None = None,
        when: Callable[..., bool] | None = None,
        enabled: bool | Callable[[], bool] = True,
        allow_production: str = "",
        runtime: Runtime = SYSTEM,
    ) -> None:
        check = Arguments("Chaos")
        check.attempt(lambda: _checked_rate(rate))
        check.attempt(lambda: _checked_switch(enabled))
        check.text("name", name)
        if not callable(latency):
            check.seconds("latency", latency, zero=True)
        check.that(
            error is None or callable(error) or isinstance(error, Exception),
            f"error must be an exception class, an exception or a function that returns one, got {error!r}",
        )
        check.that(error is None or result is _UNSET, "give error or result, not both")
        check.function("behaviour", behaviour, optional=True)
        check.function("when", when, optional=True)
        check.instance("runtime", runtime, Runtime, "a Runtime")
        check.done()
        self.name = name
        self._rate = rate
        self._enabled = enabled
        self.runtime = runtime
        self._latency = latency
        self._error = error
        self._result = result
        self._behaviour = behaviour
        self._when = when
        self._allowed = allow_production == name
        self._refuse_production(runtime)

    @property
    def rate(self) -> float:
        """Share of the calls that are disturbed; assign it to change it while running."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._rate = _checked_rate(rate)

    @property
    def enabled(self) -> bool | Callable[[], bool]:
        """False, or a function that returns False, only passes calls through; assign it to switch it while running."""
        return self._enabled

    @enabled.setter
    def enabled(self, enabled: bool | Callable[[], bool]) -> None:
        self._enabled = _checked_switch(enabled)

    def adopt(self, runtime: Runtime) -> Chaos:
        """Return this policy on `runtime`, unless that forbids it."""
        if self.runtime is not SYSTEM:
            return self
        self._refuse_production(runtime)
        self.runtime = runtime
        return self

    def _refuse_production(self, runtime: Runtime) -> None:
        if runtime.environment == "production" and not self._allowed:
            raise ValueError(
                f"Chaos {self.name!r} is refused in production: "
                f"allow_production={self.name!r} permits this one by its name"
            )

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        """Return the guarded form of the async function `fn`."""

        async def disturbed(*args: Any, **kwargs: Any) -> Any:
            if self._chosen(fn, args, kwargs) and (await self._disturb()):
                return self._result
            return await fn(*args, **kwargs)

        return until_deadline(disturbed)  # a disturbance hangs no longer than the call that it disturbs

    def wrap_sync(self, fn: SyncFn) -> SyncFn:
        """Return the guarded form of the plain function `fn`."""

        def disturbed(*args: Any, **kwargs: Any) -> Any:
            if self._chosen(fn, args, kwargs):
                seconds = self._seconds()
                if seconds:
                    self.runtime.clock.block(seconds)
                if self._behaviour is not None:
                    self._behaviour()
                if self._concluded(seconds):
                    return self._result
            result = fn(*args, **kwargs)
            return self.resume(fn, result, args, kwargs) if type(result) is CoroutineType else result

        return disturbed

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
        """Return the guarded form of the async generator function `fn`: disturbed before its first item."""

        async def disturbed(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            if self._chosen(fn, args, kwargs) and (await self._disturb()):
                yield self._result
                return
            async with aclosing(fn(*args, **kwargs)) as items:  # type: ignore[type-var]
                async for item in items:
                    yield item

        return stream_until_deadline(disturbed)

    def _chosen(self, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        enabled = self.enabled() if callable(self.enabled) else self.enabled
        if not enabled or self.runtime.rng.random() >= self.rate or is_off(self.runtime):
            return False
        return self._when is None or bool(self._when(*innermost(fn, args)[1], **kwargs))

    def _seconds(self) -> float:
        return self._latency() if callable(self._latency) else self._latency

    async def _disturb(self) -> bool:
        """Disturb one call; return True if it is answered by the result."""
        seconds = self._seconds()
        if seconds:
            await self.runtime.clock.sleep(seconds)
        if self._behaviour is not None:
            done = self._behaviour()
            if inspect.isawaitable(done):
                await done
        return self._concluded(seconds)

    def _concluded(self, seconds: float) -> bool:
        error = (
            None
            if self._error is None
            else self._error
            if isinstance(self._error, Exception)
            else self._error()
        )
        if (events := self.runtime.events).listened(ChaosInjected):
            kind = (
                type(error).__name__
                if error is not None
                else "result"
                if self._result is not _UNSET
                else "latency"
            )
            events.emit(ChaosInjected(chaos=self.name, kind=kind, latency=seconds))
        if error is not None:
            raise error.with_traceback(None)
        return self._result is not _UNSET

    def __repr__(self) -> str:
        return f"Chaos({self.rate!r}, name={self.name!r}, enabled={self.enabled!r})"


def _checked_rate(rate: float) -> float:
    check = Arguments("Chaos")
    check.number("rate", rate, minimum=0, maximum=1)
    check.done()
    return rate


def _checked_switch(enabled: bool | Callable[[], bool]) -> bool | Callable[[], bool]:
    if not (isinstance(enabled, bool) or callable(enabled)):
        raise TypeError(f"Chaos: enabled must be True, False or a function, got {enabled!r}")
    return enabled
