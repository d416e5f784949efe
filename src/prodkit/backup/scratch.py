"""A throw-away PostgreSQL server, for verifying a backup where no server is named."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from prodkit.backup.address import Address
from prodkit.backup.dumping import connect
from prodkit.backup.tools import Tools
from prodkit.errors import BackupError

__all__ = ["scratch_server"]

_START_LIMIT: Final = 60.0
# Drop root's rights, ask the kernel to end the program with us (a change of rights would undo that), and become it.
_LAUNCH: Final = """\
import ctypes, os, sys
uid, gid, signal = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
if uid >= 0:
    os.setgroups([]); os.setgid(gid); os.setuid(uid)
try:
    ctypes.CDLL(None).prctl(1, signal)
except (OSError, AttributeError):
    pass
os.execv(sys.argv[4], sys.argv[4:])
"""


@asynccontextmanager
async def scratch_server(tools: Tools) -> AsyncIterator[Address]:
    """Run a server in a private temporary directory, reachable by its Unix socket there and by nothing else.

    Args:
        tools: an installation that has ``initdb`` and ``postgres``.

    Raises:
        BackupError: it does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="prodkit-verify-"))
    identity = _identity()
    if identity != (-1, -1):
        os.chown(folder, *identity)
    data, log = folder / "data", folder / "log"
    server: asyncio.subprocess.Process | None = None
    try:
        options = [
            "-D",
            str(data),
            "-U",
            "postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]
        made = await _launch([tools.path("initdb"), *options], identity, log)
        if await made.wait():
            raise BackupError(f"the throw-away server could not be made: {_tail(log)}")
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(folder),
            "unix_socket_permissions": "0700",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "dynamic_shared_memory_type": "mmap",
            "logging_collector": "off",
            "autovacuum": "off",
        }
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        server = await _launch([tools.path("postgres"), "-D", str(data), *arguments], identity, log)
        address = Address.of(f"postgresql://postgres@/postgres?host={folder}")
        await _ready(server, address, log)
        yield address
    finally:
        if server is not None and server.returncode is None:
            server.send_signal(signal.SIGQUIT)
            try:
                await asyncio.wait_for(server.wait(), 10)
            except TimeoutError:
                server.kill()
                await server.wait()
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _launch(argv: Sequence[str], identity: tuple[int, int], log: Path) -> asyncio.subprocess.Process:
    with log.open("ab") as words:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            "-c",
            _LAUNCH,
            *map(str, identity),
            str(int(signal.SIGQUIT)),
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            cwd="/",
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        )


async def _ready(server: asyncio.subprocess.Process, address: Address, log: Path) -> None:
    until = asyncio.get_running_loop().time() + _START_LIMIT
    while True:
        if server.returncode is not None:
            raise BackupError(f"the throw-away server ended while it started: {_tail(log)}")
        try:
            connection = await connect(address)
        except BackupError:
            if asyncio.get_running_loop().time() > until:
                raise
            await asyncio.sleep(0.05)
        else:
            connection.terminate()
            return


def _identity() -> tuple[int, int]:
    """The user that the server runs as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return -1, -1
    with suppress(KeyError):
        found = pwd.getpwnam("nobody")
        return found.pw_uid, found.pw_gid
    raise BackupError("PostgreSQL does not run as root, and there is no other user to run it as: give url=")


def _tail(log: Path) -> str:
    with suppress(OSError):
        return log.read_text(errors="replace").strip()[-1000:]
    return ""
