"""Backups in a bucket of a real S3 server on loopback (moto's), and a schedule that uses it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from prodkit import Runtime, backup
from prodkit.backup.manifest import write
from prodkit.errors import BackupError
from prodkit.testing.proxy import Proxy

pytestmark = pytest.mark.integration

KEYS = {"access_key": "key", "secret_key": "hunter2-hunter2", "region": "us-east-1"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str) -> Iterator[Any]:
    """A client of the server, to look behind our back."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="key",
        aws_secret_access_key="hunter2-hunter2",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="backups")
    yield client
    for each in client.list_objects_v2(Bucket="backups").get("Contents", []):
        client.delete_object(Bucket="backups", Key=each["Key"])
    client.close()


@pytest.fixture
def bucket(endpoint: str, s3: Any) -> backup.Bucket:
    return backup.Bucket("s3://backups/council", endpoint=endpoint, **KEYS)


def names(s3: Any) -> list[str]:
    return sorted(each["Key"] for each in s3.list_objects_v2(Bucket="backups").get("Contents", []))


async def filled(url: str, rows: int = 500) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(
        f"create table t as select n, md5(n::text) as text from generate_series(1, {rows}) n"
    )
    await connection.close()


async def made(url: str, place: Path) -> backup.Backup:
    await filled(url)
    return await backup.dump(url, place)


async def test_there_and_back(postgres_url: str, tmp_path: Path, bucket: backup.Bucket, s3: Any) -> None:
    dumped = await made(postgres_url, tmp_path / "here")
    stored = await bucket.upload(dumped)
    assert not stored.verified
    verified = await backup.verify(dumped.path)
    assert (await bucket.upload(verified)).verified  # its record alone
    (listed,) = await bucket.list_backups()
    assert (listed.path.name, listed.size, listed.verified) == (dumped.path.name, dumped.size, True)
    fetched = await bucket.download(listed.path.name, tmp_path / "there")
    assert fetched.path.read_bytes() == dumped.path.read_bytes()
    assert fetched.path.stat().st_mode & 0o777 == 0o600
    assert backup.list_backups(tmp_path / "there") == [replace(fetched, created_at=fetched.created_at)]
    assert (await backup.verify(fetched.path)).tables == {"public.t": 500}
    assert (await backup.Status(bucket).check()).status == "up"


async def test_a_backup_of_many_parts(tmp_path: Path, bucket: backup.Bucket) -> None:
    content = os.urandom(1 << 20) * 21
    path = tmp_path / "council-20260101T000000Z-abcdef.dump"
    path.write_bytes(content)
    record = backup.Backup(
        path, "council", datetime(2026, 1, 1, tzinfo=UTC), len(content), hashlib.sha256(content).hexdigest()
    )
    write(record)
    await bucket.upload(path)
    fetched = await bucket.download(path.name, tmp_path / "there")
    assert fetched.path.read_bytes() == content


