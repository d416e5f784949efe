"""A transport that puts the policies under an HTTP client: one line to adopt, per host, for httpx and httpx2.

::

    client = httpx.AsyncClient(transport=ResilientTransport(httpx.AsyncHTTPTransport()))
    client = httpx.Client(transport=ResilientTransport(httpx.HTTPTransport()))

It works on the interface that both libraries share (a request, a response, ``handle_async_request`` and
``handle_request``) and imports neither, so one class serves both: give it the transport of the library whose client
uses it.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from prodkit.core.deadline import Deadline
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.errors import DeadlineExceededError
from prodkit.http.attempt import AttemptError, Exchange, failure, worth_another
from prodkit.http.policies import HostPolicies, default_policies
from prodkit.http.propagation import Propagation
from prodkit.policies.base import AsyncFn, Policy, SyncFn
from prodkit.policies.breaker import CircuitBreaker
from prodkit.policies.bulkhead import Bulkhead
from prodkit.policies.deadline_guard import bounded
from prodkit.policies.gate import RetryAfterGate
from prodkit.policies.pipeline import Pipeline
from prodkit.policies.retry import Retry
from prodkit.policies.timeout import Timeout

__all__ = ["ResilientTransport"]

KEPT: Final = 1000  # hosts


class ResilientTransport:
    """Guard each host with a breaker, a Retry-After gate, retries on a budget, an attempt timeout and the Deadline.

    Requests are repeated when their method is idempotent, or when they cannot have been sent, and only when their body
    can be sent again. When attempts are used up the last response, or the client library's own error, reaches the
    caller as it came; refusals are :class:`~prodkit.CircuitOpenError`, :class:`~prodkit.RateLimitedError` and
    :class:`~prodkit.BulkheadFullError`, timeouts of this transport :class:`~prodkit.CallTimeoutError`. A request is
    judged by its status line; errors in the body reach the reader.

    Each request carries the remaining time (``X-Deadline-Ms``), the id of the request being served (``X-Request-ID``)
    and a ``traceparent``, so that the next service stops working when this one stops waiting.

    A synchronous client cannot be interrupted: there the attempt timeout and the Deadline shorten the client's own
    timeouts, each of which bounds one phase (connect, write, each read). Runs on asyncio; trio is refused.

    Args:
        wrapped: the transport that does the work, async for an async client, sync for a sync one.
        policies: makes the guard of a host on its first request. A thousand hosts are remembered, and one whose breaker
            refuses is never forgotten.
        propagate: send the headers above: True or False for all hosts, or a function of the host
            (``"api.example.org:443"``), to send them to your own services only.
        runtime: clock, randomness and events.
    """

    runtime: Runtime

    def __init__(
        self,
        wrapped: Any,
        *,
        policies: Callable[[str, Runtime], HostPolicies] = default_policies,
        propagate: bool | Callable[[str], bool] = True,
        runtime: Runtime = SYSTEM,
    ) -> None:
        check = Arguments("ResilientTransport")
        if not (hasattr(wrapped, "handle_async_request") or hasattr(wrapped, "handle_request")):
            check.value("wrapped must be a transport of httpx or httpx2", wrapped)
        check.function("policies", policies)
        check.that(
            isinstance(propagate, bool) or callable(propagate),
            f"propagate must be a bool or a function, got {propagate!r}",
        )
        try:
            check.done()
        except ValueError as error:
            raise TypeError(str(error)) from None
        self.runtime = runtime
        self._wrapped = wrapped
        self._make = policies
        self._propagate = propagate
        self._hosts: OrderedDict[str, _Host] = OrderedDict()
        self._lock = threading.Lock()

    async def handle_async_request(self, request: Any) -> Any:
        """Send `request` of an async client, in as many attempts as its host's policies allow."""
        if asyncio._get_running_loop() is None:
            raise RuntimeError(
                "ResilientTransport runs on asyncio: under trio, use the library's own transport, or run this "
                "client in a thread with asyncio.run"
            )
        host, exchange = self._host(request), Exchange(request)
        try:
            return await host.guarded(exchange, self._propagation(host, request))
        except AttemptError as failed:
            if failed.response is not None:
                exchange.rejected = None  # it is the answer
                return failed.response
            theirs = failed.theirs()
        finally:
            await exchange.release()
        try:
            raise theirs  # outside the handler: it keeps the cause that the library gave it
        finally:
            del theirs  # its traceback holds this frame

    def handle_request(self, request: Any) -> Any:
        """Send `request` of a synchronous client, in as many attempts as its host's policies allow."""
        host, exchange = self._host(request), Exchange(request)
        try:
            return host.guarded_sync(exchange, self._propagation(host, request))
        except AttemptError as failed:
            if failed.response is not None:
                exchange.rejected = None
                return failed.response
            theirs = failed.theirs()
        finally:
            exchange.release_sync()
        try:
            raise theirs
        finally:
            del theirs

    def breaker(self, host: str) -> CircuitBreaker | None:
        """Return the breaker of `host` (``"api.example.org:443"``); None before its first request.

        Fit for health checks.
        """
        known = self._hosts.get(host)
        return known.policies.breaker if known else None

    def _propagation(self, host: _Host, request: Any) -> Propagation | None:
        wanted = self._propagate if isinstance(self._propagate, bool) else self._propagate(host.name)
        return Propagation(request, self.runtime.clock, host.policies.attempt_timeout) if wanted else None

    def _host(self, request: Any) -> _Host:
        url = request.url
        name = f"{url.host}:{url.port or (443 if url.scheme == 'https' else 80)}"
        with self._lock:
            known = self._hosts.get(name)
            if known is None:
                known = _Host(name, self._make(name, self.runtime), self._wrapped, self.runtime)
                self._hosts[name] = known
                self._forget()
            else:
                self._hosts.move_to_end(name)
            return known

    def _forget(self) -> None:
        if len(self._hosts) > KEPT:
            for name, host in self._hosts.items():
                if host.policies.breaker.state in ("closed", "disabled"):
                    del self._hosts[name]
                    return

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._wrapped.aclose()

    def close(self) -> None:
        """Close the wrapped synchronous transport."""
        self._wrapped.close()

    async def __aenter__(self) -> Self:
        enter = getattr(self._wrapped, "__aenter__", None)
        if enter is not None:
            await enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        leave = getattr(self._wrapped, "__aexit__", None)
        if leave is not None:
            await leave(kind, error, trace)

    def __enter__(self) -> Self:
        enter = getattr(self._wrapped, "__enter__", None)
        if enter is not None:
            enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        leave = getattr(self._wrapped, "__exit__", None)
        if leave is not None:
            leave(kind, error, trace)

    def __repr__(self) -> str:
        return f"ResilientTransport({self._wrapped!r}, hosts={len(self._hosts)})"


