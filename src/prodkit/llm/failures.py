"""Classify failures, pure: a signal becomes a :class:`Failure`, a failure a :class:`Verdict`.

The SDK's classes and status codes do not suffice: an error inside a stream carries status 200, a connection broken
in mid-stream is no ``anthropic.APIError``, an HTML page with status 200 is no error at all, and an exhausted
connection pool looks like a timeout of the server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from prodkit.core.outcome import Outcome
from prodkit.policies.retry_after import retry_after_in

__all__ = [
    "VERDICTS",
    "Failure",
    "FaultError",
    "Verdict",
    "of_error_object",
    "of_exception",
    "of_response",
]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The consequences of a failure.

    Args:
        retry: the same model is asked again.
        fall_back: the next model is asked.
        outcome: as all policies count it; a failed one counts in the model's circuit breaker.
        alert: an operator has to act.
    """

    retry: bool
    fall_back: bool
    outcome: Outcome
    alert: bool = False

    @property
    def counts(self) -> bool:
        """True when the model's circuit breaker counts it."""
        return self.outcome is Outcome.FAILED


_YES: Final = Verdict(retry=True, fall_back=True, outcome=Outcome.FAILED)
_NO: Final = Verdict(retry=False, fall_back=False, outcome=Outcome.NEUTRAL)

VERDICTS: Final[Mapping[str, Verdict]] = {
    "overloaded": _YES,
    "server_error": _YES,
    "connection": _YES,
    "truncated": _YES,  # a stream that ended before its stop reason
    "bad_response": _YES,  # HTML, bad JSON, a body that is no message
    "no_overlap": Verdict(
        retry=True, fall_back=True, outcome=Outcome.NEUTRAL
    ),  # a continuation that cannot be joined
    "first_content_timeout": _YES,
    "stall_timeout": _YES,
    "attempt_timeout": _YES,
    "rate_limited": Verdict(retry=True, fall_back=True, outcome=Outcome.THROTTLED),
    "request_timeout": Verdict(retry=True, fall_back=False, outcome=Outcome.NEUTRAL),  # 408
    "conflict": Verdict(retry=True, fall_back=False, outcome=Outcome.NEUTRAL),
    "spend_limit": Verdict(retry=False, fall_back=False, outcome=Outcome.NEUTRAL, alert=True),
    "billing": Verdict(retry=False, fall_back=False, outcome=Outcome.NEUTRAL, alert=True),
    "authentication": Verdict(retry=False, fall_back=False, outcome=Outcome.NEUTRAL, alert=True),
    "permission": Verdict(retry=False, fall_back=False, outcome=Outcome.NEUTRAL, alert=True),
    "not_found": Verdict(retry=False, fall_back=True, outcome=Outcome.NEUTRAL, alert=True),  # a retired model
    "invalid_request": _NO,
    "too_large": _NO,
    "refusal": _NO,
    "pool": _NO,
    "closed": _NO,
    "local": _NO,  # our own or the caller's mistake, nothing was sent
    "timeout": Verdict(retry=False, fall_back=False, outcome=Outcome.FAILED),  # the call's own total limit
    "deadline": _NO,  # the caller's Deadline: says nothing about the model
    "cancelled": Verdict(retry=False, fall_back=False, outcome=Outcome.CANCELLED),
}
"""The default policy, one row for each code."""

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
_NO_CREDIT: Final = "credit balance is too low"  # the API says so with 400 and invalid_request_error
_SPENT: Final = frozenset(("enforced_spend_limit_reached", "contract_spend_limit_reached"))


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed request, without any text of the conversation.

    `detail` is the API's own sentence, or that of the transport's exception; it may quote the request and reaches the
    caller only after ``redaction.clean``. `unsent` marks a kept-alive connection that the server had closed before
    the request was sent, `reused` any connection that had served a request before.
    """

    code: str
    status: int | None = None
    error_type: str = ""
    error_code: str = ""
    retry_after: float | None = None
    request_id: str = ""
    detail: str = ""
    unsent: bool = False
    reused: bool = False

    @property
    def verdict(self) -> Verdict:
        """The row of the table for this failure."""
        return VERDICTS[self.code]


class FaultError(Exception):
    """Raised inside this package: an attempt failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


def of_error_object(body: Any, *, status: int, headers: Mapping[str, str], now: datetime) -> Failure:
    """Return the failure in an error body, or in the data of an ``event: error`` (whose HTTP status is 200)."""
    error = body.get("error") if isinstance(body, dict) else None
    error = error if isinstance(error, dict) else {}
    kind = _text(error.get("type"))
    details = error.get("details")
    code = _text(details.get("error_code")) if isinstance(details, dict) else ""
    detail = str(error.get("message") or "")[:300]
    return Failure(
        code="billing" if status == 400 and _NO_CREDIT in detail else _code(status, kind, code),
        status=status,
        error_type=kind,
        error_code=code,
        retry_after=retry_after_in(headers, now),
        request_id=headers.get("request-id", ""),
        detail=detail,
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
    """Return the failure in a response with an error status."""
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    return of_error_object(parsed, status=status, headers=headers, now=now)


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
    """Return the failure behind an exception of the SDK or of its HTTP library.

    The cause decides where there is one: the SDK reports everything that goes wrong while sending as a connection
    error, a closed client and an exhausted pool included. Classes are recognised by name, so nothing is imported.
    """
    wrapped = _is(error, "APIConnectionError")
    cause = error.__cause__ if wrapped and error.__cause__ is not None else error
    code = next((code for name, code in _NAMES if _is(cause, name)), "connection" if wrapped else "local")
    reused = code == "connection" and _reused(cause)
    return Failure(
        code,
        error_type=type(cause).__name__,
        detail=str(cause)[:300],
        reused=reused,
        # A clean end without one byte of response, or a write that failed: the server had closed the connection
        # while it was idle. A reset while the response is read may have come after the request was processed.
        unsent=reused and (_is(cause, "WriteError") or _is(cause, "RemoteProtocolError")),
    )


def _reused(error: BaseException) -> bool:
    """True when `error` broke a connection that an earlier request had opened; see ``transport.observe``."""
    try:
        extensions = getattr(error, "request").extensions  # noqa: B009 - httpx2 raises RuntimeError where it is unset
    except (AttributeError, RuntimeError):
        return False
    trace = extensions.get("trace") if isinstance(extensions, Mapping) else None
    return bool(getattr(trace, "reused", False))


def _is(error: BaseException, name: str) -> bool:
    return any(kind.__name__ == name for kind in type(error).__mro__)
