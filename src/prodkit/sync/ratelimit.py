"""The rate limiter for synchronous code."""

from __future__ import annotations

from prodkit import ratelimit as asynchronous
from prodkit.ratelimit import Decision, Limit
from prodkit.ratelimit.limit import Key
from prodkit.sync.service import Part, on_loop

__all__ = ["RateLimiter"]


class RateLimiter(Part):
    """A :class:`prodkit.ratelimit.RateLimiter` for threads.

    ::

        limiter = sync.RateLimiter(ratelimit.RateLimiter(redis))
        decision = limiter.check((ratelimit.Limit("10/hour", name="upload"), user_id))

    Args:
        limiter: the asynchronous limiter.
    """

    def __init__(self, limiter: asynchronous.RateLimiter) -> None:
        super().__init__(limiter, "check", "a prodkit.ratelimit.RateLimiter")
        self._limiter = limiter

    async def start(self) -> None:
        """Do nothing: a limiter has nothing to open; its link to Redis is a resource of its own."""

    async def aclose(self) -> None:
        """Do nothing, as :meth:`start`."""

    def check(self, *asks: tuple[Limit, Key], cost: int = 1) -> Decision:
        """Take `cost` from every limit, or from none of them when one has not that much left.

        Args:
            asks: pairs of a limit and the caller to count.
            cost: the quota to take; 0 looks without taking.
        """
        return on_loop(self._limiter.check, *asks, cost=cost)

    def refund(self, decision: Decision) -> None:
        """Give back the quota that `decision` took."""
        on_loop(self._limiter.refund, decision)

    def reset(self, limit: Limit, key: Key) -> None:
        """Forget the quota that `key` has used of `limit`."""
        on_loop(self._limiter.reset, limit, key)

    def __repr__(self) -> str:
        return f"sync.{self._limiter!r}"
