"""``prodkit console EVENTS``: write recorded events as one HTML page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from prodkit.core.recording import read
from prodkit.web.console_page import document
from prodkit.web.console_records import Records, unrolled
from prodkit.web.console_view import render

__all__ = ["app"]

app: typer.Typer = typer.Typer(add_completion=False, help="Write recorded events as one HTML page.")

_MAX_RECORDS = 200_000


@app.command()
def console(
    events: Annotated[Path, typer.Argument(help="A file of recorded events (JSON lines).")],
    out: Annotated[
        Path | None, typer.Option(help="The page; EVENTS with the ending .html by default.")
    ] = None,
    minutes: Annotated[
        float, typer.Option(min=0, help="Only the last minutes; 0 for the whole recording.")
    ] = 0,
) -> None:
    """Write a page of a recording: breakers, calls, pools, queues, limits, caches, models and warnings.

    The page is one file without a script; it opens from disk and can be attached to a report of an incident.
    """
    target = events.with_suffix(".html") if out is None else out
    skipped: list[str] = []
    try:
        summary = _write(events, target, minutes * 60, skipped)
    except (OSError, ValueError, OverflowError) as error:
        print(f"prodkit console: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    if skipped:
        print(f"{len(skipped)} lines of {events} are no recorded events and were skipped", file=sys.stderr)
    print(summary)


def _write(events: Path, target: Path, seconds: float, skipped: list[str]) -> str:
    """Write the page of `events` and return one line about it; `seconds` 0 is the whole recording."""
    if target.resolve() == events.resolve():
        raise ValueError(f"--out must not be the recording itself, got {target}")
    records = Records(seconds or float("inf"), _MAX_RECORDS)
    last = 0.0
    with events.open(encoding="utf-8", errors="replace") as lines:
        for record in unrolled(read(lines, skipped)):
            records.add(record)
            last = record.at
    if not len(records):
        raise ValueError(f"no recorded events in {events}")
    window = records.window(last)
    first = max(last - seconds, 0.0) if seconds else window.records[0].at
    target.write_text(
        document(render(window.between(first, last)), f"Console: {events.name}"), encoding="utf-8"
    )
    return f"{target}: {len(window.records)} events, {last - first:.0f} s"
