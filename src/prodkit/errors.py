"""Every error that prodkit raises, in one tree.

The branch says whether the guarded call ran, which is what a caller has to know before it tries again::

    ProdkitError
    ├── RejectedError               never started: nothing was sent, nothing changed
    │   ├── CircuitOpenError        the dependency is failing and not called
    │   ├── BulkheadFullError       too many calls at once, and the queue is full
    │   ├── RateLimitedError        the quota is used up
    │   ├── BudgetExceededError     a spending limit would be passed
    │   ├── PoolExhaustedError      no connection became free in time
    │   ├── LockHeldError           another holder has the lock
    │   └── DrainingError           the process is shutting down
    ├── CallTimeoutError            started, effect unknown (also a TimeoutError)
    │   └── DeadlineExceededError   … because the caller's Deadline passed
    ├── InvalidError                the input was refused (also a ValueError)
    │   ├── EnvError                .problems: every bad variable at once
    │   ├── InvalidFileError        .problems: why the file was refused
    │   ├── InvalidSessionError     unknown, expired or revoked session
    │   └── CsrfError               the request did not come from our own pages
    ├── UnavailableError            a dependency failed after its policies gave up
    │   ├── DatabaseError
    │   │   └── CommitUnknownError  lost during COMMIT: it may or may not have taken effect
    │   ├── RedisError
    │   ├── LockLostError           a lease ended while its holder was at work
    │   ├── LlmError                .attempts, .partial
    │   └── BackupError
    └── MissingExtraError           an optional package is not installed (also an ImportError)

Some parts raise a closer kind, which stands beside the part: ``llm.LlmTimeoutError`` is an LlmError and a
CallTimeoutError.

Facts are keyword attributes with defaults, so every error pickles and copies; ``retry_after`` is in seconds and
None where it is not known. Messages and attributes never hold a secret.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

__all__ = [
    "BackupError",
    "BudgetExceededError",
    "BulkheadFullError",
    "CallTimeoutError",
    "CircuitOpenError",
    "CommitOutcome",
    "CommitUnknownError",
    "CsrfError",
    "DatabaseError",
    "DeadlineExceededError",
    "DrainingError",
    "EnvError",
    "EnvProblem",
    "FileProblem",
    "InvalidError",
    "InvalidFileError",
    "InvalidSessionError",
    "LlmError",
    "LockHeldError",
    "LockLostError",
    "MissingExtraError",
    "PoolExhaustedError",
    "ProdkitError",
    "RateLimitedError",
    "RedisError",
    "RejectedError",
    "UnavailableError",
]


DISTRIBUTION: Final = "prodkit-resilience"
"""The name under which pip installs this package. The distribution ``prodkit`` is another project."""


class ProdkitError(Exception):
    """The root: catch it to catch every error that prodkit raises."""

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RejectedError(ProdkitError):
    """The call never started. Trying elsewhere, or later, is safe."""


class CircuitOpenError(RejectedError):
    """The circuit breaker refused the call; ``retry_after`` is when it will next let one through."""

    # Slots, and no dictionary until a note is added: a refusal has to cost less than the call that it replaces.
    __slots__ = ("breaker", "retry_after")

    breaker: str
    retry_after: float | None

    def __init__(self, message: str = "", *, retry_after: float | None = None, breaker: str = "") -> None:
        super().__init__(message, retry_after=retry_after)
        self.breaker = breaker

    def __reduce__(self) -> tuple[Any, ...]:
        facts = {**self.__dict__, "retry_after": self.retry_after, "breaker": self.breaker}
        return type(self), self.args, facts


class BulkheadFullError(RejectedError):
    """The concurrency limit is reached and the queue is full, or the wait would pass the deadline."""

    def __init__(self, message: str = "", *, retry_after: float | None = None, bulkhead: str = "") -> None:
        super().__init__(message, retry_after=retry_after)
        self.bulkhead = bulkhead


class RateLimitedError(RejectedError):
    """A quota is used up; ``limit`` is its name."""

    def __init__(self, message: str = "", *, retry_after: float | None = None, limit: str = "") -> None:
        super().__init__(message, retry_after=retry_after)
        self.limit = limit


class BudgetExceededError(RejectedError):
    """A spending limit would be passed by this call; `partial` is what had been reached before, to resume from."""

    def __init__(self, message: str = "", *, retry_after: float | None = None, partial: Any = None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.partial = partial


class PoolExhaustedError(RejectedError):
    """No connection became free within the acquire timeout."""

    def __init__(
        self,
        message: str = "",
        *,
        retry_after: float | None = None,
        size: int = 0,
        idle: int = 0,
        waiting: int = 0,
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.size = size
        self.idle = idle
        self.waiting = waiting


class LockHeldError(RejectedError):
    """A lock stayed with another holder for as long as the caller waited; `retry_after` is the rest of its lease."""


class DrainingError(RejectedError):
    """The process is shutting down and takes no new work."""


class CallTimeoutError(ProdkitError, TimeoutError):
    """The call was started and cancelled at its limit; whether it took effect is unknown."""

    def __init__(
        self, message: str = "", *, retry_after: float | None = None, timeout: float | None = None
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.timeout = timeout


class DeadlineExceededError(CallTimeoutError):
    """The caller's :class:`~prodkit.Deadline` passed."""


