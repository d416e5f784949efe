"""The mark on functions that must not run twice, and the way to find it under the policies around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from prodkit.policies.base import INVOKERS

__all__ = ["innermost", "is_non_idempotent", "layers", "non_idempotent"]

F = TypeVar("F", bound=Callable[..., Any])


def non_idempotent(fn: F) -> F:
    """Mark `fn` as one whose second call might do harm: a payment, a message.

    :class:`~prodkit.policies.Retry` repeats it only if it cannot have been sent, :class:`~prodkit.policies.Hedge`
    never.

    Args:
        fn: the function; it is returned as it is, so this is a decorator.
    """
    fn._prodkit_non_idempotent = True  # type: ignore[attr-defined]
    return fn


def is_non_idempotent(fn: Any, args: tuple[Any, ...]) -> bool:
    """Return True if `fn`, called with `args`, or anything that it wraps is marked."""
    return any(
        getattr(marked, "_prodkit_non_idempotent", False)
        for each in layers(fn, args)
        for marked in (each, getattr(each, "__call__", None))  # noqa: B004 - the mark of an object's own method
    )


def layers(fn: Any, args: tuple[Any, ...]) -> Iterator[Callable[..., Any]]:
    """Yield the guarded callable and everything that it wraps, down to the function that the caller meant."""
    while fn is not None:
        yield fn
        fn, args = _inner(fn, args)


def innermost(fn: Any, args: tuple[Any, ...]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return the function that the caller meant, and the arguments meant for it."""
    while True:
        inner, left = _inner(fn, args)
        if inner is None:
            return fn, args
        fn, args = inner, left


def _inner(fn: Any, args: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    if args and (fn in INVOKERS or getattr(fn, "__func__", None) in INVOKERS):
        return args[0], args[1:]
    return getattr(fn, "__wrapped__", None) or getattr(fn, "func", None) or getattr(
        fn, "__func__", None
    ), args
