"""Permit: one admitted call of a breaker, for code that no callable can wrap."""

from __future__ import annotations

from typing import Protocol

from prodkit.policies.circuit import Lease

__all__ = ["Permit", "Settlement"]


class Settlement(Protocol):
    """The side of a breaker that counts outcomes."""

    def _succeeded(self, lease: Lease) -> None: ...
    def _failed(self, lease: Lease) -> None: ...
    def _raised(self, lease: Lease, error: BaseException) -> None: ...
    def _forgotten(self, lease: Lease) -> None: ...


class Permit:
    """One admitted call, for code that no callable can wrap: settle it exactly once.

    Of ``succeed()``, ``fail(error)`` and ``cancel()`` the first one counts; the others then do nothing, so ``cancel()``
    in a ``finally`` is a safe last line.

    Args:
        breaker: the breaker that admitted the call.
        lease: its admission; None makes a permit that is settled already.
    """

    __slots__ = ("_breaker", "_lease")

    def __init__(self, breaker: Settlement, lease: Lease | None) -> None:
        self._breaker = breaker
        self._lease = lease

    def succeed(self) -> None:
        """Record that the dependency answered."""
        if (lease := self._take()) is not None:
            self._breaker._succeeded(lease)

    def fail(self, error: BaseException | None = None) -> None:
        """Record that the call failed; an `error` that would not count in ``run`` is neutral here too."""
        if (lease := self._take()) is not None:
            if error is None:
                self._breaker._failed(lease)
            else:
                self._breaker._raised(lease, error)

    def cancel(self) -> None:
        """Record that the call ended without saying anything about the dependency."""
        if (lease := self._take()) is not None:
            self._breaker._forgotten(lease)

    @property
    def lease(self) -> Lease | None:
        """The admission; None once the permit is settled."""
        return self._lease

    def _take(self) -> Lease | None:
        lease, self._lease = self._lease, None
        return lease
