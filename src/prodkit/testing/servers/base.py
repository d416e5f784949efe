"""Base of the servers: the channel to the supervisor, and start, stop, restart, kill."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from prodkit.testing.servers.directory import ServerDirectory
from prodkit.testing.servers.errors import ServerError

__all__ = ["ENVIRONMENT", "Server", "SupervisorChannel"]

_SUPERVISOR: Final = str(Path(__file__).with_name("_supervisor.py"))
ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
"""All that a server sees of our environment: nothing of it, so no secret can leak into its children."""


class SupervisorChannel:
    """The pipe to the supervisor process: commands go down, facts come back."""

    def __init__(self, fds: tuple[int, ...], log: int) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own argv, no shell
            [sys.executable, "-I", "-S", _SUPERVISOR, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=fds,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,  # Ctrl-C reaches the owner, which then stops us in its own order
        )
        self._buffer = b""
        self.exit_code: int | None = None

    def order(self, **order: object) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise ServerError("the server's supervisor is gone") from error

    def fact(self, timeout: float) -> dict[str, Any] | None:
        """Return the next fact, or None when none comes within `timeout` seconds."""
        assert self._process.stdout is not None
        limit = time.monotonic() + timeout
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, limit - time.monotonic()))
            if not ready:
                return None
            data = os.read(self._process.stdout.fileno(), 4096)
            if not data:
                raise ServerError("the server's supervisor is gone")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        fact: dict[str, Any] = json.loads(line)
        if "exited" in fact:
            self.exit_code = fact["exited"]
        return fact

    def serve(self, order: dict[str, Any]) -> int:
        """Start a process and return its pid."""
        self.exit_code = None
        self.order(do="serve", **order)
        fact = self.fact(10.0)
        if fact is None or "failed" in fact:
            raise ServerError(f"could not run {(fact or {}).get('failed', order['argv'][0])}")
        return int(fact["pid"])

    def wait(self, timeout: float) -> int:
        """Wait for the end of the process that `serve` started, and return its exit code."""
        limit = time.monotonic() + timeout
        while self.exit_code is None:
            if self.fact(max(0.0, limit - time.monotonic())) is None:
                raise ServerError(f"the server did not end within {timeout} s")
        return self.exit_code

    def quit(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()  # end of file means: stop, remove, leave
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its children get their death signal from the kernel
            self._process.wait()
        self._process.stdout.close()


class Server(ABC):
    """A real server on 127.0.0.1 that cannot outlive this process.

    However this process ends, a supervisor stops the server cleanly and nothing is left within two seconds. All
    methods are synchronous and may be called from any thread; :meth:`start` waits until the server answers.

    Args:
        directory: keeps the server's data (made when missing; it must be empty or one of ours); by default a
            temporary one that is removed at :meth:`stop`.
        port: the TCP port; a free one by default.
        start_timeout: seconds until :meth:`start` gives up; 60 by default.
    """

    kind: ClassVar[str]
    _softly: ClassVar[signal.Signals]
    _harder: ClassVar[signal.Signals]

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        port: int | None = None,
        start_timeout: float = 60.0,
    ) -> None:
        if port is not None and not 0 < port < 65536:
            raise ValueError(f"port must be between 1 and 65535, got {port!r}")
        if start_timeout <= 0:
            raise ValueError(f"start_timeout must be positive, got {start_timeout!r}")
        self._wanted_directory = None if directory is None else Path(directory)
        self._wanted_port = port
        self._port = port or 0
        self._start_timeout = start_timeout
        self._guard = threading.RLock()
        self._channel: SupervisorChannel | None = None
        self._directory: ServerDirectory | None = None
        self._owner = 0
        self._pid: int | None = None
        self._password = ""

    # Defined by each kind of server.

    @classmethod
    @abstractmethod
    def available(cls) -> bool:
        """Return True when the server's programs are installed."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The address for clients, password included."""

    @abstractmethod
    def _prepare(self, directory: ServerDirectory) -> tuple[int, ...]:
        """Open the files that the server needs in its directory; return the descriptors that it inherits."""

    @abstractmethod
    def _first_steps(self, channel: SupervisorChannel, directory: ServerDirectory) -> None:
        """Run the steps that a directory needs once, before its first start."""

    @abstractmethod
    def _serve(self) -> dict[str, Any]:
        """Return the program to run: ``argv``, ``cwd`` and further keys of the supervisor's ``serve``."""

    @abstractmethod
    def _ready(self, pid: int) -> bool:
        """Return True when the server with this pid answers on our port."""

    def _cleanup(self) -> None:  # noqa: B027 - optional
        """Close the files that `_prepare` opened."""

    # Life cycle.

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        with self._guard:
            self._look()
            return self._pid

    @property
    def running(self) -> bool:
        """True while the server's process runs."""
        return self.pid is not None

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1, the same after a restart."""
        if not self._port:
            raise ServerError(f"the {self.kind} server was not started")
        return self._port

    @property
    def directory(self) -> Path:
        """The directory in use."""
        if self._directory is None:
            raise ServerError(f"the {self.kind} server was not started")
        return self._directory.path

    def start(self) -> Self:
        """Start the server unless it runs, wait until it answers, and return self.

        Raises :class:`~prodkit.MissingExtraError` when the programs are not installed,
        :class:`~prodkit.testing.servers.DirectoryInUseError` when the directory is in use, and
        :class:`~prodkit.testing.servers.ServerError` when the server does not come up.
        """
        with self._guard:
            self._look()
            if self._pid is not None:
                return self
            try:
                if self._channel is None:
                    self._open()
                self._launch()
            except BaseException:
                self.stop()
                raise
            return self

    def stop(self, *, timeout: float = 10.0) -> None:
        """Stop the server cleanly, by force after `timeout` seconds; remove a temporary directory."""
        with self._guard:
            if self._owner != os.getpid():
                return  # a fork of the owner has the object, not the server
            atexit.unregister(self.stop)
            channel, self._channel = self._channel, None
            try:
                if channel is not None and channel.exit_code is None and self._pid is not None:
                    channel.order(do="stop", grace=timeout)
                    channel.wait(timeout + 10.0)
            finally:
                self._pid = None
                if channel is not None:
                    channel.quit()
                self._cleanup()
                if self._directory is not None:
                    self._directory.close()
                self._directory = None
                self._port = self._wanted_port or 0

    def restart(self) -> Self:
        """Stop the server cleanly and start it again on the same port with the same data."""
        return self._again("stop", grace=10.0)

    def kill(self) -> None:
        """Kill the server with SIGKILL, as a crash would; ``start()`` brings it back with its data."""
        with self._guard:
            self._end("kill")

    def _again(self, how: str, **details: object) -> Self:
        with self._guard:
            self._end(how, **details)
            return self.start()

    def _end(self, how: str, **details: object) -> None:
        self._look()
        if self._channel is not None and self._pid is not None:
            self._channel.order(do=how, **details)
            self._channel.wait(20.0)
            self._pid = None

    def _look(self) -> None:
        """Notice a server that ended by itself."""
        if self._channel is not None and self._pid is not None and self._owner == os.getpid():
            self._channel.fact(0.0)
            if self._channel.exit_code is not None:
                self._pid = None

    def _open(self) -> None:
        self._owner = os.getpid()
        directory = self._directory = ServerDirectory(self.kind, self._wanted_directory)
        self._password = directory.password()
        fds = (directory.lock, directory.log, *self._prepare(directory))
        self._fds = fds
        channel = self._channel = SupervisorChannel(fds, directory.log)
        atexit.register(self.stop)
        if directory.temporary:
            channel.order(do="remove", paths=[str(directory.path)])
        self._first_steps(channel, directory)

    def _order(self, argv: list[str], **more: Any) -> dict[str, Any]:
        assert self._directory is not None
        fds = [fd for fd in self._fds if fd != self._directory.log]
        return {"argv": argv, "env": ENVIRONMENT, "cwd": "/", "fds": fds, "log": self._directory.log, **more}

    def _launch(self) -> None:
        assert self._channel is not None
        assert self._directory is not None
        attempts = 1 if self._port else 5  # another process may take a free port before the server does
        for attempt in range(1, attempts + 1):
            self._port = self._port or free_port()
            size = self._directory.log_size()
            serve = self._order(**self._serve(), softly=int(self._softly), harder=int(self._harder))
            pid = self._channel.serve(serve)
            if self._await_ready(pid):
                self._pid = pid
                return
            tail = self._directory.log_since(size)
            if "ddress already in use" not in tail or attempt == attempts:
                raise ServerError(f"the {self.kind} server ended while it started:\n{tail}")
            self._port = 0

    def _await_ready(self, pid: int) -> bool:
        assert self._channel is not None
        assert self._directory is not None
        limit = time.monotonic() + self._start_timeout
        while time.monotonic() < limit:
            self._channel.fact(0.005)
            if self._channel.exit_code is not None:
                return False
            if self._ready(pid):
                return True
        self._channel.order(do="kill")
        self._channel.wait(20.0)
        raise ServerError(f"the {self.kind} server was not ready within {self._start_timeout} s")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        where = str(self._wanted_directory) if self._wanted_directory else "temporary"
        return f"{type(self).__name__}({where!r}, port={self._port or None}, pid={self._pid})"


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
