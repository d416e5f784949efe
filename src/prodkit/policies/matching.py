"""Decide which errors a policy means: classes, collections of classes and predicates, groups included."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

__all__ = ["Errors", "classes_in", "matcher"]

Errors: TypeAlias = (
    type[BaseException]
    | Iterable[type[BaseException] | Callable[[BaseException], object]]
    | Callable[[Any], object]
)
"""Which errors are meant: a class, a predicate, or a collection of both."""


def matcher(option: str, errors: Any) -> Callable[[BaseException], bool]:
    """Return a predicate for `errors`.

    An :class:`ExceptionGroup` matches when every leaf matches, or when the group itself does::

        ExceptionGroup [ConnectionError, ExceptionGroup [TimeoutError]]
            on=(ConnectionError, TimeoutError)  -> True
            on=ConnectionError                  -> False: repeating would hide the TimeoutError

    Args:
        option: name of the parameter, for the message.
        errors: a class, a predicate, or a collection (tuple, list, set, frozenset) of classes and predicates.

    Raises:
        TypeError: `errors` is something else.
    """
    several = errors if isinstance(errors, (tuple, list, set, frozenset)) else (errors,)
    classes = tuple(each for each in several if isinstance(each, type) and issubclass(each, BaseException))
    predicates = tuple(each for each in several if not isinstance(each, type) and callable(each))
    if len(classes) + len(predicates) != len(several):
        raise TypeError(f"{option} takes exception classes or a predicate, or a list of both, got {errors!r}")

    def matches(error: BaseException) -> bool:
        if isinstance(error, classes) or any(predicate(error) for predicate in predicates):
            return True
        return isinstance(error, BaseExceptionGroup) and all(map(matches, error.exceptions))

    return matches


def classes_in(errors: object) -> tuple[type[BaseException], ...]:
    """Return the exception classes that `errors` names; predicates name none."""
    several = errors if isinstance(errors, (tuple, list, set, frozenset)) else (errors,)
    return tuple(each for each in several if isinstance(each, type) and issubclass(each, BaseException))
