"""The command on a real database."""

import asyncio
import json
from uuid import uuid4

import pytest

from prodkit import cli, jobs, postgres

pytestmark = pytest.mark.integration


@jobs.job(name="printer [/] \\", attempts=1)
async def broken(page: int) -> None:
    raise OSError("no [red] paper")


@pytest.fixture
def runs(postgres_url, monkeypatch):
    """A dead run and a queued one."""

    async def prepare() -> list[str]:
        async with postgres.Pool(postgres_url) as db:
            await jobs.install(db)
            dead = await broken.enqueue(db, 7)
            async with jobs.Worker(db, [broken]):
                with pytest.raises(jobs.JobFailedError):
                    await jobs.Runs(db).result(dead.id, timeout=20)
            return [str(dead.id), str((await broken.using(delay=3600).enqueue(db, 8)).id)]

    monkeypatch.setenv("DATABASE_URL", postgres_url)
    return asyncio.run(prepare())


def test_list_show_retry_cancel_and_purge(runs, capsys):
    dead, queued = runs
    assert cli.main(["jobs", "list", "--status", "dead"]) == 0
    out = capsys.readouterr().out
    assert dead in out.replace("\n", "")
    assert "1 dead" in out
    assert queued not in out
    assert cli.main(["jobs", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["status"] for each in listed["runs"]] == ["queued", "dead"]
    assert listed["stats"]["dead"] == 1
    assert cli.main(["jobs", "show", dead]) == 0
    out = capsys.readouterr().out
    assert "OSError: no [red] paper" in out
    assert "arguments" not in out
    assert cli.main(["jobs", "retry", dead]) == 0
    assert cli.main(["jobs", "retry", dead]) == 1
    assert cli.main(["jobs", "cancel", dead]) == 0
    assert cli.main(["jobs", "cancel", dead]) == 1
    assert cli.main(["jobs", "purge", "--older", "0s"]) == 0
    assert "1 runs removed" in capsys.readouterr().out
    assert cli.main(["jobs", "show", dead]) == 1


def test_wrong_usage_and_a_database_that_is_away(runs, capsys, monkeypatch):
    assert cli.main(["jobs", "show", "seven"]) == 2
    assert cli.main(["jobs", "list", "--status", "odd"]) == 2
    assert cli.main(["jobs", "purge", "--older", "soon"]) == 2
    assert cli.main(["jobs", "show", str(uuid4())]) == 1
    capsys.readouterr()
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2@127.0.0.1:1/nothing")
    assert cli.main(["jobs", "list"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("prodkit jobs: ")
    assert "hunter2" not in err


def test_a_database_without_the_tables_is_told_apart(postgres_url, capsys):
    assert cli.main(["jobs", "list", "--url", postgres_url]) == 1
    assert "jobs.install" in capsys.readouterr().err
