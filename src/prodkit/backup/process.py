"""Run PostgreSQL's programs: in a thread, ended with their caller, their words kept."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import IO, Any, Final, TypeVar

from prodkit.backup.address import Address
from prodkit.core.deadline import Deadline
from prodkit.errors import BackupError

__all__ = ["Program", "in_deadline", "in_thread", "run"]

T = TypeVar("T")
_WORDS: Final = 2000
_NICENESS: Final = 10


class Program:
    """One running program. Its standard error goes to a nameless file, so that a full pipe never stops it.

    Args:
        argv: the program and its arguments, without secrets.
        environment: the whole environment.
        address: for messages without the password.
        stdin: a file, or ``subprocess.PIPE``.
        stdout: a file, or ``subprocess.PIPE``.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        address: Address | None,
        *,
        stdin: Any = subprocess.DEVNULL,
        stdout: Any = subprocess.DEVNULL,
    ) -> None:
        self._name = argv[0].rpartition("/")[2]
        self._address = address
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed in finish()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own argv, no shell
                list(argv), env=dict(environment), stdin=stdin, stdout=stdout, stderr=self._words
            )
        except OSError as error:
            self._words.close()
            raise BackupError(f"{self._name} could not be started: {error.strerror}") from error
        with suppress(OSError):  # the service comes first
            os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICENESS)

    @property
    def stdout(self) -> IO[bytes]:
        """Its output."""
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def stdin(self) -> IO[bytes]:
        """Its input."""
        assert self._process.stdin is not None
        return self._process.stdin

    def finish(self) -> None:
        """Wait for its end.

        Raises:
            BackupError: it failed, or was killed; with its last words.
        """
        code = self._process.wait()
        words = self._said()
        self._close()
        if code < 0:
            with suppress(ValueError):
                raise BackupError(f"{self._name} was ended by {signal.Signals(-code).name}{words}")
        if code:
            raise BackupError(f"{self._name} failed{words}")

    def kill(self) -> None:
        """End it at once, without a word."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _said(self) -> str:
        self._words.seek(0)
        text = self._words.read().decode(errors="replace")
        if self._address is not None:
            text = self._address.clean(text)
        text = text.strip()
        return f": {text[-_WORDS:]}" if text else ""

    def _close(self) -> None:
        self._words.close()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


@asynccontextmanager
async def in_deadline(what: str) -> AsyncIterator[None]:
    """End a block by the caller's Deadline, if there is one.

    Args:
        what: names the work in the error.

    Raises:
        BackupError: the deadline passed; the work was undone.
    """
    limit = asyncio.timeout(Deadline.sooner(None))
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise BackupError(f"{what} did not end before the caller's deadline: run it without one") from error


async def in_thread(work: Callable[[threading.Event], T]) -> T:
    """Run `work` in a thread and hand it an event that is set when its caller is cancelled.

    The caller waits for the end of the thread even then, so that nothing of it is left behind.

    Args:
        work: looks at the event between its steps.
    """
    stop = threading.Event()
    task = asyncio.ensure_future(asyncio.to_thread(work, stop))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait((task,))
        if not task.cancelled():
            task.exception()
        raise


async def run(
    argv: Sequence[str],
    environment: Mapping[str, str],
    address: Address | None,
    *,
    feed: Callable[[IO[bytes]], None] | None = None,
) -> None:
    """Run one program to its end.

    Args:
        argv: the program and its arguments.
        environment: the whole environment.
        address: for messages without the password.
        feed: writes its input, in the thread.

    Raises:
        BackupError: it failed.
    """

    def work(stop: threading.Event) -> None:
        program = Program(argv, environment, address, stdin=subprocess.PIPE if feed else subprocess.DEVNULL)
        watcher = threading.Thread(target=_kill_when, args=(stop, program), daemon=True)
        watcher.start()
        try:
            if feed is not None:
                try:
                    with program.stdin as stdin:
                        feed(stdin)
                except BrokenPipeError:
                    pass  # it ended before its input did: its exit code and words say why
                except BaseException:
                    program.kill()
                    raise
            program.finish()
        finally:
            stop.set()
            watcher.join()

    await in_thread(work)


def _kill_when(stop: threading.Event, program: Program) -> None:
    stop.wait()
    with suppress(Exception):
        if program._process.poll() is None:
            program._process.kill()
