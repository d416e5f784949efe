"""The health check of backups: how old the last verified one is."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from prodkit import Runtime
from prodkit.backup import Status
from prodkit.backup.manifest import Backup, write
from prodkit.testing import virtual_time

HOUR = 3600.0


def kept(folder: Path, age: float, *, verified: bool = True, database: str = "app") -> None:
    """Write a backup that is `age` hours old."""
    created = Runtime().clock.now() - timedelta(hours=age)
    path = folder / f"{database}-{age}-{verified}"
    path.write_bytes(b"dump")
    write(Backup(path, database, created, 4, verified_at=created if verified else None))


async def look(folder: Path, **options: Any) -> Any:
    return await Status(folder, **options).check()


async def test_a_recent_verified_backup_is_up(tmp_path: Path) -> None:
    kept(tmp_path, 25)
    found = await look(tmp_path)
    assert (found.status, found.reason) == ("up", "")
    assert found.details["backups"] == 1
    assert found.details["newest_age"] == pytest.approx(25 * HOUR, abs=60)


async def test_a_verified_backup_that_is_too_old(tmp_path: Path) -> None:
    kept(tmp_path, 30)
    found = await look(tmp_path)
    assert (found.status, found.reason) == ("degraded", "the last verified backup is 30 hours old")
    assert (await look(tmp_path, max_age=31 * HOUR)).status == "up"


async def test_a_newer_one_that_was_never_verified_does_not_count(tmp_path: Path) -> None:
    kept(tmp_path, 1, verified=False)
    assert (await look(tmp_path)).reason == "no backup was ever verified"
    kept(tmp_path, 30)
    found = await look(tmp_path)
    assert found.status == "degraded"
    assert found.details["newest_age"] == pytest.approx(HOUR, abs=60)
    assert found.details["verified_age"] == pytest.approx(30 * HOUR, abs=60)
    kept(tmp_path, 2)
    assert (await look(tmp_path)).status == "up"


@pytest.mark.parametrize("folder", ["", "missing"])
async def test_no_backup_at_all(tmp_path: Path, folder: str) -> None:
    found = await look(tmp_path / folder)
    assert (found.status, found.reason, found.details) == ("degraded", "there is no backup", {"backups": 0})


async def test_one_database_of_several(tmp_path: Path) -> None:
    kept(tmp_path, 1, database="other")
    assert (await look(tmp_path)).status == "up"
    assert (await look(tmp_path, database="app")).reason == "there is no backup"


def test_its_name_and_its_options() -> None:
    assert Status("/backups").name == "backup"
    assert Status("/backups", name="nightly").name == "nightly"
    with pytest.raises(ValueError, match="max_age"):
        Status("/backups", max_age=0)
    assert virtual_time(look(Path("/nonexistent"))).status == "degraded"
