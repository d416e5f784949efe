"""The rules of a Retry, made once from its arguments, and the forms in which they may be given."""

from __future__ import annotations

import inspect
import math
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol

from prodkit.core.runtime import Runtime
from prodkit.errors import DeadlineExceededError, InvalidError, MissingExtraError, RejectedError
from prodkit.policies.base import MisuseError
from prodkit.policies.idempotency import innermost
from prodkit.policies.matching import Errors, classes_in, matcher

__all__ = [
    "NEVER_SENT",
    "WRONG_RESULT",
    "Budget",
    "RetryRules",
    "call_state",
    "from_tenacity",
    "is_try_again",
    "never_retried",
    "takes_state",
    "verdict_on",
]

NEVER_RETRIED = (RejectedError, DeadlineExceededError, InvalidError, MissingExtraError, MisuseError)
"""Never retried, because that cannot help or is not wanted, unless `on` names one of them."""

NEVER_SENT = (RejectedError, ConnectionRefusedError, socket.gaierror)
"""After these nothing can have happened on the other side, so even a non-idempotent call may be repeated."""


WRONG_RESULT: Final = Exception("a result to retry after")
"""The error that a budget prices after such a result: a quick one, since None stands for a hedge."""


class Budget(Protocol):
    """The account that pays for further attempts; :class:`prodkit.policies.RetryBudget` is one."""

    def deposit(self) -> None:
        """Record a success."""
        ...

    def price(self, error: BaseException | None) -> float:
        """Return the tokens that one more attempt after `error` costs; None stands for a hedge."""
        ...

    def withdraw(self, error: BaseException | None) -> bool:
        """Pay for one more attempt after `error`; return False if the tokens do not suffice."""
        ...

    def refund(self, tokens: float) -> None:
        """Give back `tokens` paid for an attempt that was not made."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRules:
    """The decisions of a :class:`~prodkit.policies.Retry`, as its state needs them.

    Args:
        attempts: calls in all; None for no limit.
        verdict: judges an error: falsy not to retry, a number of seconds to retry after them, else truthy.
        refused: error classes that are never retried.
        strategy: a tenacity ``retry`` strategy in place of `verdict`.
        result: judges a result: truthy to retry.
        wait: a backoff, or a function of the call state where `wait_takes_state`.
        wait_takes_state: `wait` has tenacity's form.
        stop: a tenacity ``stop`` strategy.
        before: called before each attempt.
        after: called after each attempt that is not final by its outcome.
        before_sleep: called before each wait.
        retry_error_callback: its result is returned instead of raising the last error.
        budget: pays for further attempts.
        idempotent: calls may run twice.
        max_wait: longest ``Retry-After`` to wait for, in seconds.
        nested: retry also inside another retry.
        runtime: clock, randomness and events.
    """

    attempts: int | None
    verdict: Callable[[BaseException], object]
    refused: tuple[type[BaseException], ...]
    strategy: Any
    result: Callable[[Any], object] | None
    wait: Any
    wait_takes_state: bool
    stop: Any
    before: Any
    after: Any
    before_sleep: Any
    retry_error_callback: Any
    budget: Budget | None
    idempotent: bool
    max_wait: float
    nested: bool
    runtime: Runtime

    @property
    def exact(self) -> bool:
        """Anything that looks at the call state is used, so it is made before the first attempt."""
        given = (
            self.strategy,
            self.stop,
            self.before,
            self.after,
            self.before_sleep,
            self.retry_error_callback,
        )
        return self.wait_takes_state or any(each is not None for each in given)

    @property
    def asynchronous(self) -> bool:
        """One of the strategies or callbacks is an async function."""
        given = (
            self.strategy, self.result, self.wait, self.stop, self.before, self.after, self.before_sleep,
            self.retry_error_callback, *getattr(self.verdict, "predicates", ()),
        )  # fmt: skip
        return any(
            inspect.iscoroutinefunction(each) or inspect.iscoroutinefunction(getattr(each, "__call__", None))  # noqa: B004
            for each in given
        )


def takes_state(wait: Any) -> bool:
    """Return True if the callable `wait` has tenacity's form, with one argument, and not that of a backoff."""
    try:
        signature = inspect.signature(wait)
    except (TypeError, ValueError):
        return False
    try:
        signature.bind(1, None, 0.0)
    except TypeError:
        pass
    else:
        return False
    try:
        signature.bind(None)
    except TypeError:
        return False
    return True


def verdict_on(on: Errors) -> Callable[[BaseException], object]:
    """Return the judge for `on`: classes give True or False, predicates what they return, seconds included."""
    matches = matcher("on", on)
    several = on if isinstance(on, (tuple, list, set, frozenset)) else (on,)
    predicates: tuple[Any, ...] = tuple(each for each in several if not isinstance(each, type))
    if not predicates:
        return matches
    classes = classes_in(on)

    def verdict(error: BaseException) -> object:
        if isinstance(error, classes):
            return True
        for predicate in predicates:
            judged = predicate(error)
            if judged or (isinstance(judged, (int, float, timedelta)) and not isinstance(judged, bool)):
                return _seconds(judged)
        return isinstance(error, BaseExceptionGroup) and all(map(verdict, error.exceptions))

    verdict.predicates = predicates  # type: ignore[attr-defined]
    return verdict


def _seconds(judged: object) -> object:
    """Return a number of seconds as a timedelta, so that 0.0 still means to try again."""
    if isinstance(judged, (int, float)) and not isinstance(judged, bool):
        return timedelta(seconds=max(0.0, judged)) if math.isfinite(judged) else True
    return judged


def never_retried(on: Errors) -> tuple[type[BaseException], ...]:
    """Return the classes of :data:`NEVER_RETRIED` that `on` does not name; ``on=Exception`` names none of them."""
    classes = classes_in(on)
    return tuple(
        refused for refused in NEVER_RETRIED if not any(issubclass(each, refused) for each in classes)
    )


def from_tenacity(strategy: object, base: str) -> bool:
    """Return True if `strategy` is an instance of tenacity's class `base`, without importing tenacity."""
    for name in (f"tenacity.{base.removesuffix('_base')}", f"tenacity.asyncio.{base.removesuffix('_base')}"):
        module = sys.modules.get(name)  # not imported: no instance exists
        for kind in (base, f"async_{base}"):
            if module is not None and isinstance(strategy, getattr(module, kind, ())):
                return True
    return False


def is_try_again(error: BaseException) -> bool:
    """Return True if `error` is tenacity's request for another attempt."""
    module = sys.modules.get("tenacity")
    return module is not None and isinstance(error, module.TryAgain)


def call_state(
    fn: Callable[..., Any] | None, args: tuple[Any, ...], kwargs: dict[str, Any], start: float
) -> Any:
    """Return tenacity's state of the call that the user meant, on our clock."""
    import tenacity

    fn, args = innermost(fn, args)  # None, for a block, stays None
    state = tenacity.RetryCallState(tenacity.Retrying(), fn, args, kwargs)
    state.start_time = start
    return state
