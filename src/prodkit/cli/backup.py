"""``prodkit backup``: make, verify, restore, prune and list backups of a PostgreSQL database.

The address comes from ``--url`` or, better, from the environment (``DATABASE_URL``): arguments of a process can be read
by everybody on the machine. The directory comes from the argument or from ``BACKUP_DIR``. A bucket comes from
``BACKUP_BUCKET`` (``s3://bucket/folder``) and the usual variables of AWS: ``AWS_ACCESS_KEY_ID``,
``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, ``AWS_ENDPOINT_URL``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from prodkit import backup
from prodkit.errors import BackupError, MissingExtraError

__all__ = ["app"]

T = TypeVar("T")

app: typer.Typer = typer.Typer(
    help="Backups of a PostgreSQL database.", no_args_is_help=True, add_completion=False
)

Url = Annotated[
    str | None,
    typer.Option(
        "--url", envvar="DATABASE_URL", show_envvar=True, help="The database. Prefer the environment."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Where = Annotated[
    Path | None, typer.Argument(envvar="BACKUP_DIR", show_envvar=True, help="The directory of the backups.")
]
Identity = Annotated[
    Path | None, typer.Option("--identity", help="A file with the private age key, for encrypted backups.")
]
InBucket = Annotated[
    str | None,
    typer.Option(
        "--bucket", envvar="BACKUP_BUCKET", show_envvar=True, help="s3://bucket or s3://bucket/folder."
    ),
]


@app.command()
def run(
    directory: Where = None,
    url: Url = None,
    recipient: Annotated[
        list[str] | None, typer.Option("--recipient", help="Encrypt for this age key; may be repeated.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Restore it into a throw-away database and compare.")
    ] = True,
    verify_url: Annotated[
        str | None, typer.Option("--verify-url", envvar="BACKUP_VERIFY_URL", help="A server to verify on.")
    ] = None,
    identity: Identity = None,
    prune: Annotated[bool, typer.Option("--prune", help="Then remove old backups.")] = False,
    bucket: InBucket = None,
    as_json: AsJson = False,
) -> None:
    """Back up the database, verify the backup, store it in the bucket if there is one, and print where it is."""
    place, address = (
        _required(directory, "a directory (or BACKUP_DIR)"),
        _required(url, "--url (or DATABASE_URL)"),
    )

    async def work() -> dict[str, Any]:
        with _progress("backup") as moved:
            made = await backup.dump(address, place, recipients=recipient or (), progress=moved)
        if verify:
            with _progress("verify"):
                made = await backup.verify(made.path, url=verify_url, identity=_key(identity))
        facts = made.as_dict()
        remote = None if bucket is None else backup.Bucket(bucket)
        if remote is not None:
            with _progress("upload"):
                await remote.upload(made)
            facts["bucket"] = f"{remote.url}/{made.path.name}"
        if prune:
            facts["pruned"] = [str(path) for path in (await backup.prune(place)).removed]
            if remote is not None:
                facts["pruned"] += [f"{remote.url}/{path}" for path in (await remote.prune()).removed]
        return facts

    facts = _do(work())
    _say(
        facts,
        as_json,
        f"{facts['path']}\n{_size(facts['size'])}, {len(facts['census']['tables'])} tables, "
        f"{'verified' if facts['verified_at'] else 'NOT verified'}"
        + (f"\n{facts['bucket']}" if "bucket" in facts else ""),
    )


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="The backup.")],
    url: Annotated[
        str | None,
        typer.Option(
            "--url", envvar="BACKUP_VERIFY_URL", help="A server to verify on; none: a throw-away one."
        ),
    ] = None,
    identity: Identity = None,
    as_json: AsJson = False,
) -> None:
    """Restore a backup into a throw-away database and compare the row counts."""
    with _progress("verify"):
        done = _do(backup.verify(path, url=url, identity=_key(identity)))
    rows = sum(done.tables.values())
    _say(done.as_dict(), as_json, f"{path}: restored, {len(done.tables)} tables, {rows} rows")


@app.command()
def restore(
    path: Annotated[Path, typer.Argument(help="The backup.")],
    url: Url = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Swap with a database that is not empty; the old one is kept aside."),
    ] = False,
    owners: Annotated[
        bool, typer.Option("--owners/--no-owners", help="Set owners and privileges as they were.")
    ] = True,
    identity: Identity = None,
    as_json: AsJson = False,
) -> None:
    """Restore a backup as the database of --url, which must be missing or empty."""
    address = _required(url, "--url (or DATABASE_URL)")
    with _progress("restore"):
        done = _do(backup.restore(path, address, replace=replace, owners=owners, identity=_key(identity)))
    kept = f"; the old database is now {done.previous}" if done.previous else ""
    facts = {"database": done.database, "tables": done.tables, "previous": done.previous}
    _say(facts, as_json, f"{done.database}: {len(done.tables)} tables restored{kept}")


@app.command()
def prune(
    directory: Where = None,
    days: Annotated[float, typer.Option(help="Remove what is older.")] = 30,
    keep: Annotated[int, typer.Option(help="Verified backups that always stay.")] = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    bucket: Annotated[str | None, typer.Option("--bucket", help="Prune this bucket instead.")] = None,
    as_json: AsJson = False,
) -> None:
    """Remove old backups of a directory or a bucket, never the last verified ones."""
    if bucket is not None:
        done = _do(_bucket(bucket).prune(days=days, keep=keep, dry_run=dry_run))
    else:
        place = _required(directory, "a directory (or BACKUP_DIR)")
        done = _do(backup.prune(place, days=days, keep=keep, dry_run=dry_run))
    lines = [f"{'would remove' if dry_run else 'removed'} {path.name}" for path in done.removed]
    lines += [f"DAMAGED {path.name}" for path in done.damaged]
    facts = {
        "removed": [str(path) for path in done.removed],
        "kept": [str(each.path) for each in done.kept],
        "damaged": [str(path) for path in done.damaged],
        "dry_run": dry_run,
    }
    _say(facts, as_json, "\n".join([*lines, f"{len(done.kept)} backups stay"]))
    if done.damaged:
        raise typer.Exit(1)


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="The file's name, from `list --bucket`.")],
    directory: Where = None,
    bucket: InBucket = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a backup from the bucket into the directory."""
    place = _required(directory, "a directory (or BACKUP_DIR)")
    remote = _bucket(_required(bucket, "--bucket (or BACKUP_BUCKET)"))
    with _progress("download"):
        done = _do(remote.download(name, place))
    _say(done.as_dict(), as_json, str(done.path))


