"""The right to send one request, and what an attempt leaves behind when it is given back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prodkit.llm.classify import Failure
from prodkit.llm.lanes import Lane
from prodkit.llm.limits import Share
from prodkit.llm.records import Usage
from prodkit.policies.permit import Permit

if TYPE_CHECKING:
    from prodkit.llm.call import Call

__all__ = ["FaultError", "Ticket"]


class FaultError(Exception):
    """Inside of this package: an attempt failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


class Ticket:
    """The right to send one request, to be settled exactly once; what is settled twice counts once."""

    __slots__ = (
        "_landed", "_open", "_permit", "breaker", "call", "first_content", "hedge", "lane", "number", "params",
        "request_id", "reserved", "resumed", "share", "started", "status", "wait_reason", "waited",
    )  # fmt: skip

    def __init__(
        self,
        call: Call,
        lane: Lane,
        permit: Permit,
        params: dict[str, Any],
        *,
        waited: float,
        wait_reason: str,
    ) -> None:
        self.call = call
        self.lane = lane
        self.params = params
        self._permit = permit
        self.number = 0
        self.waited = waited
        self.wait_reason = wait_reason
        self.breaker: str = lane.breaker.state
        self.started = call.now()
        self.first_content: float | None = None
        self.status: int | None = None
        self.request_id = ""
        self.reserved = 0.0
        self.resumed = False
        self.hedge = False
        self.share: Share | None = None
        self._open = True
        self._landed = False

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """The headers of the response have come."""
        self.status = status
        self.request_id = headers.get("request-id", "")
        if self.share is not None:  # now: what they say of the rates grows old while a stream is read
            self._land(self.share)
            self.lane.limits.learn(headers, self.share, self.call.now())

    def _land(self, share: Share) -> None:
        if not self._landed:
            self._landed = True
            self.lane.limits.landed(share)

    def settle(self, failure: Failure | None, usage: Usage, *, cancelled: bool = False) -> None:
        """The attempt is over: its place, permit and money are given back, it is recorded and told."""
        if not self._open:
            return
        self._open = False
        call, lane = self.call, self.lane
        if cancelled:
            self._permit.cancel()
        elif failure is None:
            self._permit.succeed()
        elif self._counts(failure):
            self._permit.fail()
        else:
            self._permit.cancel()
        if self.share is not None:
            self._land(self.share)
        if failure is not None:
            lane.refused(failure, call.now())
        call.slots.leave()
        cost = None if lane.model.price is None else lane.model.price.of(usage)
        if call.options.budget is not None:
            call.options.budget.settle(self.reserved, cost or 0.0)
        call.record(self, failure, usage, cost, cancelled=cancelled)

    def _counts(self, failure: Failure) -> bool:
        if (
            failure.code == "timeout"
        ):  # the call ran out of time: this attempt is to blame if it had most of it
            return self.call.now() - self.started >= self.call.options.timeout / 2
        return failure.verdict.counts
