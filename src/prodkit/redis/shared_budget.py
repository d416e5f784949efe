"""SharedRetryBudget: one account for the retries of all processes, so that a fleet makes no retry storm.

::

    withdraw ─▶ the tokens on hand in this process: at once, without Redis
    in the background ─▶ one script: successes earn, tokens on hand are filled up to `allowance`

    Redis:   balance = min(capacity, balance + successes x ratio + seconds x floor), tokens on hand are taken out
    so       all retries of the fleet <= capacity + successes x ratio + seconds x floor
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from prodkit.core.check import CheckResult
from prodkit.core.deadline import Deadline
from prodkit.core.lifespan import Managed
from prodkit.core.outcome import Classifier
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.errors import DeadlineExceededError, PoolExhaustedError, RedisError
from prodkit.policies.budget import Prices, RetryBudget
from prodkit.redis.link import RedisLink
from prodkit.redis.scripts import Script

__all__ = ["SharedRetryBudget"]

_PERIOD: Final = 1.0
_MANY: Final = 20  # successes after which they are reported without waiting for the period
_LIFE: Final = 86_400_000

# KEYS: account. ARGV: capacity, floor, tokens earned or given back, tokens wanted, life. Returns the tokens granted.
_SETTLE: Final = Script("""
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local capacity = tonumber(ARGV[1])
local found = redis.call('HMGET', KEYS[1], 'balance', 'at')
local balance, at = tonumber(found[1] or capacity / 2), tonumber(found[2] or now)
balance = math.min(capacity, balance + math.max(0, now - at) * ARGV[2] + ARGV[3])
local granted = math.max(0, math.min(tonumber(ARGV[4]), balance))
redis.call('HSET', KEYS[1], 'balance', tostring(balance - granted), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return tostring(granted)
""")


class SharedRetryBudget(Managed):
    """The ``budget=`` of retries and hedges that all processes pay from.

    ::

        budget = SharedRetryBudget(redis, name="perplexity", replicas=4)
        retry = Retry(attempts=4, budget=budget)
        async with redis, budget: ...

    Paying never waits: each process has some tokens on hand, and fills them up in the background. Before
    :meth:`start`, without Redis and while it is away, the process pays from a budget of its own with its share of
    `capacity` and `floor`. A process that dies takes the tokens it had on hand with it.

    Args:
        redis: the link; one without a Redis leaves each process its share.
        name: of the dependency; budgets of one name and `namespace` are one.
        namespace: the prefix of its key in Redis.
        ratio: tokens that a success earns.
        floor: tokens earned per second, by all processes together.
        capacity: tokens at most, those on hand not counted.
        replicas: processes that share the budget.
        allowance: tokens on hand in each process; None for ``capacity / (2 * replicas)``. After a refusal as many are
            fetched as the refused attempt would have cost.
        prices: tokens that one more attempt costs.
        cost: computes the price of an attempt from the last error (None for a hedge), in place of `prices`.
        classify: decides which errors are `throttled`; None from it leaves the decision to the defaults.
        runtime: clock; the default is the system's.
    """

    def __init__(
        self,
        redis: RedisLink,
        *,
        name: str = "budget",
        namespace: str = "budget",
        ratio: float = 0.5,
        floor: float = 0.1,
        capacity: float = 20.0,
        replicas: int = 1,
        allowance: float | None = None,
        prices: Prices | None = None,
        cost: Callable[[BaseException | None], float] | None = None,
        classify: Classifier | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        check = Arguments("SharedRetryBudget")
        check.instance("redis", redis, RedisLink, "a RedisLink")
        check.text("name", name)
        check.text("namespace", namespace)
        check.number("ratio", ratio, minimum=0, maximum=10)
        check.number("floor", floor, minimum=0, unit="tokens per second")
        check.number("capacity", capacity, above=0, unit="tokens")
        check.integer("replicas", replicas, minimum=1)
        if allowance is not None:
            check.number("allowance", allowance, above=0, unit="tokens")
        check.done()
        self.name: str = f"budget.{name}"
        self._link = redis
        self._clock = runtime.clock
        self._key = f"{{{namespace}:{name}}}:account"
        self._ratio, self._floor, self._capacity = ratio, floor, capacity
        self._allowance = capacity / (2 * replicas) if allowance is None else allowance
        self._alone = RetryBudget(
            ratio,
            floor=floor / replicas,
            capacity=capacity / replicas,
            prices=prices,
            cost=cost,
            classify=classify,
            runtime=runtime,
        )
        self._lock = threading.Lock()  # budgets are used from threads too
        self._on_hand = 0.0
        self._earned = 0
        self._wanted = 0.0
        self._shared = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # --- for policies -----------------------------------------------------------------------------------------------

    def deposit(self) -> None:
        """Record a success."""
        self._alone.deposit()
        self._earned += 1
        if self._earned == _MANY:
            self._wake()

    def price(self, error: BaseException | None) -> float:
        """Return the tokens that one more attempt after `error` costs; None stands for a hedge.

        Args:
            error: the last attempt's error.
        """
        return self._alone.price(error)

    def withdraw(self, error: BaseException | None) -> bool:
        """Pay for one more attempt after `error`; return False if the tokens on hand do not suffice.

        Args:
            error: the last attempt's error, or None for a hedge.
        """
        if not self._shared or not self._link.up:
            return self._alone.withdraw(error)
        cost = self._alone.price(error)
        with self._lock:
            paid = self._on_hand >= cost
            if paid:
                self._on_hand -= cost
            else:
                self._wanted = max(self._wanted, cost)
        if not paid or self._on_hand < self._allowance / 2:
            self._wake()
        return paid

    def refund(self, tokens: float) -> None:
        """Give back `tokens` paid for an attempt that was not made.

        Args:
            tokens: from :meth:`price`.
        """
        if not self._shared or not self._link.up:
            self._alone.refund(tokens)
            return
        with self._lock:
            self._on_hand += tokens

    @property
    def balance(self) -> float:
        """The tokens that this process can pay with at once."""
        return self._on_hand if self._shared and self._link.up else self._alone.balance

    # --- settling ---------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # the loop has closed
                loop.call_soon_threadsafe(self._due.set)

    async def _run(self) -> None:
        while True:
            timer = asyncio.get_running_loop().call_later(_PERIOD, self._due.set)
            try:
                await self._due.wait()
            finally:
                timer.cancel()
            self._due.clear()
            if self._link.up:
                with suppress(RedisError, PoolExhaustedError):
                    await self._settle()

    async def _settle(self, *, last: bool = False) -> None:
        """Report what was earned and fill up the tokens on hand; what has an unknown outcome is not repeated."""
        with self._lock:
            earned, self._earned = self._earned, 0
            back = max(0.0, self._on_hand - (0.0 if last else max(self._allowance, self._wanted)))
            self._on_hand -= back
            want = 0.0 if last else max(0.0, max(self._allowance, self._wanted) - self._on_hand)
            self._wanted = 0.0
        if not (earned or back or want):
            return
        args = [self._capacity, self._floor, earned * self._ratio + back, want, _LIFE]
        granted = float(await _SETTLE(self._link, keys=[self._key], args=args))
        with self._lock:
            self._on_hand += granted
        self._shared = not last

    # --- lifespan ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Fetch the first tokens, and settle in the background. A Redis that is down delays nothing."""
        if not self._link.configured or self._task is not None:
            return
        self._loop, self._due = asyncio.get_running_loop(), asyncio.Event()
        if self._link.up:
            with suppress(RedisError, PoolExhaustedError, DeadlineExceededError):
                await self._settle()
        with Deadline.detached():
            self._task = asyncio.ensure_future(self._run())

    async def aclose(self) -> None:
        """Report what was earned, and give the tokens on hand back."""
        task, self._task, self._loop = self._task, None, None
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if self._link.up:
            with suppress(RedisError, PoolExhaustedError, DeadlineExceededError):
                await self._settle(last=True)
        self._shared = False

    async def check(self) -> CheckResult:
        """Report degraded while this process pays from its own share."""
        details: dict[str, object] = {"on_hand": round(self.balance, 2), "capacity": self._capacity}
        if not self._link.configured:
            return CheckResult("up", "not configured: this process pays from its own share", details)
        if not self._link.up:
            return CheckResult("degraded", "Redis is away: this process pays from its own share", details)
        return CheckResult("up", "", details)

    def __repr__(self) -> str:
        return f"SharedRetryBudget({self._link.address!r}, {self._key!r}, on_hand={self.balance:.1f})"
