import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from prodkit import InvalidError, MissingExtraError
from prodkit.testing.servers import (
    DirectoryInUseError,
    Postgres,
    Redis,
    ServerError,
    binaries,
    postgres_binary,
)

pytestmark = pytest.mark.integration

KINDS = [
    pytest.param(
        kind,
        marks=pytest.mark.skipif(not kind.available(), reason=f"no {kind.kind} is installed"),
        id=kind.kind,
    )
    for kind in (Postgres, Redis)
]
SOURCE = str(Path(__file__).parents[3] / "src")
WHEELS = sorted({str(home.parents[1]) for home in (binaries.find_postgres(), binaries.find_redis()) if home})
PYTHON = (
    next(
        (
            path
            for path in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3")
            if Path(path).exists()
            and all(map(binaries.reachable_by_all, (Path(path), Path(SOURCE), Path(WHEELS[0]))))
        ),
        "",
    )
    if WHEELS
    else ""
)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def redis_call(server: Redis, *words: str) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as link:
        password = server.url.split(":")[2].split("@")[0]
        link.sendall(f"AUTH {password}\r\n{' '.join(words)}\r\nQUIT\r\n".encode())
        answer = b""
        while data := link.recv(4096):
            answer += data
    return answer.removeprefix(b"+OK\r\n").removesuffix(b"+OK\r\n")


def put(server: Postgres | Redis) -> None:
    if isinstance(server, Redis):
        redis_call(server, "SET", "kept", "7")
    else:
        server.execute("create table kept as select 7 as n")


def got(server: Postgres | Redis) -> bool:
    if isinstance(server, Redis):
        return b"7" in redis_call(server, "GET", "kept")
    return server.execute("select n from kept") == "7"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def family(pid: int) -> set[int]:
    """A process and all its descendants."""
    found = {pid}
    stats: list[bytes] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # another process may end while this runs
            stats.append(stat.read_bytes())
    parents = {int(s.split()[0]): int(s.rpartition(b")")[2].split()[1]) for s in stats}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], dict[str, object]]]]:
    """Starts another Python process that owns a server and reports its pid and directory."""
    processes: list[subprocess.Popen[str]] = []

    def begin(
        kind: type,
        directory: Path | None,
        then: str = "sys.stdin.read()",
        python: str = sys.executable,
        **options: object,
    ):
        code = f"""
            import json, os, sys, threading, time
            from prodkit.testing.servers import {kind.__name__}
            server = {kind.__name__}({str(directory) if directory else None!r})
            server.start()
            print(json.dumps({{"pid": server.pid, "directory": str(server.directory), "url": server.url}}), flush=True)
            {then}
        """
        process = subprocess.Popen(
            [python, "-c", textwrap.dedent(code)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((SOURCE, *WHEELS))},
            start_new_session=True,
            **options,
        )
        processes.append(process)
        line = process.stdout.readline()
        assert line, "the owner did not start its server"
        return process, json.loads(line)

    yield begin
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it leads a group of its own: its forks go with it
        process.communicate()


def gone_within(pids: set[int], seconds: float) -> float:
    begun = time.monotonic()
    while any(alive(pid) for pid in pids):
        assert time.monotonic() - begun < seconds, {pid for pid in pids if alive(pid)}
        time.sleep(0.01)
    return time.monotonic() - begun


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["exit", "error", "SIGTERM", "SIGKILL", "forked"])
def test_whatever_ends_the_owner_nothing_is_left(kind, how, owner) -> None:
    then = {
        "error": "raise SystemExit(3)",
        "exit": "pass",
        # A worker forked by the owner keeps every pipe of it open.
        "forked": "os.fork() or time.sleep(6); sys.stdin.read()",
    }.get(how, "sys.stdin.read()")
    process, facts = owner(kind, None, then)
    pids = family(process.pid) | family(facts["pid"])
    if how == "forked":
        time.sleep(0.1)
        process.kill()
    elif how.startswith("SIG"):
        process.send_signal(signal.Signals[how])
    process.wait(10)
    servers = {pid for pid in pids if pid != process.pid}
    assert facts["pid"] in servers
    if how == "forked":
        servers -= {
            pid for pid in servers if alive(pid) and b"-c\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
        }
    gone_within(servers, 2.0)
    time.sleep(0.05)
    assert not Path(facts["directory"]).exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_data_outlives_a_killed_owner_and_the_stop_was_clean(kind, how, owner, tmp_path) -> None:
    process, _ = owner(kind, tmp_path / "data", "sys.stdin.read()")
    server = kind(tmp_path / "data")
    with pytest.raises(DirectoryInUseError) as caught:
        server.start()
    assert caught.value.pid == process.pid
    assert str(process.pid) in str(caught.value)
    process.send_signal(signal.Signals[how])
    process.wait(10)
    with server:  # waits for the clean end of the other one
        put(server)
    log = (tmp_path / "data" / "server.log").read_text()
    assert "was interrupted" not in log
    assert "automatic recovery" not in log
    with server:
        assert got(server)


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_supervisor_takes_its_server_along(kind, owner, tmp_path) -> None:
    process, facts = owner(kind, tmp_path / "data", "sys.stdin.read()")
    supervisor = int(Path(f"/proc/{facts['pid']}/stat").read_bytes().rpartition(b")")[2].split()[1])
    assert supervisor != process.pid
    servers = family(facts["pid"])
    os.kill(supervisor, signal.SIGKILL)
    gone_within(servers, 2.0)


