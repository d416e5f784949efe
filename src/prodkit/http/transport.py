"""A transport that puts the policies under an HTTP client: one line to adopt, per host, for httpx and httpx2.

::

    client = httpx.AsyncClient(transport=ResilientTransport(httpx.AsyncHTTPTransport()))

It works on what both libraries share (a request, a response, ``handle_async_request``) and imports neither, so one
class serves both: give it the transport of the library whose client uses it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import CallTimeoutError, DeadlineExceededError
from prodkit.policies.adaptive import AdaptiveLimit
from prodkit.policies.breaker import CircuitBreaker
from prodkit.policies.budget import RetryBudget
from prodkit.policies.bulkhead import Bulkhead
from prodkit.policies.deadline_guard import bounded
from prodkit.policies.gate import RetryAfterGate
from prodkit.policies.pipeline import Pipeline
from prodkit.policies.retry import Retry
from prodkit.policies.timeout import Timeout

__all__ = ["HostPolicies", "ResilientTransport", "default_policies", "says_ill", "says_overloaded"]

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""RFC 9110 §9.2.2: a second request does what one does."""

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that a later request may turn into an answer."""

ILL = frozenset({500, 502, 503, 504})
"""Statuses that say that the host is ill. Being throttled (429) is not illness."""

NEVER_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})
OURS = frozenset({"PoolTimeout", "UnsupportedProtocol", "LocalProtocolError"})
"""Failures on this side, which say nothing about the host."""

KEPT = 1000  # hosts


class Transport(Protocol):
    """What httpx and httpx2 call an async transport."""

    async def handle_async_request(self, request: Any) -> Any: ...
    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPolicies:
    """What guards the requests to one host; make your own to change the defaults.

    `attempts` counts the first one. `attempt_timeout` is in seconds and cancels an attempt; the client's own
    timeouts stay in force below it. `limit` is a Bulkhead or AdaptiveLimit, None for none. Statuses reach the
    policies as errors: give a breaker ``on=says_ill`` and an AdaptiveLimit ``overloaded=says_overloaded``.
    """

    breaker: CircuitBreaker
    gate: RetryAfterGate
    budget: RetryBudget
    attempts: int = 3
    attempt_timeout: float | None = 30.0
    limit: Bulkhead | AdaptiveLimit | None = None


def default_policies(host: str, runtime: Runtime) -> HostPolicies:
    """Five failures in a row open the host's breaker for 30 s; retries cost from a budget of their own."""
    return HostPolicies(
        breaker=CircuitBreaker(f"http {host}", open_for=30.0, open_jitter=0.2, on=says_ill, runtime=runtime),
        gate=RetryAfterGate(host, runtime=runtime),
        budget=RetryBudget(runtime=runtime),
    )


def says_ill(error: BaseException) -> bool:
    """Whether `error` speaks against the host: a 5xx, no answer, no connection. For a breaker's ``on``."""
    if not isinstance(error, _AttemptError):
        return isinstance(error, TimeoutError)
    if error.error is None:
        return error.response.status_code in ILL
    return not _is_one_of(error.error, OURS)


def says_overloaded(error: BaseException) -> bool:
    """Whether `error` means too much at once: a time-out or a 503. For an AdaptiveLimit's ``overloaded``."""
    response = error.response if isinstance(error, _AttemptError) else None
    return isinstance(error, TimeoutError) or (response is not None and response.status_code == 503)


