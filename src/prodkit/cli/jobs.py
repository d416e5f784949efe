"""``prodkit jobs``: look at runs, and retry, cancel, signal or purge them.

    prodkit jobs list --status dead
    prodkit jobs show 01a20efb-5c1d-76e0-bac2-f6890b7d7e80
    prodkit jobs retry RUN --forget charge
    prodkit jobs purge --older 30d

The database is that of ``DATABASE_URL``. Exit codes: 0 done, 1 nothing was done or the database is away, 2 wrong usage.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NoReturn, TypeVar
from uuid import UUID

import typer

from prodkit import jobs, postgres
from prodkit.errors import ProdkitError
from prodkit.jobs.values import Run

__all__ = ["app"]

T = TypeVar("T")
app: typer.Typer = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Look at runs, and retry, cancel or purge them."
)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_STATUSES: Final = ("queued", "running", "waiting", "done", "dead", "cancelled")
_STYLES: Final = {"done": "green", "dead": "red", "running": "cyan", "cancelled": "dim"}

Url = Annotated[str, typer.Option("--url", envvar="DATABASE_URL", help="The database.", show_envvar=True)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The id of the run.")]


@app.command("list")
def list_(
    url: Url = "",
    status: Annotated[str, typer.Option(help=f"Only runs that are {', '.join(_STATUSES)}.")] = "",
    kind: Annotated[str, typer.Option(help="Only runs of this job.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first, under the queue in numbers."""
    if status and status not in _STATUSES:
        raise typer.BadParameter(f"status is one of {', '.join(_STATUSES)}, got {status!r}")

    async def look(runs: jobs.Runs) -> tuple[list[Run], Any]:
        found = await runs.list(status=status or None, kind=kind or None, limit=limit)  # type: ignore[arg-type]
        return found, await runs.stats()

    found, stats = _with(url, look)
    if as_json:
        print(json.dumps({"stats": dataclasses.asdict(stats), "runs": [_plain(each) for each in found]}))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    console.print(
        f"{stats.queued} queued ({stats.due} due), {stats.running} running in {stats.workers} workers,"
        f" {stats.waiting} waiting, {stats.dead} dead; the oldest due run has waited {stats.oldest_due:.0f} s"
    )
    table = Table(box=None, pad_edge=False)
    for title in ("run", "job", "status", "age", "takes", "error"):
        table.add_column(title, no_wrap=title != "error")
    for run in found:
        style = _STYLES.get(run.status, "")
        table.add_row(
            str(run.id), escape(run.kind), f"[{style}]{run.status}[/]" if style else run.status, _age(run),
            str(run.takes), escape(_line(run.error)),
        )  # fmt: skip
    console.print(table)


@app.command()
def show(run: RunId, url: Url = "", as_json: AsJson = False) -> None:
    """Show one run with its recorded steps and its last error. Arguments and results are not shown."""
    found = _with(url, lambda runs: runs.get(_id(run)))
    if found is None:
        _fail(f"there is no run {run}")
    if as_json:
        print(json.dumps(_plain(found)))
        return
    for label, value in _plain(found).items():
        if value not in (None, "", []):
            print(f"{label:<12} {', '.join(value) if isinstance(value, list) else value}")


@app.command()
def retry(
    run: RunId,
    url: Url = "",
    forget: Annotated[list[str] | None, typer.Option(help="A recorded step to call again.")] = None,
    accept: Annotated[
        bool, typer.Option(help="Use recorded results although their code has changed.")
    ] = False,
) -> None:
    """Queue a dead or cancelled run again; recorded steps are not called again."""
    done = _with(url, lambda runs: runs.retry(_id(run), forget=forget or (), accept=accept))
    _report(done, f"{run} is queued again", f"{run} is neither dead nor cancelled")


@app.command()
def cancel(run: RunId, url: Url = "") -> None:
    """End a run that has not finished, and interrupt its step in flight."""
    _report(_with(url, lambda runs: runs.cancel(_id(run))), f"{run} is cancelled", f"{run} has already ended")


@app.command()
def signal(
    run: RunId,
    name: Annotated[str, typer.Argument(help="The signal that the run waits for.")],
    data: Annotated[str, typer.Argument(help="JSON.")] = "null",
    url: Url = "",
) -> None:
    """Send a signal to a run that waits for it."""
    try:
        value = json.loads(data)
    except ValueError:
        raise typer.BadParameter(f"data must be JSON, got {data!r}") from None
    done = _with(url, lambda runs: runs.signal(_id(run), name, value))
    _report(done, f"{name} was sent to {run}", f"{run} has already ended")


@app.command()
def purge(
    url: Url = "",
    older: Annotated[str, typer.Option(help="Age since the end, such as 12h or 30d.")] = "30d",
    dead: Annotated[bool, typer.Option(help="Remove dead letters too.")] = False,
) -> None:
    """Remove finished runs that are older than the retention."""
    gone = _with(url, lambda runs: runs.purge(older=_seconds(older), dead=dead))
    print(f"{gone} runs removed")


def _with(url: str, work: Callable[[jobs.Runs], Awaitable[T]]) -> T:
    """Call `work` with the runs of the database, and turn an outage into one line."""
    url = url or os.environ.get("DATABASE_URL", "")
    if not url:
        raise typer.BadParameter("set DATABASE_URL, or give --url")

    async def connected() -> T:
        async with postgres.Pool(url, min_size=0, max_size=2, application_name="prodkit jobs") as db:
            await jobs.PostgresEngine.of(db).prepare()
            return await work(jobs.Runs(db))

    try:
        return asyncio.run(connected())
    except (ProdkitError, OSError) as error:
        _fail(str(error))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _fail(message: str) -> NoReturn:
    print(f"prodkit jobs: {message}", file=sys.stderr)
    raise typer.Exit(1)


def _report(done: bool, yes: str, no: str) -> None:
    if not done:
        _fail(no)
    print(yes)


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise typer.BadParameter(f"a run is named by its id, got {text!r}") from None


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if found is None:
        raise typer.BadParameter(f"a duration is a number and s, m, h or d, got {text!r}")
    return int(found[1]) * _UNITS[found[2]]


def _age(run: Run) -> str:
    seconds = (datetime.now(UTC) - run.created_at).total_seconds()
    for unit in ("d", "h", "m"):
        if seconds >= _UNITS[unit]:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return f"{seconds:.0f}s"


def _line(text: str) -> str:
    return text.splitlines()[0][:100] if text else ""


def _plain(run: Run) -> dict[str, Any]:
    """The run without its arguments and its result, which may be personal data."""
    values = dataclasses.asdict(run)
    for each in ("arguments", "result"):
        del values[each]
    values["steps"] = list(run.steps)
    return {
        name: value.isoformat()
        if isinstance(value, datetime)
        else str(value)
        if isinstance(value, UUID)
        else value
        for name, value in values.items()
    }
