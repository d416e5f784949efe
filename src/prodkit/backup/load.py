"""Load a backup into a database that is empty, and stop at the first error."""

from __future__ import annotations

from prodkit.backup.address import Address
from prodkit.backup.process import run
from prodkit.backup.source import Source
from prodkit.backup.tools import Tools

__all__ = ["load"]


async def load(source: Source, address: Address, tools: Tools, *, owners: bool) -> None:
    """Run pg_restore or psql.

    Args:
        source: the backup.
        address: the empty database.
        tools: the programs.
        owners: set owners and privileges, for which the roles must exist. A plain dump always does.

    Raises:
        BackupError: a statement failed, or the file is damaged.
    """
    with address.environment() as environment:
        if source.kind == "custom":
            command = [tools.path("pg_restore"), "--exit-on-error", "--no-password"]
            command.append(
                f"--dbname={address.database}" if _plain(address.database) else _by_variable(address)
            )
            if not owners:
                command += ["--no-owner", "--no-privileges"]
        else:
            command = [
                tools.path("psql"),
                "-X",
                "-q",
                "--no-password",
                "-v",
                "ON_ERROR_STOP=1",
                "-1",
                "-f",
                "-",
            ]
        await run(command, environment, address, feed=source.copy_to)


def _plain(name: str) -> bool:
    """False for a name that libpq would read as a connection string."""
    return "=" not in name and "://" not in name


def _by_variable(address: Address) -> str:
    escaped = address.database.replace("\\", "\\\\").replace("'", "\\'")
    return f"--dbname=dbname='{escaped}'"