@dataclass(slots=True)
class _Host:
    """The composed calls to one host, built on first use."""

    name: str
    policies: HostPolicies
    wrapped: Any
    runtime: Runtime
    _guarded: Callable[..., Any] | None = field(default=None, init=False)
    _guarded_sync: Callable[..., Any] | None = field(default=None, init=False)

    @property
    def guarded(self) -> Callable[..., Any]:
        if self._guarded is None:
            if not hasattr(self.wrapped, "handle_async_request"):
                raise TypeError(f"{self.wrapped!r} is synchronous: an AsyncClient needs an async transport")
            send = Timeout(self.policies.attempt_timeout)(self.wrapped.handle_async_request)
            self._guarded = self._composed(self.policies.gate)(_attempt(send))
        return self._guarded

    @property
    def guarded_sync(self) -> Callable[..., Any]:
        if self._guarded_sync is None:
            if not hasattr(self.wrapped, "handle_request"):
                raise TypeError(f"{self.wrapped!r} is async: a Client needs a synchronous transport")
            limit = self.policies.limit
            if limit is not None and not isinstance(limit, Bulkhead):
                raise TypeError(
                    f"{type(limit).__name__} queues tasks, not threads: give a synchronous client a Bulkhead"
                )
            send = _limited(self.wrapped.handle_request, self.policies.attempt_timeout, self.runtime)
            self._guarded_sync = self._composed(_ThreadGate(self.policies.gate))(_attempt_sync(send))
        return self._guarded_sync

    def _composed(self, gate: Policy) -> Pipeline:
        policies = self.policies
        layers: list[Policy] = [policies.breaker, gate]
        if policies.attempts > 1:
            layers.insert(0, Retry(policies.attempts, on=worth_another, budget=policies.budget))
        if policies.limit is not None:
            layers.append(policies.limit)
        return Pipeline(*layers, runtime=self.runtime)


def _attempt(send: AsyncFn) -> AsyncFn:
    @bounded
    async def attempt(exchange: Exchange, propagation: Propagation | None) -> Any:
        await exchange.release()  # its connection goes back before this attempt takes one
        if propagation is not None:
            propagation.before_attempt()
        try:
            response = await send(exchange.request)
        except DeadlineExceededError:
            raise
        except Exception as error:
            raise failure(exchange.request, error) from error
        return exchange.answered(response)

    attempt.__qualname__ = "http.request"
    return attempt


def _attempt_sync(send: SyncFn) -> SyncFn:
    def attempt(exchange: Exchange, propagation: Propagation | None) -> Any:
        exchange.release_sync()
        if propagation is not None:
            propagation.before_attempt()
        try:
            response = send(exchange.request)
        except DeadlineExceededError:
            raise
        except Exception as error:
            raise failure(exchange.request, error) from error
        return exchange.answered(response)

    attempt.__qualname__ = "http.request"
    return attempt


def _limited(send: SyncFn, attempt_timeout: float | None, runtime: Runtime) -> SyncFn:
    """Return `send` with the client's timeouts shortened to what an attempt, or the Deadline, leaves."""

    def limited(request: Any) -> Any:
        at = Deadline.instant()
        left = math.inf if attempt_timeout is None else attempt_timeout
        if at != math.inf:
            left = min(left, at - runtime.clock.monotonic())
            if left <= 0:
                raise DeadlineExceededError("the deadline passed before the call was started", timeout=0.0)
        if left != math.inf:
            given = request.extensions.get("timeout") or {}
            phases = ("connect", "read", "write", "pool")
            shortened = {
                phase: left if given.get(phase) is None else min(left, given[phase]) for phase in phases
            }
            request.extensions = {**request.extensions, "timeout": shortened}
        try:
            return send(request)
        except Exception as error:
            if at != math.inf and runtime.clock.monotonic() >= at:
                raise DeadlineExceededError(
                    f"the deadline passed {left:.3g} s into the call", timeout=left
                ) from error
            raise

    return limited


class _ThreadGate(Policy):
    """The gate for threads: each one blocks until its turn."""

    rank = RetryAfterGate.rank

    def __init__(self, gate: RetryAfterGate) -> None:
        self._gate = gate

    def wrap_sync(self, fn: SyncFn) -> SyncFn:
        gate = self._gate

        def guarded(*args: Any, **kwargs: Any) -> Any:
            gate.enter_sync()
            try:
                result = fn(*args, **kwargs)
            except Exception as error:
                gate.failed(error)
                raise
            gate.succeeded()
            return result

        return guarded