@pytest.mark.parametrize("kind", KINDS)
def test_restart_and_kill_keep_the_data_and_the_port(kind, tmp_path) -> None:
    with kind(tmp_path / "data") as server:
        url, pid = server.url, server.pid
        put(server)
        assert server.restart() is server
        assert server.url == url
        assert server.pid != pid
        assert got(server)
        if kind is Redis:
            time.sleep(1.1)  # appendfsync everysec
        server.kill()
        assert not server.running
        with pytest.raises((ServerError, OSError)):
            got(server)
        server.start()
        assert server.url == url
        assert got(server)
    assert not server.running
    server.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_start_in_this_process_is_refused_too(kind, tmp_path) -> None:
    with kind(tmp_path / "data") as server:
        assert server.start() is server
        with pytest.raises(DirectoryInUseError, match=f"this process .pid {os.getpid()}."):
            kind(tmp_path / "data").start()
        assert server.running


@pytest.mark.parametrize("kind", KINDS)
def test_long_paths_and_odd_names(kind, tmp_path) -> None:
    directory = tmp_path / ("x" * 100) / ("y" * 100) / "with space 'quoted\" é"
    with kind(directory) as server:
        put(server)
        assert got(server)
        assert server.directory == directory


@pytest.mark.parametrize("kind", KINDS)
def test_a_stale_pid_file_with_the_pid_of_a_living_process(kind, tmp_path) -> None:
    with kind(tmp_path / "data") as server:
        put(server)
    if kind is Postgres:
        stale = tmp_path / "data" / "data" / "postmaster.pid"
        stale.write_text(f"{os.getppid()}\n/elsewhere\n1\n5432\n\n127.0.0.1\n  1 1\nready   \n")
    lock = tmp_path / "data" / f"{kind.kind}.lock"
    lock.write_text(f"{os.getppid()}\n")
    with kind(tmp_path / "data") as server:
        assert got(server)


