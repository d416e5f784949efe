"""Read ``Retry-After``: one parser for the gate, the retry, the budget, ``prodkit.http`` and ``prodkit.llm``.

Understood are the two forms of RFC 9110 §10.2.3 (seconds and an HTTP date, its three spellings), ISO 8601
dates, and ``retry-after-ms`` (Azure, OpenAI and Anthropic send it; where both are there, it is the finer one).
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

__all__ = ["hint_of", "retry_after_in", "retry_after_of", "seconds_of"]

_NUMBER: Final = re.compile(r"\+?\d+(\.\d*)?(e[+-]?\d{1,3})?|\.\d+", re.IGNORECASE | re.ASCII)


def retry_after_of(error: BaseException, now: datetime) -> float | None:
    """Return the seconds that `error` asks to wait; None if it asks nothing usable, never negative.

    Looks at ``error.retry_after`` (a number, a timedelta, a datetime, a text), then at the headers of
    ``error.response``, then at ``error.headers``.

    Args:
        error: what a call raised.
        now: the current instant, with a time zone: an HTTP date is relative to it.
    """
    own = getattr(error, "retry_after", None)
    if own is not None:
        return seconds_of(own, now)
    for carrier in (getattr(error, "response", None), error):
        headers = getattr(carrier, "headers", None)
        if headers is not None and (seconds := retry_after_in(headers, now)) is not None:
            return seconds
    return None


def retry_after_in(headers: Any, now: datetime) -> float | None:
    """Return the seconds that response `headers` ask to wait at `now`; None if they ask nothing usable.

    Args:
        headers: a mapping of any kind, or anything with ``get``; names are found in any case.
        now: the current instant, with a time zone.
    """
    exact = _header(headers, "retry-after-ms")
    if exact is not None and (milliseconds := seconds_of(exact, now)) is not None:
        return milliseconds / 1000
    return seconds_of(_header(headers, "retry-after"), now)


def hint_of(error: BaseException) -> object:
    """Return the ``Retry-After`` that `error` carries as it came, unparsed; None if it carries none."""
    hint = getattr(error, "retry_after", None)
    if hint is not None:
        return hint
    for carrier in (getattr(error, "response", None), error):
        for name in ("retry-after-ms", "retry-after"):
            if (value := _header(getattr(carrier, "headers", None), name)) is not None:
                return value
    return None


def seconds_of(hint: object, now: datetime) -> float | None:
    """Return the seconds from `now` that `hint` asks for; None for nonsense, never negative.

    An instant that has passed is 0.0, and so is a negative number: it was computed from such an instant. A negative
    text is nonsense (RFC 9110 knows none).

    Args:
        hint: seconds as a number or a text, a timedelta, a datetime, an HTTP date or an ISO 8601 date.
        now: the current instant, with a time zone.
    """
    if isinstance(hint, timedelta):
        hint = hint.total_seconds()
    elif isinstance(hint, datetime):
        return _until(hint, now)
    elif isinstance(hint, str):
        text = hint.strip()
        if not _NUMBER.fullmatch(text):
            return _date(text, now)
        hint = float(text)
    if isinstance(hint, bool) or not isinstance(hint, (int, float)):
        return None
    try:
        seconds = float(hint)
    except OverflowError:  # an int beyond any float
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _header(headers: Any, name: str) -> object:
    get = getattr(headers, "get", None)
    if get is None:
        return None
    for spelling in (name, name.title()):
        if (value := get(spelling)) is not None:
            return value
    return None


def _date(text: str, now: datetime) -> float | None:
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            return _until(parse(text), now)
        except (ValueError, TypeError, IndexError, OverflowError):  # no date, or one that no calendar has
            continue
    return None


def _until(instant: datetime, now: datetime) -> float:
    # Without a zone, and with "-0000", which the parser reads as none, it is UTC.
    aware = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())
