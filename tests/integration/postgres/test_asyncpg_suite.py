"""asyncpg's own tests on our connections: ``PRODKIT_ASYNCPG_TESTS=…/asyncpg/tests``, sources of the installed version.

Its tests expect asyncpg's errors; ours have them as their cause, so a few differ by design and are named below.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from prodkit.testing.servers import Postgres

pytestmark = pytest.mark.integration

MODULES = (
    "cache_invalidation", "cancellation", "codecs", "copy", "cursor", "execute", "introspection", "listeners",
    "prepare", "record", "timeout", "transaction", "types",
)  # fmt: skip
PLUGIN = """
import asyncpg
from asyncpg import connection

from prodkit.postgres.asyncpg_internals import GuardedConnection

connect = connection.connect


async def guarded(*args, **options):
    if options.get("connection_class") in (None, asyncpg.Connection):
        options["connection_class"] = GuardedConnection
    return await connect(*args, **options)


connection.connect = guarded
"""
BY_DESIGN = {
    # A connection that was terminated in the middle is a DatabaseError with asyncpg's as its cause.
    "test_execute_script_interrupted_terminate",
    "test_prepare_07_interrupted_terminate",
    # asyncpg's own pool around our connections: our pool passes changes on, and is what listeners see.
    "test_listen_01",
    "test_listen_02",
    "test_listen_notletters",
    "test_prepare_cache_invalidation_in_pool",
    "test_type_cache_invalidation_in_pool",
}


def failures(server: Postgres, place: Path, cwd: Path, *options: str) -> tuple[set[str], str]:
    address = urlsplit(server.url)
    variables = {
        "PGHOST": address.hostname or "",
        "PGPORT": str(address.port),
        "PGUSER": address.username or "",
        "PGPASSWORD": address.password or "",
        "PGDATABASE": "postgres",
        "PYTHONPATH": os.pathsep.join((str(cwd), str(Path(__file__).parents[3] / "src"))),
    }
    command = [sys.executable, "-m", "pytest", *options, "-p", "no:cacheprovider", "-q", "-rfE", "--tb=short"]
    command += ["--rootdir", str(place), "-c", os.devnull, "-W", "ignore"]
    command += [str(place / f"test_{name}.py") for name in MODULES]
    environment = {**os.environ, **variables}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert " passed" in done.stdout, done.stdout[-3000:]
    return set(re.findall(r"^(?:FAILED|ERROR) \S*::(\w+)", done.stdout, re.MULTILINE)), done.stdout


@pytest.mark.skipif("PRODKIT_ASYNCPG_TESTS" not in os.environ, reason="needs asyncpg's sources")
@pytest.mark.timeout(600)
def test_asyncpgs_own_tests_pass_on_our_connections_as_on_its_own(
    postgres_server: Postgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "guarded_plugin.py").write_text(PLUGIN)
    place = Path(os.environ["PRODKIT_ASYNCPG_TESTS"])
    theirs, _ = failures(
        postgres_server, place, tmp_path
    )  # tests of extensions that this server does not have
    ours, output = failures(postgres_server, place, tmp_path, "-p", "guarded_plugin")
    summary = (
        f"{output.splitlines()[-1]}; asyncpg's own: {len(theirs)} fail; ours alone: {sorted(ours - theirs)}"
    )
    with capsys.disabled():
        print(f"\n{summary}")  # noqa: T201
    assert ours - theirs <= BY_DESIGN, output[-9000:]
