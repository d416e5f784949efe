"""One attempt of a request: the error in which a response travels through the policies, and its lifetime."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from prodkit.core.outcome import Outcome
from prodkit.errors import CallTimeoutError, DeadlineExceededError
from prodkit.policies.classify import outcome_of, outcome_of_status

__all__ = [
    "RETRIED",
    "AttemptError",
    "AttemptTimeoutError",
    "Exchange",
    "failure",
    "is_one_of",
    "worth_another",
]

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""RFC 9110 §9.2.2: a second request does what one does."""

RETRIED: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that a later request may turn into an answer."""

NEVER_SENT: Final = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})


class AttemptError(Exception):
    """An attempt that is worth another one, or that speaks of the host: a response, or an error of the library."""

    def __init__(self, *, response: Any = None, error: Exception | None = None, repeatable: bool) -> None:
        super().__init__()
        self.response: Any = response
        self.error: Exception | None = error
        self.repeatable: bool = repeatable
        if error is not None:
            self.outcome: Outcome = outcome_of(error)
        else:
            hinted = "retry-after" in response.headers or "retry-after-ms" in response.headers
            self.outcome = outcome_of_status(response.status_code, hinted=hinted)

    def theirs(self) -> Exception:
        """Return the error as the library raised it, with the notes of the retries."""
        error = self.error or RuntimeError("a response is no error")
        for note in getattr(self, "__notes__", ()):
            error.add_note(note)
        return error


class AttemptTimeoutError(AttemptError, TimeoutError):
    """An attempt without an answer in time, by any limit: budgets and limits price it as a timeout."""


class Exchange:
    """A request, and the response that a retry has rejected, which holds a connection until it is closed."""

    __slots__ = ("rejected", "request")

    def __init__(self, request: Any) -> None:
        self.request: Any = request
        self.rejected: Any = None

    def answered(self, response: Any) -> Any:
        """Return `response`, or raise it as an error if it is worth another attempt."""
        if response.status_code in RETRIED:
            self.rejected = response
            raise AttemptError(response=response, repeatable=repeatable(self.request, None))
        return response

    async def release(self) -> None:
        """Close the rejected response, so that its connection is free."""
        rejected, self.rejected = self.rejected, None
        if rejected is not None:
            with suppress(Exception):  # a connection that breaks while it is given up is given up
                await rejected.aclose()

    def release_sync(self) -> None:
        """Close the rejected response of a synchronous transport."""
        rejected, self.rejected = self.rejected, None
        if rejected is not None:
            with suppress(Exception):
                rejected.close()


def failure(request: Any, error: Exception) -> Exception:
    """Return the error that the policies see in place of the library's `error`."""
    if isinstance(error, DeadlineExceededError):
        return error
    late = isinstance(error, CallTimeoutError) or is_one_of(error, {"TimeoutException"})
    kind = AttemptTimeoutError if late else AttemptError
    return kind(error=error, repeatable=repeatable(request, error))


def repeatable(request: Any, error: Exception | None) -> bool:
    """Return True if `request` may be sent again after `error`."""
    try:
        _ = request.content  # both libraries raise where the body is a stream, which can be sent only once
    except Exception:  # noqa: BLE001 - their classes differ, the meaning does not
        return False
    return request.method.upper() in IDEMPOTENT or (error is not None and is_one_of(error, NEVER_SENT))


def is_one_of(error: Exception, names: frozenset[str] | set[str]) -> bool:
    """Return True if a class of `error` has one of `names`: neither library is imported."""
    return any(kind.__name__ in names for kind in type(error).__mro__)


def worth_another(error: Exception) -> bool:
    """Return True if a retry may repeat the request after `error`."""
    return isinstance(error, AttemptError) and error.repeatable
