"""The directory of one server: its lock, password, log and data.

::

    <directory>/            made with mode 0700, or as it was found
      <kind>.lock           held by the supervisor and the server together, names the owner's pid
      password              generated once, mode 0600
      server.log            started again above 1 MiB
      data/                 the server's own
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

from prodkit.errors import InvalidError
from prodkit.testing.servers.errors import DirectoryInUseError

__all__ = ["ServerDirectory"]

_MAX_LOG: Final = 2**20
_PATIENCE: Final = 5.0  # seconds for the server of an owner that died to finish its clean shutdown


class ServerDirectory:
    """A locked directory. The lock belongs to an open file, so it cannot outlive the processes that hold it.

    That is also why stale pid files cannot hurt: a process that holds the lock knows that no server runs here.
    """

    def __init__(self, kind: str, path: Path | None) -> None:
        """With no `path`, a new temporary one. Raises :class:`DirectoryInUseError` or InvalidError."""
        self.temporary: bool = path is None
        self.path: Path = (
            Path(tempfile.mkdtemp(prefix=f"prodkit-{kind}-")) if path is None else path.absolute()
        )
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = self.path / f"{kind}.lock"
        if not lock.exists() and any(self.path.iterdir()):
            raise InvalidError(
                f"{self.path} holds files, but no {kind} server of ours: give an empty or a new directory"
            )
        self.lock: int = _locked(lock, kind)
        self.data: Path = self.path / "data"
        self.log_path: Path = self.path / "server.log"
        if self.log_path.exists() and self.log_path.stat().st_size > _MAX_LOG:
            self.log_path.unlink()
        self.log: int = os.open(self.log_path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def password(self) -> str:
        """The password of the server in here, made at the first call."""
        path = self.path / "password"
        if not path.exists():
            draft = path.with_suffix(".new")
            draft.unlink(missing_ok=True)
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(secrets.token_hex(24))
            draft.rename(path)
        return path.read_text().strip()

    def log_size(self) -> int:
        return os.fstat(self.log).st_size

    def log_since(self, size: int, lines: int = 15) -> str:
        """The last lines written after the log was `size` bytes long."""
        start = max(size, self.log_size() - 8192)
        text = os.pread(self.log, 8192, start).decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def close(self) -> None:
        """Gives up our own handles; processes that inherited the lock keep it. Removes a temporary directory."""
        for fd in (self.lock, self.log):
            os.close(fd)
        if self.temporary:
            shutil.rmtree(self.path, ignore_errors=True)


def _locked(path: Path, kind: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    limit = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            text = os.pread(fd, 32, 0).decode(errors="replace").strip()
            pid = int(text) if text.isdigit() else 0
            if pid and not _alive(pid) and time.monotonic() < limit:
                time.sleep(0.02)
                continue
            os.close(fd)
            who = "this process" if pid == os.getpid() else "another process"
            raise DirectoryInUseError(
                f"{path.parent} is in use: {who} (pid {pid}) runs a {kind} server on it."
                " Stop that one, or use another directory",
                pid=pid,
            ) from None
        except BaseException:
            os.close(fd)
            raise
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return True
    return state != b"Z"  # a zombie only waits to be counted
