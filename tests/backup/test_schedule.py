from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from prodkit import backup
from prodkit.errors import BackupError, MissingExtraError

URL = "postgresql://u:hunter2@127.0.0.1:1/council"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-11-24T02:59:59+00:00", "2026-11-23T03:00:00+00:00"),
        ("2026-11-24T03:00:00+00:00", "2026-11-24T03:00:00+00:00"),
        ("2026-11-24T23:00:00+00:00", "2026-11-24T03:00:00+00:00"),
        ("2026-03-01T00:00:00+00:00", "2026-02-28T03:00:00+00:00"),
    ],
)
def test_due(tmp_path: Path, now: str, due: str) -> None:
    assert backup.Schedule(URL, tmp_path, at="03:00").due(at(now)) == at(due)


def test_due_is_in_utc(tmp_path: Path) -> None:
    now = datetime(2026, 11, 24, 1, 0, tzinfo=timezone(timedelta(hours=-3)))  # 04:00 in UTC
    assert backup.Schedule(URL, tmp_path).due(now) == datetime(2026, 11, 24, 3, tzinfo=UTC)


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="time of day") as problem:
        backup.Schedule(URL, tmp_path, at="25:00", keep=0, recipients=["age1x"])
    assert "keep" in str(problem.value)
    assert "identity" in str(problem.value)


def test_it_shows_no_secret(tmp_path: Path) -> None:
    assert "hunter2" not in repr(backup.Schedule(URL, tmp_path))


@pytest.mark.parametrize(
    "error", [MissingExtraError.named("obstore", "backup"), PermissionError(13, "denied"), RuntimeError()]
)
async def test_no_error_of_a_step_ends_the_loop_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("prodkit.backup.schedule.dump", broken)
    async with backup.Schedule(URL, tmp_path) as schedule, asyncio.timeout(10):
        while not schedule.last_error:
            await asyncio.sleep(0.01)
        assert (await schedule.check()).status == "degraded"


async def test_a_key_that_must_not_delete_leaves_the_directory_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    async def step(name: str, error: Exception | None = None) -> None:
        done.append(name)
        if error is not None:
            raise error

    bucket = backup.Bucket("s3://bucket")
    monkeypatch.setattr("prodkit.backup.schedule.dump", lambda *_, **__: step("dump"))
    monkeypatch.setattr("prodkit.backup.schedule.prune", lambda *_, **__: step("prune here"))
    monkeypatch.setattr(bucket, "upload", lambda _: step("upload"))
    monkeypatch.setattr(bucket, "prune", lambda **_: step("prune there", BackupError("denied")))
    with pytest.raises(BackupError, match="denied"):
        await backup.Schedule(URL, tmp_path, check=False, bucket=bucket).run()
    assert done == ["dump", "upload", "prune here", "prune there"]
    done.clear()
    await backup.Schedule(URL, tmp_path, check=False, bucket=bucket, prune_bucket=False).run()
    assert done == ["dump", "upload", "prune here"]
