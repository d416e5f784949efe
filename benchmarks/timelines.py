"""Curves over time, drawn in docs/images/timeline-*.svg: goodput, a cache whose Redis fails, a cache with two clients.

    python3 noxfile.py bench --peers timelines            # prints one figure a curve
    python3 noxfile.py bench --peers timelines --write    # and writes results/timelines.json and the pictures

The curves of peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import logging
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from benchmarks._stacks import STACKS, patch_clocks
from benchmarks.harness import RESULTS, Table, run
from prodkit.cache import Cache
from prodkit.redis import RedisLink
from prodkit.testing.trace import TRACE, run_trace

Points = list[tuple[float, float]]

FAULTS = {"none": "ok", "refused": "bad", "slow": "warn", "throttled": "info", "failing": "other"}
COMPARED = {
    "prodkit": "info",
    "tenacity + circuitbreaker": "other",
    "tenacity, 5, full jitter": "bad",
}
SMOOTHED = 5  # seconds


def line(label: str, colour: str, points: Points) -> dict[str, Any]:
    return {"label": label, "colour": colour, "points": [(round(at, 3), round(y, 3)) for at, y in points]}


def picture(
    title: str, unit: str, row: str, bands: list[tuple[float, float, str, str]], lines: list[Any]
) -> Any:
    return {"title": title, "unit": unit, "row": row, "bands": bands, "lines": lines}


# --- the calls that are answered during the fault trace, on virtual time ----------------------------------------------


def goodput(table: Table) -> Any:
    patch_clocks()
    lines: list[Any] = []
    for name, colour in COMPARED.items():
        try:
            report = run_trace(STACKS[name], seed=1)
        except ImportError as missing:
            table.note(f"{name}: {missing.name} is not installed")
            continue
        answered = [second.answered for second in report.seconds]
        smooth = [
            statistics.mean(answered[max(0, at - SMOOTHED + 1) : at + 1]) for at in range(len(answered))
        ]
        lines.append(
            line(
                name, colour, [(second.at + 0.5, y) for second, y in zip(report.seconds, smooth, strict=True)]
            )
        )
        table.add(f"answered during the trace: {name}", 100 * report.goodput, unit="%")
    ends = list(itertools.accumulate(phase.seconds for phase in TRACE))
    bands = [
        (end - phase.seconds, end, FAULTS[phase.fault], f"{phase.name}: {phase.fault}")
        for phase, end in zip(TRACE, ends, strict=True)
    ]
    return picture("Calls answered in time during the fault trace", "calls/s", "fault", bands, lines)


# --- the time of a read while Redis is silent, refuses, and is back ---------------------------------------------------

OUTAGE = (("up", "ok"), ("silent", "warn"), ("up", "ok"), ("refuses", "bad"), ("up", "ok"))
STRETCH = 3.0  # seconds of each
EVERY = 0.02  # seconds between reads
BUCKET = 0.1
TIMEOUT = 1.0  # seconds, redis-py's own; prodkit's link has its default


async def paced(read: Callable[[], Awaitable[object]], seconds: float) -> Points:
    """The longest time of the reads begun in each tenth of a second, in milliseconds; a failed one counts as long."""
    worst: dict[int, float] = defaultdict(float)
    began = time.perf_counter()

    async def once(at: float) -> None:
        with suppress(Exception):
            await read()
        bucket = int(at / BUCKET)
        worst[bucket] = max(worst[bucket], 1000 * (time.perf_counter() - began - at))

    tasks: set[asyncio.Task[None]] = set()
    while (at := time.perf_counter() - began) < seconds:
        tasks.add(asyncio.create_task(once(at)))
        await asyncio.sleep(EVERY)
    await asyncio.gather(*tasks)
    return [(bucket * BUCKET, worst[bucket]) for bucket in sorted(worst)]


async def faults(table: Table) -> Any:
    from redis.asyncio import Redis as Client

    from prodkit.testing.proxy import Proxy
    from prodkit.testing.servers import Redis

    with Redis() as server, Proxy(server.url) as proxy:
        url = proxy.url_for(server.url)
        client = Client.from_url(url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT)
        async with RedisLink(url) as link, Cache(link, namespace="ours") as answers:
            await answers.set("k", "value", ttl=600)
            await client.set("k", "value")
            switches = {"up": proxy.heal, "silent": proxy.stall, "refuses": proxy.refuse}

            async def outage() -> None:
                for state, _ in OUTAGE:
                    switches[state]()
                    await asyncio.sleep(STRETCH)

            ours, theirs, _ = await asyncio.gather(
                paced(lambda: answers.get("k"), STRETCH * len(OUTAGE)),
                paced(lambda: client.get("k"), STRETCH * len(OUTAGE)),
                outage(),
            )
        await client.aclose()
    bands = [(STRETCH * n, STRETCH * (n + 1), colour, state) for n, (state, colour) in enumerate(OUTAGE)]
    table.add("slowest read: prodkit", max(y for _, y in ours), unit="ms")
    table.add(f"slowest read: redis-py, timeout {TIMEOUT:g} s", max(y for _, y in theirs), unit="ms")
    lines = [line("prodkit", "info", ours), line(f"redis-py, timeout {TIMEOUT:g} s", "bad", theirs)]
    return picture("Slowest read of a cached value while Redis fails", "ms", "Redis", bands, lines)


# --- the age of a value that another client changes -------------------------------------------------------------------

WRITES = 12
BETWEEN = 0.5  # seconds
LOOK = 0.002


async def coherence(table: Table) -> Any:
    from prodkit.testing.servers import Redis

    with Redis() as server:
        async with RedisLink(server.url) as there, RedisLink(server.url) as here:
            lines = [
                line(label, colour, await ages(table, label, there, here, coherent))
                for label, colour, coherent in (
                    ("memory that Redis notifies", "info", True),
                    ("memory for 1 s", "bad", False),
                )
            ]
    return picture("Age of a cached value that another client changes", "ms", "", [], lines)


async def ages(table: Table, label: str, there: RedisLink, here: RedisLink, coherent: bool) -> Points:
    """For how long each look has been given a value that was replaced, in milliseconds."""
    namespace = f"coherent{coherent:d}"
    written: list[float] = []
    points: Points = []
    async with (
        Cache(there, namespace=namespace, coherence=coherent) as writer,
        Cache(here, namespace=namespace, coherence=coherent) as reader,
    ):
        await writer.set("k", -1, ttl=600)
        await reader.get("k")
        began = time.perf_counter()

        async def write() -> None:
            for number in range(WRITES):
                await asyncio.sleep(BETWEEN)
                await writer.set("k", number, ttl=600)
                written.append(time.perf_counter())

        writing = asyncio.create_task(write())
        while not writing.done():
            seen = await reader.get("k")
            now = time.perf_counter()
            missed = written[seen + 1] if seen + 1 < len(written) else now
            points.append((now - began, 1000 * max(0.0, now - missed)))
            await asyncio.sleep(LOOK)
    table.add(f"oldest value: {label}", max(y for _, y in points), unit="ms")
    return thinned(points)


def thinned(points: Points) -> Points:
    """The highest of every twentieth of a second."""
    highest: dict[int, float] = defaultdict(float)
    for at, y in points:
        highest[int(at * 20)] = max(highest[int(at * 20)], y)
    return [(bucket / 20, highest[bucket]) for bucket in sorted(highest)]


async def measured(table: Table) -> dict[str, Any]:
    return {"faults": await faults(table), "coherence": await coherence(table)}


def main(options: argparse.Namespace) -> Table:
    logging.disable(logging.CRITICAL)
    table = Table("timelines", "curves over time", packages=("redis", "tenacity", "circuitbreaker"))
    found = asyncio.run(measured(table)) | {
        "goodput": goodput(table)
    }  # the last one patches the clock of the process
    if options.write:
        (RESULTS / "timelines.json").write_text(json.dumps(found, indent=None, separators=(",", ":")) + "\n")
        print(f"{RESULTS.name}/timelines.json", file=sys.stderr)
    return table


if __name__ == "__main__":
    run(main, lambda parser: None)