@pytest.mark.parametrize("kind", KINDS)
def test_it_does_not_touch_what_is_not_its_own(kind, tmp_path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InvalidError, match="holds files"):
        kind(tmp_path).start()
    assert [each.name for each in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_taken_port_is_named_and_nothing_is_left(kind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = kind(port=taken.getsockname()[1])
        with pytest.raises(ServerError, match=r"ddress already in use"):
            server.start()
    assert not server.running
    with server:
        assert server.port == server._wanted_port


@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_in_argv_repr_or_log(kind, tmp_path) -> None:
    with kind(tmp_path / "data") as server:
        password = (tmp_path / "data" / "password").read_text()
        assert password in server.url
        assert password not in repr(server)
        for pid in family(server.pid) | family(os.getpid()):
            with suppress(FileNotFoundError):  # a backend that ended since it was listed
                assert password.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert password not in (tmp_path / "data" / "server.log").read_text()
        assert (tmp_path / "data" / "password").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", KINDS)
def test_the_password_is_asked_for(kind) -> None:
    with kind() as server:
        if isinstance(server, Redis):
            with socket.create_connection(("127.0.0.1", server.port), timeout=5) as link:
                link.sendall(b"PING\r\n")
                assert link.recv(100).startswith(b"-NOAUTH")
        else:
            env = {"PGPASSWORD": "wrong", "PATH": os.environ["PATH"]}
            target = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", "-c", "select 1"]
            done = subprocess.run(
                [postgres_binary("psql"), "-w", *target], env=env, capture_output=True, text=True
            )
            assert done.returncode
            assert "password authentication failed" in done.stderr


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(binaries, "_package", lambda _: None)
    monkeypatch.setenv("PATH", "/nonexistent")
    for kind in (Postgres, Redis):
        assert not kind.available()
        with pytest.raises(MissingExtraError, match="pip install"):
            kind().start()
    assert not list(tmp_path.iterdir())


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="port"):
        Redis(port=0)
    with pytest.raises(ValueError, match="start_timeout"):
        Postgres(start_timeout=0)
    with pytest.raises(ServerError, match="not started"):
        _ = Redis().url


async def test_databases_are_made_from_templates_and_dropped(postgres_server: Postgres) -> None:
    url = postgres_server.create_database('odd "name"')
    postgres_server.execute("create table t as select 5 as n", database='odd "name"')
    copy = postgres_server.create_database("copy_of_it", template='odd "name"')
    connection = await asyncpg.connect(copy)
    assert await connection.fetchval("select n from t") == 5
    postgres_server.drop_database("copy_of_it")
    connection.terminate()
    postgres_server.drop_database('odd "name"')
    with pytest.raises(ServerError, match="does not exist"):
        postgres_server.execute("select 1", database="copy_of_it")
    with pytest.raises(ValueError, match="1 to 63"):
        postgres_server.create_database("x" * 64)
    assert url.startswith("postgresql://postgres:")


def test_the_flush_and_the_database_urls(redis_server: Redis) -> None:
    redis_call(redis_server, "SET", "a", "1")
    redis_server.flush()
    assert redis_call(redis_server, "DBSIZE") == b":0\r\n"
    assert redis_server.database_url(5).endswith("/5")
    with pytest.raises(ValueError, match="63"):
        redis_server.database_url(64)


def test_another_major_version_is_refused(tmp_path: Path) -> None:
    with Postgres(tmp_path / "data"):
        pass
    (tmp_path / "data" / "data" / "PG_VERSION").write_text("16\n")
    server = Postgres(tmp_path / "data")
    for _ in range(2):  # the refusal gives the directory free again
        with pytest.raises(InvalidError, match="made by PostgreSQL 16"):
            server.start()


def test_a_crash_leaves_no_shared_memory(tmp_path: Path) -> None:
    def segments() -> set[str]:
        return {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}

    before, files = segments(), set(Path("/dev/shm").glob("PostgreSQL*"))
    with Postgres() as server:
        during = segments() - before
        assert during
        server.kill()
        assert not segments() & during
        assert set(Path("/dev/shm").glob("PostgreSQL*")) == files


@as_root
def test_as_root_below_a_private_home_without_touching_it(tmp_path: Path) -> None:
    private = tmp_path / "home"
    private.mkdir(mode=0o700)
    before = {each: each.stat() for each in (private, *private.parents)}
    with Postgres(private / "pg") as server:
        put(server)
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0
    with Postgres(private / "pg") as server:
        assert got(server)
    for path, was in before.items():
        now = path.stat()
        assert (now.st_mode, now.st_uid, now.st_gid) == (was.st_mode, was.st_uid, was.st_gid)
    assert (private / "pg").stat().st_mode & 0o777 == 0o700


@as_root
def test_as_root_with_programs_below_a_private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = binaries.postgres_home().parent
    private = tmp_path / "home"
    private.mkdir(mode=0o700)
    ignored = shutil.ignore_patterns("pginstall", "include")
    shutil.copytree(package, private / package.name, ignore=ignored, symlinks=True)
    libs = package.with_name(f"{package.name}.libs")
    shutil.copytree(libs, private / libs.name)
    monkeypatch.setattr(binaries, "_package", lambda name: private / package.name if "pg" in name else None)
    with Postgres() as server:
        program = Path(f"/proc/{server.pid}/exe").readlink()
        assert not program.is_relative_to(private)
        put(server)
        assert got(server)
    assert not program.exists()


@as_root
@pytest.mark.skipif(not PYTHON, reason="no Python, source or wheel that an ordinary user could read")
@pytest.mark.parametrize("kind", KINDS)
def test_as_an_ordinary_user(kind, owner) -> None:
    user = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as place:
        os.chown(place, user.pw_uid, user.pw_gid)
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        process, facts = owner(kind, Path(place) / "data", python=PYTHON, cwd="/", **identity)
        assert Path(f"/proc/{facts['pid']}").stat().st_uid == user.pw_uid
        servers = family(facts["pid"])
        process.terminate()
        process.wait(10)
        gone_within(servers, 2.0)
        if kind is Postgres:
            with kind(Path(place) / "data") as server:  # root after the user: still the user's files
                put(server)
                assert Path(f"/proc/{server.pid}").stat().st_uid == user.pw_uid
            assert {each.stat().st_uid for each in (Path(place) / "data" / "data").iterdir()} == {user.pw_uid}
