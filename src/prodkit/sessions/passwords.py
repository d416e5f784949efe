"""Argon2id passwords, hashed off the event loop and a few at a time.

One hash takes tens of milliseconds and tens of MiB on purpose. On the loop it would stop every other request, and
without a limit a wave of logins would take all memory; so hashing runs in threads of its own, `concurrency` at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

from prodkit.core.check import CheckResult
from prodkit.core.deadline import Deadline
from prodkit.core.secrets import Revealable, reveal
from prodkit.core.validate import Arguments
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
    """Hash and verify passwords.

    ::

        passwords = Passwords()
        stored = await passwords.hash(form["password"])
        ok, newer = await passwords.verify(stored, form["password"])     # stored is None for an unknown user

    A password is compared in Unicode's NFC form: macOS and Windows type one password as different characters.

    Args:
        time_cost: passes over the memory.
        memory_kib: memory of one hash in KiB.
        parallelism: lanes of one hash.
        concurrency: hashes at once, each in a thread.
        max_queue: callers that may wait; beyond them :class:`~prodkit.BulkheadFullError`, which becomes a 503.
        max_length: characters; a longer password is refused before it costs anything.
        name: name of the health check.
    """

    def __init__(
        self,
        *,
        time_cost: int = TIME_COST,
        memory_kib: int = MEMORY_KIB,
        parallelism: int = PARALLELISM,
        concurrency: int = 2,
        max_queue: int = 50,
        max_length: int = 1024,
        name: str = "passwords",
    ) -> None:
        check = Arguments("Passwords")
        check.integer("time_cost", time_cost, minimum=1)
        check.integer("parallelism", parallelism, minimum=1)
        check.integer("memory_kib", memory_kib, minimum=8)
        check.that(
            not 8 <= memory_kib < 8 * parallelism,
            f"memory_kib must be at least 8 for each of parallelism={parallelism!r} lanes, got {memory_kib!r}",
        )
        check.integer("concurrency", concurrency, minimum=1)
        check.integer("max_queue", max_queue, minimum=0)
        check.integer("max_length", max_length, minimum=8)
        check.done()
        self.name: str = name
        self._time_cost, self._memory_kib, self._parallelism = time_cost, memory_kib, parallelism
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="argon2")
        self._concurrency = concurrency
        self._capacity = concurrency + max_queue
        self._busy = 0
        self._max_length = max_length
        self._hasher: PasswordHasher | None = None
        self._dummy: str | None = None

    async def hash(self, password: str | Revealable) -> str:
        """Return the encoded hash of `password` to store.

        Raises:
            ValueError: it is longer than `max_length`.
            BulkheadFullError: too many passwords wait already.
        """
        text = unicodedata.normalize("NFC", reveal(password))
        if len(text) > self._max_length:
            raise ValueError(f"a password has at most {self._max_length} characters, got {len(text)}")
        return await self._run(self._load().hash, text)

    async def verify(self, stored: str | None, password: str | Revealable) -> tuple[bool, str | None]:
        """Return True when `password` is the one of `stored`, and a new hash to store where the settings changed.

        With `stored` None, for a user that does not exist, the answer is False and takes as long as any other.
        """
        raw = reveal(password)
        text = unicodedata.normalize("NFC", raw[: 4 * self._max_length])
        too_long = len(raw) > 4 * self._max_length or len(text) > self._max_length
        return await self._run(
            self._verify, stored, text[: self._max_length], raw[: self._max_length], too_long
        )

    def _verify(self, stored: str | None, text: str, raw: str, too_long: bool) -> tuple[bool, str | None]:
        from argon2.exceptions import InvalidHashError, VerificationError

        hasher = self._load()
        if self._dummy is None:
            self._dummy = hasher.hash("a password of no user")
        outdated = False
        try:
            hasher.verify(stored if stored is not None else self._dummy, text)
        except InvalidHashError:
            with contextlib.suppress(VerificationError):
                hasher.verify(self._dummy, text)
            return False, None
        except VerificationError:
            if raw == text or stored is None:
                return False, None
            try:  # hashed as typed, before passwords were normalised
                outdated = hasher.verify(stored, raw)
            except VerificationError:
                return False, None
        if stored is None or too_long:
            return False, None
        return True, hasher.hash(text) if outdated or hasher.check_needs_rehash(stored) else None

    def _load(self) -> PasswordHasher:
        if self._hasher is None:
            try:
                from argon2 import PasswordHasher
            except ImportError:
                raise MissingExtraError.named("argon2-cffi", "sessions") from None
            self._hasher = PasswordHasher(self._time_cost, self._memory_kib, self._parallelism)
        return self._hasher

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        if self._busy >= self._capacity:
            raise BulkheadFullError(
                "too many passwords are being checked", bulkhead="passwords", retry_after=1.0
            )
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        self._busy += 1
        future.add_done_callback(self._done)
        # A thread cannot be stopped: a caller that gives up leaves, and its slot is free when the thread has finished.
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

    async def check(self) -> CheckResult:
        """Report the queue: ``degraded`` while it is full."""
        details = {
            "busy": min(self._busy, self._concurrency),
            "queued": max(0, self._busy - self._concurrency),
        }
        if self._busy >= self._capacity:
            return CheckResult("degraded", "the queue of passwords is full", details)
        return CheckResult("up", "", details)

    def close(self) -> None:
        """Release the threads; hashes in progress are finished."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def __repr__(self) -> str:
        return f"Passwords(time_cost={self._time_cost}, memory_kib={self._memory_kib}, parallelism={self._parallelism})"
