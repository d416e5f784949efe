"""BreakerRegistry: one breaker a key (a host, a tenant, a model); bounded, but no open one is forgotten."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from prodkit.core.check import CheckResult
from prodkit.core.validate import Arguments
from prodkit.policies.breaker import CircuitBreaker

__all__ = ["BreakerRegistry"]

_PASSING = ("closed", "disabled")


class BreakerRegistry:
    """Breakers by key, made when they are first asked for.

    ::

        hosts = BreakerRegistry(lambda host: CircuitBreaker(host, failures=5), max_keys=1000)
        await hosts.get("api.example.org").run(fetch, url)

    For a new key beyond `max_keys` the closed breaker that was not asked for the longest is forgotten; one that is
    open, half open or isolated never is, because its dependency would be called again as if nothing had happened. When
    all of them are such, further keys share the breaker named `others`: guarded together rather than not at all. Safe
    across threads.

    Args:
        make: makes the breaker of a key.
        max_keys: breakers to remember.
        others: name of the shared breaker.
        name: of the registry, in health reports.
    """

    name: str

    def __init__(
        self,
        make: Callable[[str], CircuitBreaker],
        *,
        max_keys: int = 1000,
        others: str = "others",
        name: str = "breakers",
    ) -> None:
        check = Arguments("BreakerRegistry")
        check.function("make", make)
        check.integer("max_keys", max_keys, minimum=1)
        check.text("others", others)
        check.text("name", name)
        check.done()
        self.name = name
        self._make = make
        self._max_keys = max_keys
        self._breakers: OrderedDict[str, CircuitBreaker] = OrderedDict()
        self._others_name = others
        self._others: CircuitBreaker | None = None
        self._lock = threading.Lock()

    def get(self, key: str) -> CircuitBreaker:
        """Return the breaker of `key`, or the shared one when every remembered breaker must stay."""
        with self._lock:
            breaker = self._breakers.get(key)
            if breaker is not None:
                self._breakers.move_to_end(key)
                return breaker
            if len(self._breakers) >= self._max_keys and not self._forget_one():
                if self._others is None:
                    self._others = self._make(self._others_name)
                return self._others
            breaker = self._breakers[key] = self._make(key)
            return breaker

    def _forget_one(self) -> bool:
        for key, breaker in self._breakers.items():
            if breaker.state in _PASSING:
                del self._breakers[key]
                return True
        return False

    def __len__(self) -> int:
        return len(self._breakers)

    def __contains__(self, key: object) -> bool:
        return key in self._breakers

    async def check(self) -> CheckResult:
        """Return ``degraded`` while any of them refuses calls."""
        with self._lock:
            breakers = [*self._breakers.values(), *([self._others] if self._others else [])]
        states = {breaker.name: breaker.state for breaker in breakers}
        refusing = {name: state for name, state in states.items() if state not in _PASSING}
        if not refusing:
            return CheckResult("up", details={"breakers": len(breakers)})
        return CheckResult("degraded", f"{len(refusing)} of {len(breakers)} circuits refuse calls", refusing)

    def __repr__(self) -> str:
        return f"BreakerRegistry({len(self)} of {self._max_keys})"
