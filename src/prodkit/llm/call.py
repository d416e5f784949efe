"""The admission of one call: deadline, fallback chain, queue, permits. Transport is in ``transport.py``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from prodkit.core.deadline import Deadline
from prodkit.errors import (
    BudgetExceededError,
    BulkheadFullError,
    CircuitOpenError,
    InvalidError,
    LlmError,
)
from prodkit.llm.attempt import OpenAttempt
from prodkit.llm.engine import Engine
from prodkit.llm.failures import Failure, FaultError
from prodkit.llm.fallback_chain import FallbackChain, GiveUp, Go, Hold
from prodkit.llm.options import Options
from prodkit.llm.pricing import estimate_input, worst_case
from prodkit.llm.report import Report
from prodkit.llm.results import Usage
from prodkit.policies.permit import Permit

__all__ = ["Call"]

_NEVER: Final = math.inf
_OF_MESSAGES: Final = frozenset(("create", "stream", "count_tokens"))
_UNSURE: Final = frozenset(("connection", "truncated", "bad_response", "attempt_timeout", "server_error"))
"""Failures after which the server may have processed the request."""
_ACCOUNT: Final = frozenset(("authentication", "permission", "billing", "spend_limit"))
"""Failures of a key or an account: each model of the same provider would fail likewise."""
_STALE: Final = (
    5  # kept-alive connections in one call that may turn out to be closed before that is a failure
)
_SOON: Final = (
    1.0  # seconds: a connection closed while it was idle fails at once, not while an answer is awaited
)


class Call:
    """One call of the client, from its first wait to its last attempt.

    Args:
        engine: the state of the client.
        params: the body of the request; its ``model`` may name the position in the chain.
        operation: named in the events.
        timeout: seconds for the whole call; None for a stream.
        caller: accounts the cost to this name.
        once: the request must not be processed twice: it is repeated only when it cannot have been.
    """

    def __init__(
        self,
        engine: Engine,
        params: dict[str, Any],
        operation: str,
        *,
        timeout: float | None,
        caller: str = "",
        once: bool = False,
    ) -> None:
        if engine.lifetime.closed:
            raise RuntimeError("this llm client is closed")
        model = params.pop("model", None)
        start = 0 if model is None else engine.start(model)
        if operation in _OF_MESSAGES:
            check_params(params, operation)
        self._once = once
        self.engine = engine
        self.options: Options = engine.options
        self.params = params
        self.now: Callable[[], float] = engine.now
        self.began: float = self.now()
        self._until = _NEVER if timeout is None else self.began + timeout
        self.chain: FallbackChain = FallbackChain(engine.max_waits, self.options.attempts, start)
        self._need = (1.0, float(estimate_input(params)), float(params.get("max_tokens", 0)))
        call_id = f"{engine.runtime.rng.getrandbits(64):016x}"
        requested = engine.states[start].label
        self.report: Report = Report(engine, params, operation, requested, caller, self.began, call_id)
        self._last: Failure | None = None
        self._stale = 0

    # ------------------------------------------------------------------- time
    @property
    def until(self) -> float:
        """The instant by which the call has to be over."""
        return min(self._until, Deadline.instant())

    def late(self) -> Failure:
        """Return the failure of that instant: the caller's deadline, or the call's own limit."""
        return Failure("deadline" if Deadline.instant() <= self._until else "timeout")

    # --------------------------------------------------------------- admission
    async def next(self, params: Mapping[str, Any] | None = None) -> OpenAttempt:
        """Wait for the next attempt's turn and return its permit.

        Args:
            params: the body of a continuation; None sends the call's own.

        Raises:
            LlmError: no model is left, or no time.
            BudgetExceededError: it would cost too much.
        """
        while True:
            if self.engine.lifetime.closed:
                raise self.report.error(Failure("closed"))
            asked = self.now()
            remaining = self.until - asked
            if (
                self._until == _NEVER
            ):  # a stream has no total limit, but it does not wait for its turn without one
                remaining = min(remaining, self.options.timeout)
            step = self.chain.step(self.engine.states, self._need, asked, remaining)
            if isinstance(step, GiveUp):
                raise self.failed(step)
            attempt = await self._admit(step, asked, self.params if params is None else params)
            if attempt is not None:
                return attempt

    async def _admit(self, step: Go, asked: float, params: Mapping[str, Any]) -> OpenAttempt | None:
        """Wait, and take everything that an attempt needs, or nothing."""
        engine, state = self.engine, self.engine.states[step.index]
        limits, reason = state.limits, step.reason
        reservation = limits.take(self._need, asked)
        queued, slot, attempt = max(step.wait, reservation.wait), False, None
        try:
            if queued > 0:
                self.report.scheduled(
                    state.label,
                    attempt=self.chain.tries + 1,
                    attempts=self.options.attempts,
                    wait=queued,
                    reason=reason or "rate",
                    after="" if self._last is None else self._last.code,
                )
                await engine.sleep(queued)
            if not (slot := engine.slots.enter()):
                reason = reason or "queue"
                await self._queue()
                slot = True
            if (
                engine.lifetime.closed
                or state.cool_until > self.now()
                or (limits.known and limits.outdated(reservation))
            ):
                return None  # another call was asked to wait in the meantime, or the limits became known
            try:
                permit = await state.breaker.admit()
            except CircuitOpenError as error:
                self.chain.refused(Hold(math.inf if error.retry_after is None else error.retry_after, "open"))
                return None
            model = state.model
            adapted = {**params, "model": model.name} if model.plain else model.adapted(params)
            made = OpenAttempt(
                engine, self.report, state, permit, adapted, reservation, asked=asked, wait_reason=reason
            )
            if model.price is not None and (self.options.budget is not None or engine.ledger is not None):
                await self._reserve(made)
            attempt = made
        finally:
            if attempt is None:
                limits.give_back(reservation)
                if slot:
                    engine.slots.leave()
        limits.sent(reservation, self.now())
        self.chain.tries += 1
        self.chain.backoff = 0.0
        if self.options.hedge_after is not None:
            engine.hedges.sent()
        return attempt

    async def _queue(self) -> None:
        slots = self.engine.slots
        refusal = await slots.wait(min(self.until, self.now() + self.options.timeout))
        if refusal is None:
            return
        if self.report.attempts or self.now() >= self.until:
            raise self.failed(GiveUp(None, late=True, reasons=()))
        self.report.finished("pool")
        cause = "the queue is full" if refusal == "full" else "no slot became free in time"
        raise BulkheadFullError(
            f"{slots.limit} API calls in flight, {slots.waiting} queued: {cause}", bulkhead="llm"
        )

    async def _reserve(self, attempt: OpenAttempt) -> None:
        """Reserve the worst case of the attempt, in the budget and in the ledger."""
        price, budget, ledger = attempt.state.model.price, self.options.budget, self.engine.ledger
        assert price is not None
        amount = worst_case(attempt.params, price)
        try:
            if budget is not None:
                budget.reserve(amount)
                attempt.reserved = amount
            if ledger is not None:
                attempt.account = await ledger.reserve(self.report.caller, amount)
        except BaseException as error:
            if budget is not None and attempt.reserved:
                budget.settle(attempt.reserved, 0.0)
            attempt.cancel()
            self.report.finished("budget" if isinstance(error, BudgetExceededError) else "cancelled")
            raise

    def hedge(self, first: OpenAttempt) -> OpenAttempt | None:
        """Return the permit for a second request beside `first`, if none objects; it waits for nothing.

        With a ledger, :meth:`account` is to be awaited before it is sent.
        """
        engine, state = self.engine, first.state
        if state.breaker.state != "closed" or state.hold(self._need, self.now()).seconds > 0:
            return None
        if not engine.hedges.take() or not engine.slots.enter():
            return None
        permit: Permit = state.breaker.acquire()
        now = self.now()
        reservation = state.limits.take(self._need, now)
        attempt = OpenAttempt(
            engine, self.report, state, permit, first.params, reservation, asked=now, wait_reason="hedge"
        )
        attempt.hedge, attempt.wait_reason, attempt.waited = True, "hedge", 0.0
        if self.options.budget is not None:
            try:
                self.options.budget.reserve(first.reserved)
            except BudgetExceededError:
                attempt.cancel()
                engine.slots.leave()
                state.limits.give_back(reservation)
                return None
            attempt.reserved = first.reserved
        state.limits.sent(reservation, now)
        return attempt

    async def account(self, hedge: OpenAttempt) -> None:
        """Reserve the worst case of a second request in the ledger.

        Raises:
            FaultError: the caller's budget of the day does not allow it; the permit was given back.
        """
        ledger, price = self.engine.ledger, hedge.state.model.price
        if ledger is None or price is None:
            return
        try:
            hedge.account = await ledger.reserve(self.report.caller, worst_case(hedge.params, price))
        except BaseException as error:
            hedge.settle(None, Usage(), cancelled=True, recorded=False)
            if isinstance(error, BudgetExceededError):
                raise FaultError(Failure("local", error_type="budget")) from None
            raise

    # ---------------------------------------------------------------- outcomes
    def failed_attempt(self, attempt: OpenAttempt, failure: Failure, usage: Usage) -> None:
        """Settle a failed attempt and take its failure into the chain.

        A connection that was kept alive and turns out to be closed costs no attempt and no wait: the next request
        goes out at once, on another connection.
        """
        late = attempt.status is not None or self.now() - attempt.started > _SOON or self._stale >= _STALE
        # of a request that may go out once: the server may have read all of it
        late = late or (self._once and failure.error_type != "WriteError")
        if failure.reused and late:
            failure = replace(failure, reused=False, unsent=False)
        attempt.settle(failure, usage, recorded=not failure.unsent)
        if failure.reused and not self.engine.lifetime.closed:
            self._stale += 1
            self.chain.tries -= 1  # it was none
        else:
            self.after(failure)

    def after(self, failure: Failure) -> None:
        """Take the failure of a settled attempt into the chain."""
        if self.engine.lifetime.closed:
            failure = Failure("closed")
        self._last = failure
        other = self.engine.elsewhere.get(self.chain.index)
        unreachable = other is not None and failure.error_type.startswith("Connect")
        if other is not None and failure.code in _ACCOUNT:
            self.chain.leave(other)
        elif failure.code == "refusal" or unreachable:
            self.chain.leave()
        elif self._once and failure.code in _UNSURE and not failure.error_type.startswith("Connect"):
            self.chain.end()
        else:
            self.chain.failed(failure, self.options.wait(max(1, self.chain.tries), self.engine.runtime.rng))

    @property
    def last_model(self) -> bool:
        """True when no other model is left to fall back to."""
        return self.chain.index >= len(self.engine.states) - 1

    def failed(self, end: GiveUp, partial: Mapping[str, Any] | None = None) -> LlmError:
        """Return the error with which the call ends."""
        failure = self._last
        if failure is None and end.late and not end.reasons:
            failure = self.late()
        return self.report.error(failure, end, partial)


def check_params(params: Mapping[str, Any], operation: str = "create") -> None:
    """Raise InvalidError for parameters that cannot be sent."""
    if "stream" in params:
        raise InvalidError(
            "stream= is not accepted here: use create() for a whole answer and stream() for a stream"
        )
    limit = params.get("max_tokens")
    if operation != "count_tokens" and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise InvalidError(f"max_tokens must be an integer of at least 1, got {limit!r}")
    messages = params.get("messages")
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise InvalidError("messages must be a list of at least one message")
