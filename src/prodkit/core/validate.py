"""Check the arguments of a constructor and report every problem in one error, with the values seen.

::

    check = Arguments("Retry")
    check.integer("attempts", attempts, minimum=1)
    check.seconds("timeout", timeout, optional=True)
    check.done()   # TypeError: Retry: attempts must be an integer of at least 1, got 2.5; timeout must be …
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any, Final

__all__ = ["Arguments"]

_INFINITY: Final = math.inf


class Arguments:
    """Collects the problems of one call; :meth:`done` raises them together.

    A wrong type gives a :class:`TypeError`, a value out of range a :class:`ValueError`; both at once a ValueError.
    Booleans are not numbers here: ``attempts=True`` is a mistake, not 1.

    Args:
        subject: the name of the callable, which begins the message.
    """

    __slots__ = ("_only_types", "_problems", "_subject")

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._problems: list[str] = []
        self._only_types = True

    def integer(
        self,
        name: str,
        value: object,
        *,
        minimum: int | None = None,
        maximum: int | None = None,
        optional: bool = False,
    ) -> None:
        """Require an integer between `minimum` and `maximum`, both included; None passes when `optional`."""
        wanted = f"{name} must be an integer{_bounds(minimum, maximum)}{' or None' if optional else ''}"
        if value is None and optional:
            return
        if isinstance(value, bool) or not isinstance(value, int):
            self._type(wanted, value)
        elif (minimum is not None and value < minimum) or (maximum is not None and value > maximum):
            self.value(wanted, value)

    def number(
        self,
        name: str,
        value: object,
        *,
        above: float | None = None,
        minimum: float | None = None,
        below: float | None = None,
        maximum: float | None = None,
        optional: bool = False,
        infinite: bool = False,
        unit: str = "",
    ) -> None:
        """Require an int or float in a range; NaN never passes.

        Args:
            name: the parameter.
            value: what was given.
            above: the value must be larger than this.
            minimum: the value must be this or larger.
            below: the value must be smaller than this.
            maximum: the value must be this or smaller.
            optional: None passes.
            infinite: ``math.inf`` passes.
            unit: named in the message, such as ``"seconds"``.
        """
        bounds = [
            text
            for limit, text in (
                (above, f"above {above}"),
                (minimum, f"of at least {minimum}"),
                (below, f"below {below}"),
                (maximum, f"of at most {maximum}"),
            )
            if limit is not None
        ]
        kind = f"a number of {unit}" if unit else "a number"
        wanted = " ".join(filter(None, (f"{name} must be {kind}", " and ".join(bounds))))
        if optional:
            if value is None:
                return
            wanted += " or None"
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._type(wanted, value)
        elif (
            math.isnan(value)
            or (abs(value) == _INFINITY and not infinite)
            or (above is not None and value <= above)
            or (minimum is not None and value < minimum)
            or (below is not None and value >= below)
            or (maximum is not None and value > maximum)
        ):
            self.value(wanted, value)

    def seconds(self, name: str, value: object, *, optional: bool = False, zero: bool = False) -> None:
        """Require a duration: positive and finite; 0 passes when `zero`, None when `optional`."""
        if zero:
            self.number(name, value, minimum=0, optional=optional, unit="seconds")
        else:
            self.number(name, value, above=0, optional=optional, unit="seconds")

    def text(self, name: str, value: object, *, empty: bool = False) -> None:
        """Require a string; an empty one passes only when `empty`."""
        if not isinstance(value, str):
            self._type(f"{name} must be a string", value)
        elif not value and not empty:
            self.value(f"{name} must not be empty", value)

    def one_of(self, name: str, value: object, allowed: Collection[object]) -> None:
        """Require one of a few values."""
        if value not in allowed:
            self.value(f"{name} must be one of {', '.join(map(repr, allowed))}", value)

    def instance(
        self,
        name: str,
        value: object,
        kind: type[Any] | tuple[type[Any], ...],
        wanted: str,
        *,
        optional: bool = False,
    ) -> None:
        """Require an instance of `kind`; `wanted` names it in words, such as ``"a RedisLink"``."""
        if not (isinstance(value, kind) or (value is None and optional)):
            self._type(f"{name} must be {wanted}{' or None' if optional else ''}", value)

    def function(self, name: str, value: object, *, optional: bool = False) -> None:
        """Require something that can be called."""
        if not (callable(value) or (value is None and optional)):
            self._type(f"{name} must be callable{' or None' if optional else ''}", value)

    def that(self, holds: bool, problem: str) -> None:
        """Report `problem` unless `holds`: for rules between parameters. `problem` names the values seen."""
        if not holds:
            self._problems.append(problem)
            self._only_types = False

    def value(self, wanted: str, value: object) -> None:
        """Report a value out of range: "`wanted`, got …"."""
        self._problems.append(f"{wanted}, got {value!r}")
        self._only_types = False

    def attempt(self, make: Callable[[], object]) -> None:
        """Report the ValueError or TypeError that `make` raises."""
        try:
            make()
        except (ValueError, TypeError) as error:
            self._problems.append(str(error))
            self._only_types = self._only_types and isinstance(error, TypeError)

    def done(self) -> None:
        """Raise every problem found, or return.

        Raises:
            TypeError: only types were wrong.
            ValueError: at least one value was out of range.
        """
        if self._problems:
            kind = TypeError if self._only_types else ValueError
            raise kind(f"{self._subject}: {'; '.join(self._problems)}")

    def _type(self, wanted: str, value: object) -> None:
        self._problems.append(f"{wanted}, got {value!r}")


def _bounds(minimum: int | None, maximum: int | None) -> str:
    if minimum is not None and maximum is not None:
        return f" from {minimum} to {maximum}"
    if minimum is not None:
        return f" of at least {minimum}"
    return "" if maximum is None else f" of at most {maximum}"
