"""One call and its attempts: waits, permits, places, money, records, events. What is sent and read is not its
business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from prodkit.core.deadline import Deadline
from prodkit.core.runtime import Runtime
from prodkit.errors import BudgetExceededError, BulkheadFullError, CircuitOpenError, LlmError
from prodkit.llm.classify import Failure
from prodkit.llm.cost import worst_case
from prodkit.llm.errors import LlmCircuitOpenError, LlmDeadlineError, LlmRateLimitedError, LlmTimeoutError
from prodkit.llm.events import LlmAttempt, LlmFinished
from prodkit.llm.lanes import Lane
from prodkit.llm.limits import HedgeShare
from prodkit.llm.options import Options
from prodkit.llm.places import Places
from prodkit.llm.plan import GiveUp, Hold, Plan
from prodkit.llm.records import Attempt, Usage
from prodkit.llm.redaction import clean
from prodkit.llm.ticket import Ticket

__all__ = ["Call"]

_NEVER: Final = math.inf


class Call:
    """One call of the client from its first wait to its last record."""

    def __init__(
        self,
        params: Mapping[str, Any],
        *,
        options: Options,
        lanes: Sequence[Lane],
        slots: Places,
        hedges: HedgeShare,
        runtime: Runtime,
        timeout: float | None,
        start: int = 0,
        operation: str = "create",
        streamed: bool = False,
        key: str = "",
    ) -> None:
        self.params = params
        self.options = options
        self.lanes = lanes
        self.slots = slots
        self.hedges = hedges
        self.runtime = runtime
        self.now = runtime.clock.monotonic
        self.operation = operation
        self.streamed = streamed
        self.requested = lanes[start].model.name
        self.attempts: list[Attempt] = []
        self.id = f"{runtime.rng.getrandbits(64):016x}"
        self.began = self.now()
        self._timeout = timeout
        self._until = _NEVER if timeout is None else self.began + timeout
        self.plan = Plan(len(lanes), attempts=options.attempts, patience=options.patience, start=start)
        self._needs = [lane.need(params) for lane in lanes]
        self._last: Failure | None = None
        self._finished = False
        self._key = key

    # ------------------------------------------------------------------- time
    @property
    def until(self) -> float:
        """The instant by which the call has to be over."""
        return min(self._until, Deadline.instant())

    def late(self) -> Failure:
        """What has happened when that instant comes: the caller's deadline, or our own limit."""
        return Failure("deadline" if Deadline.instant() <= self._until else "timeout")

    def _remaining(self) -> float:
        left = self.until - self.now()
        # A stream has no total limit, but it does not wait for its turn without one.
        return min(left, self.options.timeout) if self._timeout is None else left

    # ---------------------------------------------------------------- attempts
    async def next(self, params: Mapping[str, Any] | None = None) -> Ticket:
        """Waits for the next attempt's turn.

        Raises:
            LlmError: there is no next attempt.
            BudgetExceededError: it would cost too much.
        """
        while True:
            now = self.now()
            step = self.plan.step(self._hold, self._remaining())
            if isinstance(step, GiveUp):
                raise self.failed(step)
            ticket = await self._enter(step.index, now, step.wait, step.reason, params)
            if ticket is not None:
                return ticket

    def _hold(self, index: int) -> Hold:
        return self.lanes[index].hold(self._needs[index], self.now())

    async def _enter(
        self, index: int, asked: float, wait: float, reason: str, params: Mapping[str, Any] | None
    ) -> Ticket | None:
        """Waits, and takes everything that an attempt needs, or nothing."""
        lane, need = self.lanes[index], self._needs[index]
        share = lane.limits.take(need, asked)
        wait = max(wait, share.wait)
        sent = False
        try:
            if wait > 0:
                await self.runtime.clock.sleep(wait)
            if not self.slots.enter():
                reason = reason or "queue"
                await self._queue()
            try:
                if lane.gate.not_before > self.now() or lane.limits.outdated(share):
                    return None  # meanwhile somebody was told to wait, or what the limits are
                ticket = await self._admitted(lane, params, asked, reason)
                if ticket is not None:
                    sent, ticket.share = True, share
                return ticket
            finally:
                if not sent:
                    self.slots.leave()
        finally:
            lane.limits.sent(share, self.now()) if sent else lane.limits.give_back(share)

    async def _queue(self) -> None:
        refusal = await self.slots.wait(min(self.until, self.now() + self.options.timeout))
        if refusal is None:
            return
        if self.attempts or self.now() >= self.until:
            raise self.failed(GiveUp(None, late=True, reasons=()))
        self._end("pool")
        raise BulkheadFullError(
            f"{self.slots.limit} calls to the API are under way and {self.slots.waiting} wait: "
            f"{'the line is full' if refusal == 'full' else 'no place became free in time'}",
            bulkhead="llm",
        )

    async def _admitted(
        self, lane: Lane, params: Mapping[str, Any] | None, asked: float, reason: str
    ) -> Ticket | None:
        adapted = lane.model.adapted(self.params if params is None else params)
        try:
            permit = await lane.admit()
        except CircuitOpenError as error:
            self.plan.refused(Hold(math.inf if error.retry_after is None else error.retry_after, "open"))
            return None
        waited = self.now() - asked
        ticket = Ticket(self, lane, permit, adapted, waited=waited, wait_reason=reason if waited > 0 else "")
        if (budget := self.options.budget) is not None and lane.model.price is not None:
            ticket.reserved = worst_case(adapted, lane.model.price)
            try:
                budget.reserve(ticket.reserved)
            except BaseException:
                permit.cancel()
                self._end("budget")
                raise
        self.plan.sent()
        self.hedges.asked()
        return ticket

    def hedge(self, first: Ticket) -> Ticket | None:
        """A ticket for a second request beside `first`, if nothing speaks against it; waits for nothing."""
        lane, index = first.lane, self.plan.index
        if lane.breaker.state != "closed" or lane.hold(self._needs[index], self.now()).seconds > 0:
            return None
        if not self.hedges.take() or not self.slots.enter():
            return None
        permit = lane.breaker.acquire()
        share = lane.limits.take(self._needs[index], self.now())
        ticket = Ticket(self, lane, permit, first.params, waited=0.0, wait_reason="hedge")
        ticket.hedge = True
        if (budget := self.options.budget) is not None:
            try:
                budget.reserve(first.reserved)
            except BudgetExceededError:
                permit.cancel()
                self.slots.leave()
                lane.limits.give_back(share)
                return None
            ticket.reserved = first.reserved
        lane.limits.sent(share, self.now())
        ticket.share = share
        return ticket

    def after(self, failure: Failure) -> None:
        """An attempt has failed: the plan learns it."""
        self._last = failure
        if failure.code == "refusal":
            self.plan.refuse_on()
            return
        self.plan.failed(failure, self.options.wait(self.plan.tries or 1, self.runtime.rng.random()))

    def record(
        self, ticket: Ticket, failure: Failure | None, usage: Usage, cost: float | None, *, cancelled: bool
    ) -> None:
        """Writes the record of an attempt and tells it."""
        outcome = "cancelled" if cancelled else "ok" if failure is None else failure.code
        attempt = Attempt(
            number=len(self.attempts) + 1,
            model=ticket.lane.model.name,
            outcome=outcome,
            status=ticket.status,
            request_id=ticket.request_id,
            error_type=failure.error_type if failure else "",
            error_code=failure.error_code if failure else "",
            waited=ticket.waited,
            wait_reason=ticket.wait_reason,
            duration=self.now() - ticket.started,
            first_content=ticket.first_content,
            usage=usage,
            cost=cost,
            resumed=ticket.resumed,
            hedge=ticket.hedge,
            breaker=ticket.breaker,
        )
        self.attempts.append(attempt)
        if (events := self.runtime.events).listened(LlmAttempt):
            events.emit(
                LlmAttempt(
                    call_id=self.id,
                    number=attempt.number,
                    model=attempt.model,
                    outcome=outcome,
                    status=attempt.status,
                    request_id=attempt.request_id,
                    error_type=attempt.error_type,
                    waited=attempt.waited,
                    wait_reason=attempt.wait_reason,
                    first_content=attempt.first_content,
                    duration=attempt.duration,
                    usage=usage,
                    cost=cost,
                    resumed=attempt.resumed,
                    hedge=attempt.hedge,
                    breaker=attempt.breaker,
                    fallback_from=self.requested if attempt.model != self.requested else "",
                    alert=failure is not None and not cancelled and failure.verdict.alert,
                )
            )

    @property
    def last_model(self) -> bool:
        """Whether no other model is left to fall back to."""
        return self.plan.index >= len(self.lanes) - 1

    # --------------------------------------------------------------------- end
    @property
    def usage(self) -> Usage:
        """The sum over all attempts."""
        return sum((attempt.usage for attempt in self.attempts), Usage())

    @property
    def cost(self) -> float | None:
        """The sum over all attempts; None where a price is not known."""
        costs = [attempt.cost for attempt in self.attempts]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    def finished(
        self, outcome: str, *, model: str = "", stop_reason: str | None = None, cached: bool = False
    ) -> None:
        """Tells the end of the call, once."""
        if self._finished:
            return
        self._finished = True
        if (events := self.runtime.events).listened(LlmFinished):
            first = next((a.first_content for a in self.attempts if a.first_content is not None), None)
            events.emit(
                LlmFinished(
                    call_id=self.id,
                    operation=self.operation,
                    outcome=outcome,
                    model=model or (self.attempts[-1].model if self.attempts else self.requested),
                    requested_model=self.requested,
                    attempts=len(self.attempts),
                    duration=self.now() - self.began,
                    first_content=first,
                    usage=self.usage,
                    cost=self.cost,
                    stop_reason=stop_reason,
                    streamed=self.streamed,
                    cached=cached,
                )
            )

    def _end(self, code: str) -> None:
        self.finished(code)

    def failed(self, end: GiveUp, partial: Mapping[str, Any] | None = None) -> LlmError:
        """The error with which the call ends."""
        failure = self._last
        if failure is None and end.late and not end.reasons:
            failure = self.late()
        return self.error(failure, end, partial)

    def error(
        self, failure: Failure | None, end: GiveUp | None = None, partial: Mapping[str, Any] | None = None
    ) -> LlmError:
        """The error for `failure`; None means that nothing could be sent."""
        kind, code = _kind(failure, end)
        retry_after = end.retry_after if end else None
        if failure is not None and failure.retry_after is not None and retry_after is None:
            retry_after = failure.retry_after
        if retry_after == math.inf:
            retry_after = None
        self._end(code)
        return kind(
            self._sentence(failure, code, retry_after),
            retry_after=retry_after,
            attempts=tuple(self.attempts),
            partial=partial,
            code=code,
        )

    def _sentence(self, failure: Failure | None, code: str, retry_after: float | None) -> str:
        if failure is None and not self.attempts:
            told = (
                f"no model of {', '.join(lane.model.name for lane in self.lanes)} may be asked now ({code})"
            )
            return told if retry_after is None else f"{told}; try again in {retry_after:.0f} s"
        tried: dict[str, list[str]] = {}
        for attempt in self.attempts:
            status = f" {attempt.status}" if attempt.status not in (None, 200) else ""
            tried.setdefault(attempt.model, []).append(f"{attempt.outcome}{status}")
        told = "; ".join(f"{model}: {', '.join(outcomes)}" for model, outcomes in tried.items())
        sentence = f"no whole answer ({code}) after {len(self.attempts)} request(s) in {self.now() - self.began:.1f} s"
        sentence += f" [{told}]" if told else ""
        if (
            failure is not None
            and failure.detail
            and (detail := clean(failure.detail, self.params, self._key))
        ):
            sentence += f": {detail}"
        return sentence


def _kind(failure: Failure | None, end: GiveUp | None) -> tuple[type[LlmError], str]:
    if failure is None:
        if end is not None and "open" in end.reasons:
            return LlmCircuitOpenError, "circuit_open"
        return LlmRateLimitedError, "rate_limited"
    if failure.code == "timeout":
        return LlmTimeoutError, failure.code
    if failure.code == "deadline":
        return LlmDeadlineError, failure.code
    return LlmError, failure.code