@app.command("list")
def list_(
    directory: Where = None,
    bucket: Annotated[str | None, typer.Option("--bucket", help="List this bucket instead.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the backups of a directory or a bucket, the newest first."""
    if bucket is not None:
        found = _do(_bucket(bucket).list_backups())
    else:
        place = _required(directory, "a directory (or BACKUP_DIR)")
        if not place.is_dir():
            _fail(f"there is no directory {place}")
        found = backup.list_backups(place)
    now = datetime.now(UTC)
    lines = [
        f"{(now - each.created_at).total_seconds() / 86400:6.1f} d  {_size(each.size):>10}  "
        f"{'verified' if each.verified else '-':<8}  {each.path.name}"
        for each in found
    ]
    _say({"backups": [each.as_dict() for each in found]}, as_json, "\n".join(lines) or "no backups")


def _do(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except (BackupError, MissingExtraError) as error:
        _fail(str(error))
    except (ValueError, TypeError) as error:
        print(f"prodkit backup: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


def _bucket(url: str) -> backup.Bucket:
    try:
        return backup.Bucket(url)
    except ValueError as error:
        print(f"prodkit backup: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


def _fail(text: str) -> NoReturn:
    print(f"prodkit backup: {text}", file=sys.stderr)
    raise typer.Exit(1)


def _required(value: T | None, what: str) -> T:
    if value is None:
        print(f"prodkit backup: {what} is needed", file=sys.stderr)
        raise typer.Exit(2)
    return value


def _key(identity: Path | None) -> str | None:
    if identity is None:
        return None
    try:
        return identity.read_text()
    except OSError as error:
        _fail(f"{identity} cannot be read: {error.strerror}")


def _say(facts: dict[str, Any], as_json: bool, text: str) -> None:
    print(json.dumps(facts) if as_json else text)


def _size(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 1024:.1f} KiB"


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int], object] | None]:
    """Show a running step on a terminal; elsewhere nothing."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    try:
        from rich.console import Console
    except ImportError:
        yield None
        return
    with Console(stderr=True).status(f"{what} …") as status:
        yield lambda size: status.update(f"{what} … {_size(size)}")
