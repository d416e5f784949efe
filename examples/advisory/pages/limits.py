"""Limits on what a visitor may do, with a page that says when to come back."""

from __future__ import annotations

from starlette.requests import Request

from advisory.services import services
from prodkit import ratelimit

__all__ = ["TooManyError", "take"]


class TooManyError(Exception):
    """A limit was reached; the handler answers 429 with the decision's wait, or 503 without a counter."""

    def __init__(self, decision: ratelimit.Decision) -> None:
        super().__init__("limit reached")
        self.decision = decision


async def take(request: Request, *limits: tuple[ratelimit.Limit, str]) -> ratelimit.Decision:
    """Counts one use of each limit, or none of them and raises TooManyError."""
    decision = await services(request).limiter.check(*limits)
    if not decision.allowed:
        raise TooManyError(decision)
    return decision
