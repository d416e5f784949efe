"""RetryBudget: what a service may spend on second tries, so that a fault of another does not become a storm.

Retries that nobody pays for are worse than none: they multiply the load of a dependency that is already
slow, and keep it down after the fault has gone. Here every success earns a fraction of a token, every
further attempt costs some, and a timeout costs more than a quick error, because it also held a connection, a
worker and the caller.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.policies.retry_after import hint_of

__all__ = ["Prices", "RetryBudget", "Tokens"]


@dataclass(frozen=True, slots=True)
class Prices:
    """Tokens that one more attempt costs, by what the last one came to.

    A hedge costs what a timeout does: it is bought when answers are slow. A throttled call is free: it comes
    back when the server said, which is the server's own pacing.
    """

    error: float = 1.0
    timeout: float = 5.0
    hedge: float = 5.0
    throttled: float = 0.0

    def __post_init__(self) -> None:
        problems = [
            f"{name}={price!r} must be 0 or more"
            for name in self.__slots__
            if not 0 <= (price := getattr(self, name)) < math.inf
        ]
        if problems:
            raise ValueError("; ".join(problems))

    def of(self, error: BaseException | None) -> float:
        """The price of an attempt after `error`; None for a hedge."""
        if error is None:
            return self.hedge
        if hint_of(error) is not None:
            return self.throttled
        return self.timeout if isinstance(error, TimeoutError) else self.error


class Tokens:
    """The account: pure, it takes ``now``.

    ``earned`` only counts deposits, so that a success pays for one addition; they are credited when it
    matters.
    """

    __slots__ = ("_at", "_balance", "_credited", "capacity", "earned", "floor", "ratio")

    def __init__(self, ratio: float, floor: float, capacity: float, start: float) -> None:
        self.ratio = ratio
        self.floor = floor
        self.capacity = capacity
        self.earned = 0
        self._credited = 0
        self._balance = start
        self._at: float | None = None

    def balance(self, now: float) -> float:
        """The tokens at `now`."""
        if self._at is None:
            self._at = now
        earned = self.earned
        gained = (earned - self._credited) * self.ratio + max(0.0, now - self._at) * self.floor
        self._balance = min(self.capacity, self._balance + gained)
        self._at = max(self._at, now)
        self._credited = earned
        return self._balance

    def withdraw(self, cost: float, now: float) -> bool:
        """Takes `cost` tokens if they are there, and says so."""
        if self.balance(now) < cost:
            return False
        self._balance -= cost
        return True

    def refund(self, cost: float) -> None:
        """Puts `cost` tokens back."""
        self._balance = min(self.capacity, self._balance + cost)


class RetryBudget:
    """One account for all retries and hedges of a dependency; share it between the policies that call it.

    ::

        budget = RetryBudget()
        Retry(attempts=4, budget=budget)

    Each success earns `ratio` tokens, each second `floor` (so that a quiet service may still try twice), up
    to `capacity`; it starts half full. What an attempt costs stands in `prices`, or is what `cost(error)`
    returns. The defaults allow one quick retry for two successes, or one after a timeout for ten. Safe
    across threads.
    """

    def __init__(
        self,
        ratio: float = 0.5,
        *,
        floor: float = 0.1,
        capacity: float = 20.0,
        prices: Prices | None = None,
        cost: Callable[[BaseException | None], float] | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        problems = [
            f"{name}={value!r} must be {must}"
            for name, value, must, holds in (
                ("ratio", ratio, "between 0 and 10", 0 <= ratio <= 10),
                ("floor", floor, "0 or more tokens a second", 0 <= floor < math.inf),
                ("capacity", capacity, "a positive number of tokens", 0 < capacity < math.inf),
            )
            if not holds
        ]
        if prices is not None and cost is not None:
            problems.append("give prices or cost, not both")
        if problems:
            raise ValueError("; ".join(problems))
        self._tokens = Tokens(ratio, floor, capacity, capacity / 2)
        self._cost = cost or (prices or Prices()).of
        self._now = runtime.clock.monotonic
        self._lock = threading.Lock()

    def deposit(self) -> None:
        """A call came back well."""
        self._tokens.earned += 1

    def price(self, error: BaseException | None) -> float:
        """The tokens that one more attempt after `error` costs; None for a hedge."""
        return self._cost(error)

    def withdraw(self, error: BaseException | None) -> bool:
        """Pays the price of one more attempt after `error`; False when the tokens do not suffice."""
        cost, now = self._cost(error), self._now()
        with self._lock:
            return self._tokens.withdraw(cost, now)

    def refund(self, tokens: float) -> None:
        """Gives back what was paid for an attempt that was not made."""
        with self._lock:
            self._tokens.refund(tokens)

    @property
    def balance(self) -> float:
        """The tokens left."""
        now = self._now()
        with self._lock:
            return self._tokens.balance(now)

    def __repr__(self) -> str:
        return f"RetryBudget(balance={self.balance:.1f}, capacity={self._tokens.capacity:g})"