class ResilientTransport:
    """Guards each host with a breaker, a Retry-After gate, retries on a budget, an attempt timeout and the Deadline.

    `wrapped` is the transport that does the work. Requests are repeated when their method is idempotent, or when
    they cannot have been sent, and only when their body can be sent again. When attempts are used up the last
    response, or the client library's own error, reaches the caller as it came; refusals are
    :class:`~prodkit.CircuitOpenError`, :class:`~prodkit.RateLimitedError` and
    :class:`~prodkit.BulkheadFullError`, time-outs of ours :class:`~prodkit.CallTimeoutError`. A request is judged
    by its status line; what goes wrong in the body is the reader's.

    `policies` makes the guard of a host on its first request; a thousand hosts are remembered, and one whose breaker
    refuses is never forgotten.
    """

    def __init__(
        self,
        wrapped: Transport,
        *,
        policies: Callable[[str, Runtime], HostPolicies] = default_policies,
        runtime: Runtime = SYSTEM,
    ) -> None:
        if not hasattr(wrapped, "handle_async_request"):
            raise TypeError(f"wrapped must be an async transport of httpx or httpx2, got {wrapped!r}")
        self.runtime = runtime
        self._wrapped = wrapped
        self._make = policies
        self._hosts: OrderedDict[str, _Host] = OrderedDict()

    async def handle_async_request(self, request: Any) -> Any:
        """One request of the client, in as many attempts as its host's policies allow."""
        exchange = _Exchange(request)
        try:
            return await self._host(request).guarded(exchange)
        except _AttemptError as failure:
            if failure.response is not None:
                exchange.rejected = None  # it is the answer
                return failure.response
            theirs = failure.theirs()
        finally:
            await exchange.release()
        try:
            raise theirs  # outside the handler: it keeps the cause that the library gave it
        finally:
            del theirs  # its traceback holds this frame

    def breaker(self, host: str) -> CircuitBreaker | None:
        """The breaker of `host` (``"api.example.org:443"``), for health checks; None before its first request."""
        known = self._hosts.get(host)
        return known.policies.breaker if known else None

    def _host(self, request: Any) -> _Host:
        url = request.url
        name = f"{url.host}:{url.port or (443 if url.scheme == 'https' else 80)}"
        known = self._hosts.get(name)
        if known is None:
            known = self._hosts[name] = _Host(self._make(name, self.runtime), self._wrapped, self.runtime)
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
        await self._wrapped.aclose()

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

    def __repr__(self) -> str:
        return f"ResilientTransport({self._wrapped!r}, hosts={len(self._hosts)})"


class _AttemptError(Exception):
    """An attempt that is worth another one, or that speaks of the host: a response, or an error of the library."""

    def __init__(self, *, response: Any = None, error: Exception | None = None, repeatable: bool) -> None:
        super().__init__()
        self.response = response
        self.error = error
        self.retry_after = None if response is None else response.headers.get("retry-after")
        self.repeatable = repeatable

    def theirs(self) -> Exception:
        """The error as it would have been raised without us, and what the retries noted on it."""
        error = self.error or RuntimeError("a response is no error")
        for note in getattr(self, "__notes__", ()):
            error.add_note(note)
        return error


class _AttemptTimeoutError(_AttemptError, TimeoutError):
    """An attempt without an answer in time, by whichever limit: budgets and limits price it as such."""


class _Exchange:
    """A request and the response that a retry has rejected, which holds a connection until it is closed."""

    __slots__ = ("rejected", "request")

    def __init__(self, request: Any) -> None:
        self.request = request
        self.rejected: Any = None

    async def release(self) -> None:
        rejected, self.rejected = self.rejected, None
        if rejected is not None:
            with suppress(Exception):  # a connection that breaks while it is given up is given up
                await rejected.aclose()


@dataclass(slots=True)
class _Host:
    """The composed call to one host, built once."""

    policies: HostPolicies
    wrapped: Transport
    runtime: Runtime
    guarded: Callable[[_Exchange], Any] = field(init=False)
    _send: Callable[[Any], Any] = field(init=False)

    def __post_init__(self) -> None:
        policies = self.policies
        self._send = Timeout(policies.attempt_timeout)(self.wrapped.handle_async_request)
        layers: list[Any] = [policies.breaker, policies.gate]
        if policies.attempts > 1:
            layers.insert(0, Retry(policies.attempts, on=_worth_another, budget=policies.budget))
        if policies.limit is not None:
            layers.append(policies.limit)
        self.guarded = Pipeline(*layers, runtime=self.runtime)(self._attempt)

    @bounded
    async def _attempt(self, exchange: _Exchange) -> Any:
        await exchange.release()  # its connection goes back before this attempt takes one
        request = exchange.request
        try:
            response = await self._send(request)
        except DeadlineExceededError:
            raise
        except Exception as error:
            late = isinstance(error, CallTimeoutError) or _is_one_of(error, {"TimeoutException"})
            kind = _AttemptTimeoutError if late else _AttemptError
            raise kind(error=error, repeatable=_repeatable(request, error)) from error
        if response.status_code in RETRIED:
            exchange.rejected = response
            raise _AttemptError(response=response, repeatable=_repeatable(request, None))
        return response


def _repeatable(request: Any, error: Exception | None) -> bool:
    try:
        _ = request.content  # both libraries raise where the body is a stream, which can be sent only once
    except Exception:  # noqa: BLE001 - their classes differ, the meaning does not
        return False
    return request.method.upper() in IDEMPOTENT or (error is not None and _is_one_of(error, NEVER_SENT))


def _is_one_of(error: Exception, names: frozenset[str] | set[str]) -> bool:
    return any(kind.__name__ in names for kind in type(error).__mro__)


def _worth_another(error: Exception) -> bool:
    return isinstance(error, _AttemptError) and error.repeatable
