"""One attempt: the permit to send one HTTP request, settled exactly once, and the record that it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prodkit.llm.engine import Engine
from prodkit.llm.failures import Failure
from prodkit.llm.model_state import ModelState
from prodkit.llm.rate_limits import Reservation
from prodkit.llm.report import Report
from prodkit.llm.results import Attempt, Usage
from prodkit.policies.permit import Permit

__all__ = ["OpenAttempt"]


class OpenAttempt:
    """The permit to send one HTTP request: slot, breaker permit, share of the rate, money.

    It is settled exactly once; a second settlement does nothing.
    """

    __slots__ = (
        "_engine", "_open", "_permit", "_report", "account", "breaker", "first_content", "hedge", "label", "params",
        "request_id", "reservation", "reserved", "resumed", "started", "state", "status", "wait_reason", "waited",
    )  # fmt: skip

    def __init__(
        self,
        engine: Engine,
        report: Report,
        state: ModelState,
        permit: Permit,
        params: dict[str, Any],
        reservation: Reservation,
        *,
        asked: float,
        wait_reason: str,
    ) -> None:
        self._engine = engine
        self._report = report
        self._permit = permit
        self._open = True
        self.state: ModelState = state
        self.label: str = state.label
        self.params: dict[str, Any] = params
        self.reservation: Reservation | None = reservation
        self.breaker: str = state.breaker.state if state.breaker.circuit.guarding else "closed"
        self.started: float = engine.now()
        self.waited: float = self.started - asked
        self.wait_reason: str = wait_reason if self.waited > 0 else ""
        self.first_content: float | None = None
        self.status: int | None = None
        self.request_id: str = ""
        self.reserved: float = 0.0
        self.account: Any = None
        self.resumed: bool = False
        self.hedge: bool = False

    def responded(self, status: int, headers: Mapping[str, str]) -> None:
        """Take in the headers of the response at once: their rates grow stale while a stream is read."""
        self.status = status
        self.request_id = headers.get("request-id", "")
        if (reservation := self.reservation) is not None:
            self.reservation = None
            self.state.limits.landed(reservation, headers, self._engine.now())

    def prove(self) -> None:
        """Tell a breaker that probes that content has begun: the stream holds no slot while it is read."""
        if self._open:
            self._permit.prove()

    def cancel(self) -> None:
        """Give everything back unrecorded: the request was not sent."""
        self._open = False
        self._permit.cancel()

    def settle(
        self, failure: Failure | None, usage: Usage, *, cancelled: bool = False, recorded: bool = True
    ) -> None:
        """Give back slot, permit and money, and record the attempt.

        Args:
            failure: None for a success.
            usage: the token counts, estimated where the attempt failed.
            cancelled: the caller went away; `failure` is ignored by the breaker.
            recorded: False for a request that never reached the server.
        """
        if not self._open:
            return
        self._open = False
        engine, state = self._engine, self.state
        now = engine.now()
        if failure is None and not cancelled:
            self._permit.succeed()
        elif failure is not None and not cancelled and self._counts(failure, now):
            self._permit.fail()
        else:
            self._permit.cancel()
        if self.reservation is not None:
            state.limits.landed(self.reservation, None, now)
        if failure is not None:
            state.refused(failure, now)
        engine.slots.leave()
        price = state.model.price
        cost = None if price is None else price.of(usage)
        if engine.options.budget is not None:
            engine.options.budget.settle(self.reserved, cost or 0.0)
        if not recorded:
            if self.account is not None and engine.ledger is not None:
                engine.ledger.settle(
                    self.account, self._report.caller, Attempt(number=0, model=self.label, outcome="unsent")
                )
            return
        provider = state.provider
        attempt = Attempt(
            number=len(self._report.attempts) + 1,
            model=state.label,
            provider="anthropic" if provider is None else provider.name,
            outcome="cancelled" if cancelled else "ok" if failure is None else failure.code,
            status=self.status,
            request_id=self.request_id,
            error_type=failure.error_type if failure else "",
            error_code=failure.error_code if failure else "",
            waited=self.waited,
            wait_reason=self.wait_reason,
            duration=now - self.started,
            first_content=self.first_content,
            usage=usage,
            cost=cost,
            resumed=self.resumed,
            hedge=self.hedge,
            breaker=self.breaker,
        )
        if engine.ledger is not None:
            engine.ledger.settle(self.account, self._report.caller, attempt)
        self._report.record(attempt, failure)

    def _counts(self, failure: Failure, now: float) -> bool:
        if failure.reused and failure.code == "connection":
            return False  # a connection kept alive for too long says nothing about the model
        if (
            failure.code == "timeout"
        ):  # the call ran out of time: this attempt is to blame if it had most of it
            return now - self.started >= self._engine.options.timeout / 2
        return failure.verdict.counts
