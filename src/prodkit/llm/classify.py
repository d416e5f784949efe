"""What a failure means, pure: a signal becomes a :class:`Failure`, a failure a :class:`Verdict`.

The SDK's classes and status codes do not suffice: an error inside a stream carries status 200, a broken
connection in mid-stream is no ``anthropic.APIError``, an HTML page with status 200 is no error at all, and an
exhausted connection pool looks like a timeout of the server.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

__all__ = [
    "VERDICTS",
    "Failure",
    "Verdict",
    "of_error_object",
    "of_exception",
    "of_response",
    "retry_after",
    "verdict",
]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do: try the same model again, ask the next one, count it against the model, tell an operator."""

    retry: bool
    fall_back: bool
    counts: bool
    alert: bool = False


_YES: Final = Verdict(retry=True, fall_back=True, counts=True)
_NO: Final = Verdict(retry=False, fall_back=False, counts=False)

VERDICTS: Final[Mapping[str, Verdict]] = {
    "overloaded": _YES,
    "server_error": _YES,
    "connection": _YES,
    "truncated": _YES,  # a stream that ended without message_stop
    "bad_response": _YES,  # HTML, bad JSON, a body that is no message
    "first_content_timeout": _YES,
    "stall_timeout": _YES,
    "attempt_timeout": _YES,
    "rate_limited": Verdict(retry=True, fall_back=True, counts=False),
    "request_timeout": Verdict(retry=True, fall_back=False, counts=False),  # 408
    "conflict": Verdict(retry=True, fall_back=False, counts=False),
    "spend_limit": Verdict(retry=False, fall_back=False, counts=False, alert=True),
    "billing": Verdict(retry=False, fall_back=False, counts=False, alert=True),
    "authentication": Verdict(retry=False, fall_back=False, counts=False, alert=True),
    "permission": Verdict(retry=False, fall_back=False, counts=False, alert=True),
    "not_found": Verdict(retry=False, fall_back=True, counts=False, alert=True),  # a retired model
    "invalid_request": _NO,
    "too_large": _NO,
    "refusal": _NO,
    "pool": _NO,
    "closed": _NO,
    "local": _NO,  # our own or the caller's mistake, nothing was sent
    "timeout": Verdict(retry=False, fall_back=False, counts=True),  # the call's own total limit
    "deadline": _NO,  # the caller's Deadline: says nothing about the model
    "cancelled": _NO,
}
"""The default policy, a row a code."""

_BY_STATUS: Final[Mapping[int, str]] = {
    400: "invalid_request",
    401: "authentication",
    402: "billing",
    403: "permission",
    404: "not_found",
    408: "request_timeout",
    409: "conflict",
    413: "too_large",
    429: "rate_limited",
    529: "overloaded",
}
_BY_TYPE: Final[Mapping[str, str]] = {
    "overloaded_error": "overloaded",
    "api_error": "server_error",
    "timeout_error": "server_error",
    "rate_limit_error": "rate_limited",
    "invalid_request_error": "invalid_request",
    "authentication_error": "authentication",
    "billing_error": "billing",
    "permission_error": "permission",
    "not_found_error": "not_found",
    "conflict_error": "conflict",
    "request_too_large": "too_large",
}
_SPENT: Final = frozenset(("enforced_spend_limit_reached", "contract_spend_limit_reached"))


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed request, without any text of the conversation.

    `detail` is the API's own sentence; it may quote the request and is for the caller's eyes only after it was
    cleaned (see ``redaction.clean``).
    """

    code: str
    status: int | None = None
    error_type: str = ""
    error_code: str = ""
    retry_after: float | None = None
    request_id: str = ""
    detail: str = ""

    @property
    def verdict(self) -> Verdict:
        return VERDICTS[self.code]


def verdict(code: str) -> Verdict:
    """The row of the table for `code`."""
    return VERDICTS[code]


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """The seconds that a response asks us to wait: None where it says nothing usable, never negative."""
    if (exact := headers.get("retry-after-ms")) is not None:
        seconds = _number(exact)
        if seconds is not None:
            return seconds / 1000
    told = headers.get("retry-after")
    if told is None:
        return None
    seconds = _number(told)
    if seconds is not None:
        return seconds
    try:
        at = parsedate_to_datetime(told)
    except (TypeError, ValueError):
        return None
    if at.tzinfo is None:
        return None
    return max(0.0, (at - now).total_seconds())


def _number(told: str) -> float | None:
    try:
        value = float(told)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def of_error_object(told: Any, *, status: int, headers: Mapping[str, str], now: datetime) -> Failure:
    """The failure in an error body, or in the data of an ``event: error`` (whose HTTP status is 200)."""
    error = told.get("error") if isinstance(told, dict) else None
    error = error if isinstance(error, dict) else {}
    kind = _text(error.get("type"))
    details = error.get("details")
    code = _text(details.get("error_code")) if isinstance(details, dict) else ""
    ours = _code(status, kind, code)
    return Failure(
        code=ours,
        status=status,
        error_type=kind,
        error_code=code,
        retry_after=retry_after(headers, now),
        request_id=headers.get("request-id", ""),
        detail=str(error.get("message") or "")[:300],
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _code(status: int, kind: str, code: str) -> str:
    if code in _SPENT:
        return "spend_limit"
    if status >= 500 and status != 529:
        return "overloaded" if kind == "overloaded_error" else "server_error"
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 400 <= status < 500:
        return "invalid_request"
    return _BY_TYPE.get(kind, "bad_response")


def of_response(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> Failure:
    """The failure in a response with an error status."""
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    return of_error_object(told, status=status, headers=headers, now=now)


_NAMES: Final[tuple[tuple[str, str], ...]] = (
    ("PoolTimeout", "pool"),
    ("TimeoutException", "connection"),
    ("NetworkError", "connection"),
    ("ProtocolError", "connection"),
    ("TransportError", "connection"),
    ("DecodingError", "bad_response"),
    ("TooManyRedirects", "bad_response"),
    ("StreamError", "closed"),
    ("JSONDecodeError", "bad_response"),
    ("UnicodeDecodeError", "bad_response"),
    ("OSError", "connection"),
    ("APITimeoutError", "connection"),
    ("RuntimeError", "closed"),
)


def of_exception(error: BaseException) -> Failure:
    """The failure behind an exception of the SDK or of its HTTP library.

    The cause decides where there is one: the SDK calls everything that goes wrong while sending a connection error,
    a closed client and an exhausted pool included. Classes are told by name, so that nothing has to be imported.
    """
    cause = error.__cause__ if _is(error, "APIConnectionError") and error.__cause__ is not None else error
    for name, code in _NAMES:
        if _is(cause, name):
            return Failure(code, error_type=type(cause).__name__)
    if _is(error, "APIConnectionError"):
        return Failure("connection", error_type=type(cause).__name__)
    return Failure("local", error_type=type(error).__name__)


def _is(error: BaseException, name: str) -> bool:
    return any(kind.__name__ == name for kind in type(error).__mro__)
