"""RetryBudget: a token bucket shared by retries and hedges, so that an outage does not become a retry storm.

Unlimited retries are worse than none: they multiply the load of a dependency that is already slow, and keep it down
after the fault has gone. Here every success earns a fraction of a token, every further attempt costs some, and a
timeout costs more than a quick error, because it also held a connection, a worker and the caller.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from prodkit.core.check import CheckResult
from prodkit.core.outcome import Classifier, Outcome
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.policies.classify import classifier, outcome_of
from prodkit.policies.retry_after import hint_of

__all__ = ["Prices", "RetryBudget", "Tokens"]


@dataclass(frozen=True, slots=True)
class Prices:
    """Tokens that one more attempt costs, by the outcome of the last one.

    A hedge costs as much as a timeout: it is bought when answers are slow. A throttled call is free: it comes back when
    the server said, which is the server's own pacing.

    Args:
        error: after an error that came quickly.
        timeout: after a :class:`TimeoutError`.
        hedge: for a second attempt while the first still runs.
        throttled: after a call that the dependency asked to wait.
    """

    error: float = 1.0
    timeout: float = 5.0
    hedge: float = 5.0
    throttled: float = 0.0

    def __post_init__(self) -> None:
        check = Arguments("Prices")
        for name in self.__slots__:
            check.number(name, getattr(self, name), minimum=0, unit="tokens")
        check.done()

    def of(self, error: BaseException | None, classify: Classifier = outcome_of) -> float:
        """Return the price of an attempt after `error`; None stands for a hedge.

        Args:
            error: the last attempt's error.
            classify: decides which errors are `throttled`.
        """
        if error is None:
            return self.hedge
        if classify(error) is Outcome.THROTTLED or hint_of(error) is not None:
            return self.throttled
        return self.timeout if isinstance(error, TimeoutError) else self.error


class Tokens:
    """The token bucket: pure, it takes ``now``.

    ``earned`` only counts deposits, so that a success costs one addition; they are credited before a withdrawal::

        balance = min(capacity, balance + new deposits x ratio + seconds x floor)
    """

    __slots__ = ("_at", "_balance", "_credited", "capacity", "earned", "floor", "ratio")

    def __init__(self, ratio: float, floor: float, capacity: float, start: float) -> None:
        self.ratio: float = ratio
        self.floor: float = floor
        self.capacity: float = capacity
        self.earned: int = 0
        self._credited = 0
        self._balance = start
        self._at: float | None = None

    def balance(self, now: float) -> float:
        """Return the tokens at `now`."""
        if self._at is None:
            self._at = now
        earned = self.earned
        gained = (earned - self._credited) * self.ratio + max(0.0, now - self._at) * self.floor
        self._balance = min(self.capacity, self._balance + gained)
        self._at = max(self._at, now)
        self._credited = earned
        return self._balance

    def withdraw(self, cost: float, now: float) -> bool:
        """Take `cost` tokens at `now`; return False if there are not enough."""
        if self.balance(now) < cost:
            return False
        self._balance -= cost
        return True

    def refund(self, cost: float) -> None:
        """Put `cost` tokens back."""
        self._balance = min(self.capacity, self._balance + cost)


class RetryBudget:
    """A token bucket for all retries and hedges of a dependency; share it between the policies that call it.

    ::

        budget = RetryBudget()
        Retry(attempts=4, budget=budget)

    It starts half full. The defaults allow one quick retry for two successes, or one after a timeout for ten. Safe
    across threads.

    Args:
        ratio: tokens that a success earns; lower it where the dependency recovers slowly.
        floor: tokens earned per second, so that a quiet service may still retry.
        capacity: tokens at most.
        prices: tokens that one more attempt costs.
        cost: computes the price of an attempt from the last error (None for a hedge), in place of `prices`.
        classify: decides which errors are `throttled`; None from it leaves the decision to the defaults.
        name: of the part in health reports.
        runtime: clock.
    """

    def __init__(
        self,
        ratio: float = 0.5,
        *,
        floor: float = 0.1,
        capacity: float = 20.0,
        prices: Prices | None = None,
        cost: Callable[[BaseException | None], float] | None = None,
        classify: Classifier | None = None,
        name: str = "retry_budget",
        runtime: Runtime = SYSTEM,
    ) -> None:
        check = Arguments("RetryBudget")
        check.text("name", name)
        check.number("ratio", ratio, minimum=0, maximum=10)
        check.number("floor", floor, minimum=0, unit="tokens per second")
        check.number("capacity", capacity, above=0, unit="tokens")
        check.instance("prices", prices, Prices, "a Prices", optional=True)
        check.function("cost", cost, optional=True)
        check.function("classify", classify, optional=True)
        check.that(prices is None or cost is None, "give prices or cost, not both")
        check.instance("runtime", runtime, Runtime, "a Runtime")
        check.done()
        self.name: str = name
        self._tokens = Tokens(ratio, floor, capacity, capacity / 2)
        self._cost = cost or partial((prices or Prices()).of, classify=classifier(classify))
        self._now = runtime.clock.monotonic
        self._lock = threading.Lock()

    def deposit(self) -> None:
        """Record a success."""
        self._tokens.earned += 1

    def price(self, error: BaseException | None) -> float:
        """Return the tokens that one more attempt after `error` costs; None stands for a hedge."""
        return self._cost(error)

    def withdraw(self, error: BaseException | None) -> bool:
        """Pay for one more attempt after `error`; return False if the tokens do not suffice."""
        cost, now = self._cost(error), self._now()
        with self._lock:
            return self._tokens.withdraw(cost, now)

    def refund(self, tokens: float) -> None:
        """Give back `tokens` paid for an attempt that was not made."""
        with self._lock:
            self._tokens.refund(tokens)

    @property
    def balance(self) -> float:
        """The tokens left."""
        now = self._now()
        with self._lock:
            return self._tokens.balance(now)

    async def check(self) -> CheckResult:
        """Return ``degraded`` while the tokens do not pay for a retry after an ordinary error."""
        balance = self.balance
        details = {"balance": round(balance, 1), "capacity": self._tokens.capacity}
        if balance >= self.price(ConnectionError()):
            return CheckResult("up", details=details)
        return CheckResult("degraded", "no tokens: calls are not retried", details)

    def __repr__(self) -> str:
        return f"RetryBudget(balance={self.balance:.1f}, capacity={self._tokens.capacity:g})"