async def test_what_is_damaged_here_is_not_uploaded(
    postgres_url: str, tmp_path: Path, bucket: backup.Bucket, s3: Any
) -> None:
    dumped = await made(postgres_url, tmp_path)
    events: list[Any] = []
    runtime = Runtime()
    runtime.events.subscribe(events.append, backup.BackupFailed)
    bucket._runtime = runtime
    content = bytearray(dumped.path.read_bytes())
    content[len(content) // 2] ^= 1
    dumped.path.write_bytes(content)
    with pytest.raises(BackupError, match="damaged"):
        await bucket.upload(dumped)
    assert names(s3) == []
    assert [each.step for each in events] == ["upload"]
    shutil.copy(dumped.path, tmp_path / "copy.dump")
    with pytest.raises(BackupError, match="no record"):
        await bucket.upload(tmp_path / "copy.dump")


async def test_what_is_damaged_there_is_not_published_here(
    postgres_url: str, tmp_path: Path, bucket: backup.Bucket, s3: Any
) -> None:
    dumped = await made(postgres_url, tmp_path / "here")
    await bucket.upload(dumped)
    key = f"council/{dumped.path.name}"
    content = bytearray(dumped.path.read_bytes())
    content[100] ^= 1
    s3.put_object(Bucket="backups", Key=key, Body=bytes(content))
    with pytest.raises(BackupError, match="damaged"):
        await bucket.download(dumped.path.name, tmp_path / "there")
    assert [each.name for each in (tmp_path / "there").iterdir()] == [".lock"]
    s3.put_object(Bucket="backups", Key=key, Body=bytes(content[:-1]))  # cut
    assert await bucket.list_backups() == []
    s3.put_object(Bucket="backups", Key=key + ".json", Body=b"{")
    with pytest.raises(BackupError, match="no backup"):
        await bucket.download(dumped.path.name, tmp_path / "there")
    for name in ("../x", "a/b", "", ".."):
        with pytest.raises(BackupError, match="no name"):
            await bucket.download(name, tmp_path)


async def test_a_cut_network_publishes_nothing(
    postgres_url: str, tmp_path: Path, endpoint: str, s3: Any
) -> None:
    dumped = await made(postgres_url, tmp_path)
    with Proxy(endpoint) as proxy:
        lossy = backup.Bucket("s3://backups", endpoint=proxy.url_for(endpoint), timeout=1, **KEYS)
        proxy.refuse()
        with pytest.raises(BackupError, match="could not") as problem:
            await lossy.upload(dumped)
        assert "hunter2" not in str(problem.value)
        assert names(s3) == []
        assert (await backup.Status(lossy).check()).status == "degraded"
        proxy.heal()
        await lossy.upload(dumped)
        assert len(await lossy.list_backups()) == 1


async def test_a_cancelled_upload_ends_and_lists_nothing(
    tmp_path: Path, bucket: backup.Bucket, s3: Any
) -> None:
    content = os.urandom(1 << 20) * 40
    path = tmp_path / "council-20260101T000000Z-abcdef.dump"
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    record = backup.Backup(path, "council", datetime(2026, 1, 1, tzinfo=UTC), len(content), sha256)
    write(record)
    task = asyncio.create_task(bucket.upload(path))
    async with asyncio.timeout(60):
        while not s3.list_multipart_uploads(Bucket="backups").get("Uploads"):
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names(s3) == []
    assert await bucket.list_backups() == []
    await bucket.upload(path)  # again, and whole
    assert len(await bucket.list_backups()) == 1


async def test_a_bucket_that_is_not_there(tmp_path: Path, endpoint: str, s3: Any) -> None:
    nowhere = backup.Bucket("s3://nowhere", endpoint=endpoint, **KEYS)
    with pytest.raises(BackupError, match="could not list"):
        await nowhere.list_backups()


async def test_prune_keeps_the_last_verified_ones(tmp_path: Path, bucket: backup.Bucket, s3: Any) -> None:
    import hashlib

    now = datetime.now(UTC)
    for days, verified in ((1, True), (20, True), (40, False), (50, True), (60, True), (70, True)):
        path = tmp_path / f"council-20260101T0000{days:02}Z-abcdef.dump"
        path.write_bytes(b"content")
        created = now - timedelta(days=days)
        os.utime(path, (created.timestamp(), created.timestamp()))
        digest = hashlib.sha256(b"content").hexdigest()
        write(backup.Backup(path, "council", created, 7, digest, verified_at=created if verified else None))
        await bucket.upload(path)
    s3.put_object(Bucket="backups", Key="council/notes.txt", Body=b"mine")
    s3.put_object(Bucket="backups", Key="council/council-20260101T000000Z-aaaaaa.dump", Body=b"unfinished")
    planned = await bucket.prune(days=30, keep=3, dry_run=True)
    assert len(await bucket.list_backups()) == 6
    done = await bucket.prune(days=30, keep=3)
    assert done == planned
    gone = {path.name[-20:-12] for path in done.removed}
    assert gone == {"T000060Z", "T000070Z"} | ({"T000040Z"} if "T000040Z" in gone else set())
    left = names(s3)
    assert "council/notes.txt" in left
    assert "council/council-20260101T000000Z-aaaaaa.dump" in left  # younger than a day
    assert len([name for name in left if name.endswith(".json")]) == 6 - len(done.removed)


async def test_the_schedule_makes_the_backup_of_today_once(
    postgres_url: str, tmp_path: Path, bucket: backup.Bucket
) -> None:
    await filled(postgres_url)
    schedule = backup.Schedule(postgres_url, tmp_path, bucket=bucket)
    second = backup.Schedule(postgres_url, tmp_path, bucket=bucket, retry=0.2)
    async with schedule, second, asyncio.timeout(60):
        while not await bucket.list_backups():
            await asyncio.sleep(0.1)
        while second.last_error or schedule.last_error:
            await asyncio.sleep(0.1)
        assert (await schedule.check()).status == "up"
    assert len(backup.list_backups(tmp_path)) == 1
    (stored,) = await bucket.list_backups()
    assert stored.verified
    await schedule._run_due()
    assert len(backup.list_backups(tmp_path)) == 1


async def test_a_schedule_reports_what_fails_and_goes_on(tmp_path: Path) -> None:
    async with backup.Schedule("postgresql://u:hunter2@127.0.0.1:1/d", tmp_path, retry=60) as schedule:
        async with asyncio.timeout(20):
            while not schedule.last_error:
                await asyncio.sleep(0.02)
        found = await schedule.check()
    assert found.status == "degraded"
    assert "hunter2" not in found.reason


def command(endpoint: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``prodkit backup`` as a process of its own."""
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "hunter2-hunter2", "AWS_REGION": "us-east-1"}
    return subprocess.run(
        [sys.executable, "-m", "prodkit", "backup", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "AWS_ENDPOINT_URL": endpoint, **keys, **environment},
    )


def test_a_process_that_is_done_ends_with_its_own_status(endpoint: str, s3: Any) -> None:
    """Several at a time, so that the end of the interpreter meets threads that still run."""
    with ThreadPoolExecutor(6) as threads:
        ends = list(threads.map(lambda _: command(endpoint, "list", "--bucket", "s3://backups"), range(24)))
    assert {(each.returncode, each.stdout) for each in ends} == {(0, "no backups\n")}


def test_the_command(postgres_url: str, tmp_path: Path, endpoint: str, s3: Any) -> None:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return command(endpoint, *words, DATABASE_URL=postgres_url, BACKUP_BUCKET="s3://backups/cli")

    ran = call("run", str(tmp_path / "here"), "--prune", "--json")
    assert ran.returncode == 0, ran.stderr
    name = Path(json.loads(ran.stdout)["path"]).name
    assert json.loads(ran.stdout)["bucket"] == f"s3://backups/cli/{name}"
    assert name in call("list", "--bucket", "s3://backups/cli").stdout
    fetched = call("download", name, str(tmp_path / "there"))
    assert fetched.returncode == 0, fetched.stderr
    assert call("verify", str(tmp_path / "there" / name)).returncode == 0
    assert call("prune", "--bucket", "s3://backups/cli", "--days", "0").returncode == 0
    assert call("download", "nothing", str(tmp_path)).returncode == 1
    assert call("list", "--bucket", "http://x").returncode == 2