class InvalidError(ProdkitError, ValueError):
    """The input was refused. Trying again with the same input cannot help."""


@dataclass(frozen=True, slots=True)
class EnvProblem:
    """One thing wrong with the environment. Never the value.

    Args:
        variable: the name in the environment, prefix included.
        rule: a stable code, such as ``missing`` or ``too_short``.
        hint: one sentence: what is wrong and what to do.
    """

    variable: str
    rule: str
    hint: str


class EnvError(InvalidError):
    """The environment is not usable; ``problems`` lists everything that is wrong with it."""

    def __init__(
        self, message: str = "", *, retry_after: float | None = None, problems: tuple[EnvProblem, ...] = ()
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.problems = problems


@dataclass(frozen=True, slots=True)
class FileProblem:
    """One reason why a file was refused.

    Args:
        code: stable, for programs.
        message: for the person who sent the file.
    """

    code: str
    message: str


class InvalidFileError(InvalidError):
    """The file was refused; ``problems`` says why, with stable codes."""

    def __init__(
        self, message: str = "", *, retry_after: float | None = None, problems: tuple[FileProblem, ...] = ()
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.problems = problems


class InvalidSessionError(InvalidError):
    """The session is unknown, expired or revoked."""


class CsrfError(InvalidError):
    """The request could not be shown to come from our own pages; ``reason`` is a stable code."""

    def __init__(self, message: str = "", *, retry_after: float | None = None, reason: str = "") -> None:
        super().__init__(message, retry_after=retry_after)
        self.reason = reason


class UnavailableError(ProdkitError):
    """A dependency failed, and its policies (retries, fallbacks) are used up."""


class DatabaseError(UnavailableError):
    """PostgreSQL could not be reached, or the connection was lost."""


class CommitOutcome(StrEnum):
    """The outcome of a COMMIT. True only when it is ``committed``."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        return self is CommitOutcome.COMMITTED


class CommitUnknownError(DatabaseError):
    """The reply to COMMIT did not arrive: it may or may not have taken effect.

    Look for what the transaction should have written before doing it again, or ask :meth:`resolve`.
    """

    resolver: Callable[[], Awaitable[CommitOutcome]] | None = None

    async def resolve(self) -> CommitOutcome:
        """Find out what became of the COMMIT.

        Returns ``CommitOutcome.UNKNOWN`` where the reply never arrived and the transaction had not been opened with
        ``resolvable=True``, or where the server cannot be reached now; asking again later may give more.
        """
        return CommitOutcome.UNKNOWN if self.resolver is None else await self.resolver()

    def __reduce__(self) -> tuple[Any, ...]:
        facts = {name: value for name, value in vars(self).items() if name != "resolver"}
        return type(self), self.args, facts


class RedisError(UnavailableError):
    """Redis could not be reached, or the connection was lost."""


class LockLostError(UnavailableError):
    """The lease of a lock ended while its holder was at work: another one may have it now."""


class LlmError(UnavailableError):
    """No model gave a whole answer.

    ``attempts`` holds one record per HTTP request, ``partial`` what had arrived when the call failed, in a form
    that is safe to send back; ``code`` is a stable name of the last failure, and ``outcome`` how policies count it
    (``core.outcome.Outcome``; None leaves it to their classifier).
    """

    outcome: Any = None

    def __init__(
        self,
        message: str = "",
        *,
        retry_after: float | None = None,
        attempts: tuple[Any, ...] = (),
        partial: Any = None,
        code: str = "",
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.attempts = attempts
        self.partial = partial
        self.code = code


class BackupError(UnavailableError):
    """A backup could not be made, verified or restored."""


class MissingExtraError(ProdkitError, ImportError):
    """An optional package is missing; the message names the pip command."""

    def __init__(
        self, message: str = "", *, retry_after: float | None = None, extra: str = "", package: str = ""
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.extra = extra
        self.package = package

    @classmethod
    def named(cls, package: str, extra: str) -> MissingExtraError:
        """Return the error for `package`, which the extra `extra` installs."""
        message = f"{package} is not installed: run `pip install '{DISTRIBUTION}[{extra}]'`"
        if namesake():
            message += f". {NAMESAKE}"
        return cls(message, extra=extra, package=package)


NAMESAKE: Final = (
    "The distribution 'prodkit' is installed too: it is another project with the same import name and overwrites files "
    f"of this one. Run `pip uninstall prodkit` and `pip install --force-reinstall {DISTRIBUTION}`"
)
"""The advice for an environment that holds the other project as well."""


def namesake() -> bool:
    """Return True when the other project named ``prodkit`` is installed in this environment."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution("prodkit")
    except PackageNotFoundError:
        return False
    return True
