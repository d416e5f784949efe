"""Behind PgBouncer in transaction mode no notification arrives: the worker says so, polls, and works."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from urllib.parse import urlsplit

import pytest

import prodkit as pk
from prodkit import jobs, postgres
from prodkit.testing.events import EventLog

pytestmark = pytest.mark.integration


@pytest.fixture
def pooled_url(postgres_url, tmp_path):
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("PgBouncer is not installed: apt-get install pgbouncer")
    server = urlsplit(postgres_url)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "users.txt").write_text(f'"{server.username}" "{server.password}"\n')
    (tmp_path / "bouncer.ini").write_text(
        f"""[databases]
* = host=127.0.0.1 port={server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = plain
auth_file = {tmp_path}/users.txt
pool_mode = transaction
default_pool_size = 5
unix_socket_dir =
logfile = {tmp_path}/bouncer.log
"""
    )
    command = [program, str(tmp_path / "bouncer.ini")]
    if os.geteuid() == 0:
        for each in (tmp_path, *tmp_path.parents[:3]):
            each.chmod(0o755)
        os.chown(tmp_path, 65534, 65534)
        for each in tmp_path.iterdir():
            os.chown(each, 65534, 65534)
        command[1:1] = ["-u", "nobody"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"postgresql://{server.username}:{server.password}@127.0.0.1:{port}{server.path}"
    finally:
        process.terminate()
        process.wait()


async def test_behind_a_transaction_pooler_the_worker_polls_and_says_so(postgres_url, pooled_url):
    inside, left = asyncio.Event(), asyncio.Event()

    @jobs.job
    async def echo(word: str) -> str:
        return await jobs.step("echo", upper, word)

    async def upper(word: str) -> str:
        return word.upper()

    @jobs.job
    async def endless() -> None:
        await jobs.step("wait", forever)

    async def forever() -> None:
        inside.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            left.set()

    runtime = pk.Runtime()
    async with postgres.Pool(postgres_url, min_size=1) as direct:
        await jobs.install(direct)
    async with postgres.Pool(pooled_url, min_size=1, max_size=5, runtime=runtime) as db:
        with EventLog(runtime.events) as log:
            async with jobs.Worker(db, [echo, endless], runtime=runtime) as worker:
                for word in ("one", "two", "three"):
                    run = await echo.enqueue(db, word)
                    assert await jobs.Runs(db).result(run.id, timeout=10) == word.upper()
                run = await endless.enqueue(db)
                await asyncio.wait_for(inside.wait(), 5)
                assert await jobs.Runs(db).cancel(run.id)
                await asyncio.wait_for(left.wait(), 3)
                for _ in range(100):
                    if log.of(jobs.ListenStopped):
                        break
                    await asyncio.sleep(0.05)
                assert len(log.of(jobs.ListenStopped)) == 1
                assert str((await worker.check()).details["notifications"]).startswith("poll: ")
