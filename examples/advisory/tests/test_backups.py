"""The app says when its last backup was verified, and an operator can make one."""

from __future__ import annotations

import pytest

from advisory.migrations.apply import migrate
from advisory.store.backups import Backups
from advisory.tests.test_commands import advisory_command
from prodkit import postgres

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
        await backups.record("new.dump", 20)
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
