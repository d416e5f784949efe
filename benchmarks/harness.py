"""Shared by every benchmark: interleaved rounds, ratios to a baseline, one table, published goals.

A benchmark is a module with ``main``::

    from benchmarks.harness import Table, ratios

    async def main() -> Table:
        table = Table("cache", "cost of a cached read over a bare dictionary")
        found = await ratios({"dict": bare, "prodkit": ours, "cashews": theirs}, calls=2000)
        table.add("L1 get", found["prodkit"], ceiling=3.5, peers={"cashews": found["cashews"]})
        return table

    if __name__ == "__main__":
        run(main)

``python3 noxfile.py bench cache`` runs it, prints the table, writes ``benchmarks/results/cache.md`` and a picture with
``--write``, and fails when a published ratio no longer holds by more than :data:`MARGIN`. Machines differ and are
shared: baseline and candidates take turns in short rounds, and the median of the ratios counts.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import inspect
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["MARGIN", "Row", "Table", "ratios", "run", "versions"]

MARGIN = 0.25
"""How far a ratio may be from its goal before the run fails: shared machines vary, regressions of a quarter do not."""

RESULTS = Path(__file__).parent / "results"
Work = Callable[[], Any]


async def ratios(
    works: Mapping[str, Work],
    *,
    calls: int = 1000,
    rounds: int = 15,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """Return the cost of each work as a ratio to the first one.

    Args:
        works: the baseline first; plain or async functions without arguments.
        calls: how often a round calls each work.
        rounds: how many rounds; the median of their ratios is returned.
        clock: ``time.process_time`` counts this process's CPU, ``time.perf_counter`` the wall.
    """
    names = list(works)
    costs: dict[str, list[float]] = {name: [] for name in names}
    for name in names:  # caches, compiled patterns, connections
        await _spent(works[name], max(1, calls // 10), clock)
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name in names:
                costs[name].append(await _spent(works[name], calls, clock))
    finally:
        gc.enable()
    base = costs[names[0]]
    return {
        name: statistics.median(cost / bare for cost, bare in zip(costs[name], base, strict=True))
        for name in names
    }


async def _spent(work: Work, calls: int, clock: Callable[[], float]) -> float:
    if inspect.iscoroutinefunction(work):
        begun = clock()
        for _ in range(calls):
            await work()
    else:
        begun = clock()
        for _ in range(calls):
            result = work()
            if inspect.isawaitable(result):
                await result
    return max(clock() - begun, 1e-9) / calls


@dataclass(frozen=True, slots=True)
class Row:
    """One line: our figure, its goal and the peers' figures."""

    name: str
    ours: float
    ceiling: float | None = None
    floor: float | None = None
    peers: Mapping[str, float | str] = field(default_factory=dict[str, "float | str"])
    unit: str = "×"

    @property
    def verdict(self) -> str:
        if self.ceiling is not None and self.ours > self.ceiling:
            return "over" if self.ours > self.ceiling * (1 + MARGIN) else "about"
        if self.floor is not None and self.ours < self.floor:
            return "under" if self.ours < self.floor * (1 - MARGIN) else "about"
        return "holds"

    def goal(self) -> str:
        if self.ceiling is not None:
            return f"≤ {self.ceiling:g}"
        return "–" if self.floor is None else f"≥ {self.floor:g}"


class Table:
    """The rows of one benchmark."""

    def __init__(self, name: str, title: str, *, packages: tuple[str, ...] = ()) -> None:
        self.name = name
        self.title = title
        self.packages = packages
        self.rows: list[Row] = []
        self.notes: list[str] = []

    def add(
        self,
        name: str,
        ours: float,
        *,
        ceiling: float | None = None,
        floor: float | None = None,
        peers: Mapping[str, float | str] | None = None,
        unit: str = "×",
    ) -> None:
        row = Row(name, ours, ceiling, floor, peers or {}, unit)
        self.rows.append(row)
        print(
            f"  {name}: {_figure(row.ours, unit)} (goal {row.goal()}, {row.verdict})",
            file=sys.stderr,
            flush=True,
        )

    def note(self, text: str) -> None:
        """Add a sentence under the table, such as a peer that was skipped and why."""
        self.notes.append(text)

    @property
    def failed(self) -> list[Row]:
        return [row for row in self.rows if row.verdict in ("over", "under")]

    def markdown(self) -> str:
        peers = list(dict.fromkeys(peer for row in self.rows for peer in row.peers))
        head = ["", "prodkit", "goal", "", *peers]
        lines = [
            f"# {self.title[0].upper()}{self.title[1:]}",
            "",
            f"| {' | '.join(head)} |",
            "|---" * len(head) + "|",
        ]
        for row in self.rows:
            cells = [row.name, _figure(row.ours, row.unit), row.goal(), row.verdict]
            cells += [_figure(row.peers[peer], row.unit) if peer in row.peers else "–" for peer in peers]
            lines.append(f"| {' | '.join(cells)} |")
        lines += ["", *(f"- {note}" for note in self.notes)]
        known = ", ".join(f"{name} {number}" for name, number in versions(*self.packages).items())
        machine = f"Python {platform.python_version()}" + (f", {known}" if known else "")
        lines += ["", f"{machine}. Reproduce with `python3 noxfile.py bench {self.name}`."]
        return "\n".join(lines) + "\n"


def _figure(value: float | str, unit: str) -> str:
    if isinstance(value, str):
        return value
    whole = abs(value) >= 100 or (unit != "×" and float(value).is_integer())
    text = f"{value:,.0f}" if whole else f"{value:.2f}"
    return f"×{text}" if unit == "×" else f"{text} {unit}".strip()


def versions(*packages: str) -> dict[str, str]:
    """Return the installed versions of `packages`; those that are missing are left out."""
    found: dict[str, str] = {}
    for each in packages:
        try:
            found[each] = version(each)
        except PackageNotFoundError:
            continue
    return found


def run(
    main: Callable[..., Awaitable[Table] | Table],
    arguments: Callable[[argparse.ArgumentParser], None] | None = None,
) -> None:
    """Parse the command line, run `main`, print its table and exit with 1 when a goal is missed by a wide margin.

    `arguments` adds options of the benchmark to the parser; `main` then gets the parsed ones.
    """
    parser = argparse.ArgumentParser(
        description=sys.modules[main.__module__].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if arguments is not None:
        arguments(parser)
    parser.add_argument(
        "--write", action="store_true", help="write benchmarks/results/NAME.md and its picture"
    )
    options = parser.parse_args()
    result = main() if arguments is None else main(options)
    table = asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result
    text = table.markdown()
    print(text)
    if options.write:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{table.name}.md").write_text(text)
        from benchmarks import plots

        plots.main()
    for row in table.failed:
        print(f"{row.name}: {_figure(row.ours, row.unit)}, goal {row.goal()}", file=sys.stderr)
    raise SystemExit(1 if table.failed else 0)


async def _awaited(result: Awaitable[Table]) -> Table:
    return await result
