"""The parts of pybreaker and aiobreaker that their users see beside the breaker: listeners, storage and states."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

__all__ = ["Listener", "MemoryStorage", "State"]


class Listener:
    """Subclass it and override the methods that matter."""

    def before_call(self, cb: Any, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Run before an admitted call."""

    def failure(self, cb: Any, exc: BaseException) -> None:
        """Run after a call failed."""

    def success(self, cb: Any) -> None:
        """Run after a call succeeded."""

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        """Run after the state changed."""


class MemoryStorage:
    """The initial state of a breaker, and its count of failures; the state itself is kept by the breaker.

    Args:
        state: ``"closed"``, ``"open"`` or ``"half-open"``, or the library's own name of it.
    """

    name: str = "memory"

    def __init__(self, state: Any) -> None:
        self.state: Any = state
        self.counter: int = 0
        self.opened_at: datetime | None = None

    def increment_counter(self) -> None:
        """Count one failure."""
        self.counter += 1

    def reset_counter(self) -> None:
        """Forget the failures."""
        self.counter = 0


class State:
    """A state as listeners get it; each library has a subclass for each of its states.

    Args:
        breaker: the breaker that entered it.
        prev_state: the state before; None for the first one.
        notify: listeners hear of it.
    """

    name: Any
    """The state as the library calls it."""

    def __init__(self, breaker: Any, prev_state: Any = None, notify: bool = False) -> None:
        self.breaker: Any = breaker

    @property
    def state(self) -> Any:
        """The state as the library calls it."""
        return self.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"
