"""Errors of the servers that tests start."""

from __future__ import annotations

from prodkit.errors import UnavailableError

__all__ = ["DirectoryInUseError", "ServerError"]


class ServerError(UnavailableError):
    """The server did not start, or a command on it failed. The message ends with its last log lines."""


class DirectoryInUseError(ServerError):
    """Another process runs a server on this data directory; ``pid`` is that process, 0 where unknown."""

    def __init__(self, message: str = "", *, retry_after: float | None = None, pid: int = 0) -> None:
        super().__init__(message, retry_after=retry_after)
        self.pid = pid
