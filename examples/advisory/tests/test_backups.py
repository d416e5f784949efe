"""The app says when its last backup was verified, and an operator can make one."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from advisory.deploy import backups as service
from advisory.migrations.apply import migrate
from advisory.store.backups import Backups
from advisory.tests.test_commands import advisory_command, environment
from prodkit import backup, postgres

pytestmark = [pytest.mark.integration, pytest.mark.slow]


async def test_a_backup_is_late_when_nobody_verified_one_in_time(postgres_url):
    await migrate(postgres_url)
    async with postgres.Pool(postgres_url, min_size=0, max_size=1) as db:
        backups = Backups(db, max_hours=26)
        assert await backups.latest() is None
        assert (await backups.check()).status == "degraded"
        await backups.record("old.dump", 10)
        await db.execute("update backups set verified_at = now() - interval '27 hours'")
        late = await backups.check()
        assert (late.status, late.reason) == ("degraded", "the last verified backup is 27 hours old")
        await backups.record("older.dump", 20, datetime.now(UTC) - timedelta(hours=30))
        assert (await backups.check()).status == "degraded"
        await backups.record("new.dump", 20)
        await backups.record("new.dump", 20)
        assert await db.fetchval("select count(*) from backups where name = 'new.dump'") == 1
        assert (await backups.check()).status == "up"
        assert (await backups.latest()).name == "new.dump"


def test_the_command_verifies_a_backup_and_the_health_page_says_when(
    make_settings, running, a_visitor, tmp_path
):
    app = running(make_settings(backup_max_hours=26.0)).start()
    try:
        with a_visitor(app.url) as ana:
            assert ana.get("/api/health").json()["checks"]["backup"] == {"status": "degraded"}
            variables = {
                "DATABASE_URL": app.settings.database_url.reveal(),
                "BACKUP_DIRECTORY": str(tmp_path),
            }
            assert advisory_command("backup", "--check", **variables).returncode == 1
            done = advisory_command("backup", **variables)
            assert done.returncode == 0, done.stderr
            assert "backup verified" in done.stdout
            assert advisory_command("backup", "--check", **variables).returncode == 0
            assert "Última cópia de segurança verificada" in ana.get("/saude").text
    finally:
        app.stop()


# --- the service, with a bucket ---------------------------------------------------------------------------------------

KEYS = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "hunter2-hunter2"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 server on loopback with the bucket `backups`."""
    moto = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="key",
        aws_secret_access_key="hunter2-hunter2",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="backups")
    client.close()
    yield f"http://{host}:{port}"
    server.stop()


def stored(endpoint: str, folder: str) -> backup.Bucket:
    return backup.Bucket(
        f"s3://backups/{folder}",
        endpoint=endpoint,
        region="us-east-1",
        access_key="key",
        secret_key="hunter2-hunter2",
    )


async def test_the_service_stores_the_backup_of_today_and_stops_at_sigterm(
    postgres_url: str, tmp_path: Path, endpoint: str
) -> None:
    await migrate(postgres_url)
    secret = tmp_path / "secret"
    secret.write_text("hunter2-hunter2\n")
    place = tmp_path / "backups"
    variables = environment(
        DATABASE_URL=postgres_url,
        BACKUP_DIRECTORY=str(place),
        BACKUP_BUCKET="s3://backups/service",
        AWS_ENDPOINT_URL=endpoint,
        AWS_REGION="us-east-1",
        AWS_ACCESS_KEY_ID="key",
        AWS_SECRET_ACCESS_KEY_FILE=str(secret),
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "advisory.deploy.backups",
        "schedule",
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(90):
            while b"backup verified" not in (line := await process.stdout.readline()):
                assert line, "the service ended"
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            rest = await process.stdout.read()
            assert await process.wait() == 0, rest
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    (there,) = await stored(endpoint, "service").list_backups()
    assert there.verified
    assert service.check(place) == 0
    async with postgres.Pool(postgres_url, min_size=0, max_size=1) as db:
        latest = await Backups(db).latest()
        assert latest is not None
        assert (latest.name, latest.verified_at) == (there.path.name, there.verified_at)


def test_a_backup_that_is_not_stored_does_not_count(postgres_url: str, tmp_path: Path, endpoint: str) -> None:
    variables = {
        "DATABASE_URL": postgres_url,
        "BACKUP_DIRECTORY": str(tmp_path),
        "AWS_ENDPOINT_URL": endpoint,
        **KEYS,
    }
    done = advisory_command("backup", BACKUP_BUCKET="s3://missing", **variables)
    assert done.returncode == 1
    assert "s3://missing" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert len(backup.list_backups(tmp_path)) == 1  # here it lies, verified
    assert advisory_command("backup", "--check", **variables).returncode == 1
    done = advisory_command("backup", BACKUP_BUCKET="s3://backups/once", **variables)
    assert done.returncode == 0, done.stderr
    assert advisory_command("backup", "--check", **variables).returncode == 0
    (there,) = asyncio.run(stored(endpoint, "once").list_backups())
    assert there.verified
