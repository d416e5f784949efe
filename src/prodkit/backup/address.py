"""Hand an address to PostgreSQL's programs through the environment: their arguments are there for all to read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlunsplit

from prodkit.core.secrets import Revealable, reveal
from prodkit.core.urls import split_address
from prodkit.errors import BackupError

__all__ = ["Address"]

_VARIABLES: Final = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "connect_timeout": "PGCONNECT_TIMEOUT",
}
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT")
_TLS: Final = ("require", "verify-ca", "verify-full")


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """The place of a database.

    Args:
        url: the address itself, with its password.
        database: the database's name.
        password: the password alone, to keep it out of messages.
        variables: environment for PostgreSQL's programs, without the password.
    """

    url: str
    database: str
    password: str
    variables: dict[str, str]

    @classmethod
    def of(cls, url: str | Revealable) -> Address:
        """Read an address.

        Args:
            url: ``postgresql://user:password@host:5432/database``, or a value that hides it.

        Raises:
            BackupError: it names no database, or cannot be read.
        """
        text = reveal(url)
        try:
            parts = split_address(text)
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
        except ValueError:
            raise BackupError("the address of the database cannot be read") from None
        database = unquote(parts.path.lstrip("/")) or query.get("dbname", "")
        if parts.scheme not in ("postgresql", "postgres") or not database:
            raise BackupError("the address must be postgresql://user:password@host:5432/database")
        login, _, places = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        values = {name: value for name, value in query.items() if name in _VARIABLES}
        if places and "host" not in values:
            hosts = [_host(each) for each in places.split(",")]
            values["host"] = ",".join(host for host, _ in hosts)
            values.setdefault("port", ",".join(port or "5432" for _, port in hosts))
        if user:
            values.setdefault("user", unquote(user))
        variables = {_VARIABLES[name]: value for name, value in values.items()}
        variables["PGDATABASE"] = database
        return cls(text, database, unquote(password) or query.get("password", ""), variables)

    @property
    def needs_tls(self) -> bool:
        """True when the server is only reached over TLS."""
        return self.variables.get("PGSSLMODE", "") in _TLS

    def named(self, database: str) -> Address:
        """Return the address of another database of the same server.

        Args:
            database: its name.
        """
        parts = split_address(self.url)
        url = urlunsplit(parts._replace(path=f"/{quote(database, safe='')}"))
        return Address(url, database, self.password, self.variables | {"PGDATABASE": database})

    @contextmanager
    def environment(self) -> Iterator[dict[str, str]]:
        """Give the environment for a program; the password lies in a file that only we can read, and is removed."""
        base = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        base |= {"LC_ALL": "C", "PGAPPNAME": "prodkit-backup", "PGCONNECT_TIMEOUT": "10"} | self.variables
        with tempfile.TemporaryDirectory(prefix="prodkit-backup-") as folder:
            file = Path(folder) / "pgpass"  # the folder is 0700
            file.touch(mode=0o600)
            if self.password:
                escaped = self.password.replace("\\", "\\\\").replace(":", "\\:")
                file.write_text(f"*:*:*:*:{escaped}\n")
            yield base | {"PGPASSFILE": str(file)}

    def clean(self, text: str) -> str:
        """Return a program's words without the password.

        Args:
            text: what it wrote.
        """
        for secret in {self.password, quote(self.password, safe="")} - {""}:
            text = text.replace(secret, "***")
        return text.strip()

    def __repr__(self) -> str:
        return f"Address({self.database!r})"


def _host(place: str) -> tuple[str, str]:
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = place.partition(":")
    return unquote(host), port
