"""Argon2id passwords, hashed off the event loop and a few at a time.

One hash takes tens of milliseconds and tens of MiB on purpose. On the loop it would stop every other request, and
without a limit a wave of logins would take all memory; so hashing runs in threads of its own, `concurrency` at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

from prodkit.core.deadline import Deadline
from prodkit.core.secrets import Revealable, reveal
from prodkit.errors import BulkheadFullError, DeadlineExceededError, MissingExtraError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

__all__ = ["MEMORY_KIB", "PARALLELISM", "TIME_COST", "Passwords"]

T = TypeVar("T")

MEMORY_KIB: Final = 19_456
"""19 MiB, two passes, one lane: the OWASP Password Storage Cheat Sheet's Argon2id setting. The defaults of
argon2-cffi cost eight times as much, which a login form open to everybody has to pay at each attempt."""
TIME_COST: Final = 2
PARALLELISM: Final = 1


class Passwords:
    """Hashes and verifies passwords.

    ::

        passwords = Passwords()
        stored = await passwords.hash(form["password"])
        ok, newer = await passwords.verify(stored, form["password"])     # stored is None for an unknown user

    `concurrency` hashes run at once and `queue` callers may wait; beyond that BulkheadFullError, which the web
    part answers with 503. `max_length` refuses absurd inputs before they cost anything.
    """

    def __init__(
        self,
        *,
        time_cost: int = TIME_COST,
        memory_kib: int = MEMORY_KIB,
        parallelism: int = PARALLELISM,
        concurrency: int = 2,
        queue: int = 50,
        max_length: int = 1024,
    ) -> None:
        problems = [
            f"{name} must be at least {least}, got {value!r}"
            for name, value, least in (
                ("time_cost", time_cost, 1),
                ("memory_kib", memory_kib, 8 * parallelism),
                ("parallelism", parallelism, 1),
                ("concurrency", concurrency, 1),
                ("queue", queue, 0),
                ("max_length", max_length, 8),
            )
            if value < least
        ]
        if problems:
            raise ValueError("Passwords: " + "; ".join(problems))
        self._time_cost, self._memory_kib, self._parallelism = time_cost, memory_kib, parallelism
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="argon2")
        self._places = concurrency + queue
        self._busy = 0
        self._max_length = max_length
        self._hasher: PasswordHasher | None = None
        self._dummy: str | None = None

    async def hash(self, password: str | Revealable) -> str:
        """The encoded hash to store. Raises ValueError for a password longer than `max_length`."""
        text = reveal(password)
        if len(text) > self._max_length:
            raise ValueError(f"a password has at most {self._max_length} characters, got {len(text)}")
        return await self._run(self._load().hash, text)

    async def verify(self, stored: str | None, password: str | Revealable) -> tuple[bool, str | None]:
        """Whether `password` is the one of `stored`, and a newer hash to store where the settings have changed.

        With `stored` None, for a user that does not exist, the answer is no and takes as long as any other.
        """
        text = reveal(password)
        too_long = len(text) > self._max_length
        return await self._run(self._verify, stored, text[: self._max_length], too_long)

    def _verify(self, stored: str | None, text: str, too_long: bool) -> tuple[bool, str | None]:
        from argon2.exceptions import InvalidHashError, VerificationError

        hasher = self._load()
        if self._dummy is None:
            self._dummy = hasher.hash("nobody has this password")
        try:
            hasher.verify(stored if stored is not None else self._dummy, text)
        except InvalidHashError:
            with contextlib.suppress(VerificationError):
                hasher.verify(self._dummy, text)
            return False, None
        except VerificationError:
            return False, None
        if stored is None or too_long:
            return False, None
        return True, hasher.hash(text) if hasher.check_needs_rehash(stored) else None

    def _load(self) -> PasswordHasher:
        if self._hasher is None:
            try:
                from argon2 import PasswordHasher
            except ImportError:
                raise MissingExtraError.named("argon2-cffi", "sessions") from None
            self._hasher = PasswordHasher(self._time_cost, self._memory_kib, self._parallelism)
        return self._hasher

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        if self._busy >= self._places:
            raise BulkheadFullError(
                "too many passwords are being checked", bulkhead="passwords", retry_after=1.0
            )
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        self._busy += 1
        future.add_done_callback(self._done)
        # A thread cannot be stopped: who hangs up leaves, and the place is free when the thread has finished.
        limit = asyncio.timeout(Deadline.sooner(None))
        try:
            async with limit:
                return await asyncio.shield(future)
        except TimeoutError as error:
            if limit.expired():
                raise DeadlineExceededError("the deadline passed while a password was checked") from error
            raise

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._busy -= 1
        if not future.cancelled():
            future.exception()

    def close(self) -> None:
        """Lets the threads go; what runs is finished."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def __repr__(self) -> str:
        return f"Passwords(time_cost={self._time_cost}, memory_kib={self._memory_kib}, parallelism={self._parallelism})"
