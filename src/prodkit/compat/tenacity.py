"""tenacity's names over prodkit: change ``import tenacity`` to ``from prodkit.compat import tenacity``.

Strategies, callbacks, ``RetryError`` and ``TryAgain`` are tenacity's own. ``retry``, ``Retrying`` and ``AsyncRetrying``
add prodkit's decisions:

* an open circuit, a full bulkhead, refused input and a passed deadline are not retried by the default strategy;
* a wait that would pass the :class:`~prodkit.Deadline` ends the call, and the deadline cancels the running attempt;
* a function marked :func:`~prodkit.policies.non_idempotent` is repeated only if it cannot have been sent;
* ``budget=`` pays for further attempts, ``runtime=`` brings the event stream.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import tenacity as _tenacity

from prodkit.compat.tenacity_internals import AsyncRetrying, Retrying, is_coroutine_callable

__all__ = [*_tenacity.__all__, "AsyncRetrying", "Retrying", "retry"]


def retry(*args: Any, **options: Any) -> Any:
    """Decorate a function with a new :class:`Retrying` or :class:`AsyncRetrying`.

    Args:
        args: a single function, for ``@retry`` without parentheses; else as in tenacity.
        options: as in tenacity, and `budget` and `runtime`.
    """
    if len(args) == 1 and callable(args[0]):
        return retry()(args[0])

    def decorate(fn: Callable[..., Any]) -> Any:
        if isinstance(fn, _tenacity.retry_base):
            warnings.warn(
                f"Got retry_base instance ({fn.__class__.__name__}) as callable argument, "
                f"this will probably hang indefinitely (did you mean retry={fn.__class__.__name__}(...)?)",
                stacklevel=2,
            )
        asynchronous = is_coroutine_callable(fn) or is_coroutine_callable(options.get("sleep"))
        return (AsyncRetrying if asynchronous else Retrying)(*args, **options).wraps(fn)

    return decorate


def __getattr__(name: str) -> Any:
    return getattr(_tenacity, name)
