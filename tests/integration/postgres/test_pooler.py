"""Through PgBouncer in transaction mode: detected, restarted, and reported where a session would be needed."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from prodkit import Deadline, postgres
from prodkit.errors import InvalidError

pytestmark = pytest.mark.integration
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class PgBouncer:
    def __init__(self, url: str, folder: Path) -> None:
        self._folder = folder
        parts = urlsplit(url)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        (folder / "users.txt").write_text(f'"{parts.username}" "{parts.password}"\n')
        (folder / "pgbouncer.ini").write_text(
            f"""[databases]
* = host=127.0.0.1 port={parts.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self._port}
unix_socket_dir =
auth_type = plain
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = 3
logfile = {folder}/log
pidfile = {folder}/pid
"""
        )
        self.url = url.replace(f":{parts.port}/", f":{self._port}/")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert PROGRAM is not None
        (self._folder / "pid").unlink(missing_ok=True)
        options = {"user": "nobody"} if os.geteuid() == 0 else {}
        self._process = subprocess.Popen(
            [PROGRAM, "-q", str(self._folder / "pgbouncer.ini")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **options,  # type: ignore[call-overload]
        )
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < until
                time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


@pytest.fixture
def bouncer(postgres_url: str, tmp_path: Path) -> Iterator[PgBouncer]:
    if PROGRAM is None:
        pytest.skip("pgbouncer is not installed")
    folder = Path("/tmp") / f"prodkit-bouncer-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir()
    if os.geteuid() == 0:
        user = pwd.getpwnam("nobody")
        os.chown(folder, user.pw_uid, user.pw_gid)
    bouncer = PgBouncer(postgres_url, folder)
    bouncer.start()
    try:
        yield bouncer
    finally:
        bouncer.stop()
        shutil.rmtree(folder)


async def test_it_is_detected_and_nothing_fails_or_leaks(bouncer: PgBouncer) -> None:
    async with postgres.Pool(bouncer.url, min_size=2, max_size=12) as db:

        async def work(number: int) -> None:
            assert await db.fetchval("select $1::int", number) == number
            async with db.transaction() as tx:
                await tx.execute("set local work_mem = '3MB'")
            with Deadline.after(10):
                assert await db.fetchval("show work_mem") == "4MB"
                assert await db.fetchval("show statement_timeout") == "0"

        await asyncio.gather(*(work(number) for number in range(150)))


async def test_a_restart_while_the_loop_is_busy_reaches_no_request(bouncer: PgBouncer) -> None:
    async with postgres.Pool(bouncer.url, min_size=4, max_size=4) as db:
        await asyncio.gather(*(db.fetchval("select 1") for _ in range(8)))
        while db.stats().idle < 4:
            await asyncio.sleep(0.01)
        bouncer.stop()
        bouncer.start()  # the loop is blocked all the time
        assert await asyncio.gather(*(db.fetchval("select 1") for _ in range(10))) == [1] * 10


async def test_what_needs_a_session_is_refused(bouncer: PgBouncer) -> None:
    async with postgres.Pool(bouncer.url, min_size=1, max_size=2) as db, db.acquire() as connection:
        with pytest.raises(InvalidError, match="transaction pooler"):
            await connection.add_listener("x", lambda *_: None)
        for statement in ("LISTEN x", "select pg_advisory_lock(1)"):
            with pytest.raises(InvalidError, match="transaction pooler"):
                await connection.execute(statement)
        with pytest.raises(InvalidError, match="transaction pooler"):
            async with postgres.advisory_lock(connection, "x"):
                pass
    bare = await asyncpg.connect(bouncer.url, statement_cache_size=0)
    with pytest.raises(InvalidError, match="transaction pooler"):
        async with postgres.advisory_lock(bare, "x"):
            pass
    await bare.close()
