"""Goodput of signed-in users at three times the load that a service can bear, with and without `web.Admission`.

Virtual time, raw ASGI requests, no sockets. The service has eight slots (a pool of connections), and each request holds
one for 20 to 60 ms, so that it can answer 200 a second; 600 arrive, a quarter of them from signed-in users. A visitor
waits one second: only an answer within it counts. Admission has its defaults. CPU costs no virtual time: a service
whose CPU is what is short also pays for the refusals.
"""

from __future__ import annotations

import asyncio
import logging
import random
import statistics
from collections import Counter
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import prodkit as pk
from benchmarks.harness import Table, run
from prodkit import web
from prodkit.sessions import MemoryStore, Sessions
from prodkit.testing.loop import virtual_time

SECRET = "only-a-benchmark-0123456789-abcdefgh"
SLOTS, WORK = 8, (0.02, 0.06)
RATE, SIGNED_IN = 600, 0.25
SECONDS, PATIENCE = 20.0, 1.0
SEEDS = range(1, 6)


class Load:
    """One run: the service, its visitors, and what they got in time."""

    def __init__(
        self, seed: int, *, admission: bool, ranked: bool = True, deadline: float | None = None
    ) -> None:
        self.random = random.Random(seed)
        self.runtime = pk.Runtime()
        self.slots = asyncio.Semaphore(SLOTS)
        self.sessions = Sessions(MemoryStore(), secret=SECRET)
        self.app = Starlette(routes=[Route("/", self.work)])
        door = None
        if admission:
            door = web.Admission(priority=None if ranked else lambda scope: 0, runtime=self.runtime)
        web.install(self.app, sessions=self.sessions, admission=door, deadline=deadline, runtime=self.runtime)
        self.sent: Counter[bool] = Counter()
        self.good: Counter[bool] = Counter()

    async def work(self, request: Request) -> Response:
        async with self.slots:
            await asyncio.sleep(self.random.uniform(*WORK))
        return PlainTextResponse("ok")

    async def visit(self, cookie: bytes) -> None:
        signed = bool(cookie)
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "scheme": "https",
            "headers": [(b"host", b"kit"), *([(b"cookie", cookie)] if signed else [])],
        }
        self.sent[signed] += 1
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self.app(scope, receive, send)
        self.good[signed] += statuses == [200] and loop.time() - began <= PATIENCE

    async def run(self) -> tuple[float, float]:
        """Return the goodput of signed-in users and of all visitors, as shares of what they sent."""
        session = await self.sessions.open([])
        session.login("7")
        cookie = str(await self.sessions.save(session)).split(";")[0].encode()
        loop = asyncio.get_running_loop()
        end = loop.time() + SECONDS
        async with asyncio.TaskGroup() as visits:
            while loop.time() < end:
                await asyncio.sleep(self.random.expovariate(RATE))
                visits.create_task(self.visit(cookie if self.random.random() < SIGNED_IN else b""))
        return self.good[True] / self.sent[True], self.good.total() / self.sent.total()


def measured(**options: Any) -> tuple[float, float]:
    """The medians over the seeds."""

    async def once(seed: int) -> tuple[float, float]:
        return await Load(seed, **options).run()

    found = [virtual_time(once(seed)) for seed in SEEDS]
    return statistics.median(each[0] for each in found), statistics.median(each[1] for each in found)


def main() -> Table:
    logging.disable(logging.CRITICAL)
    table = Table("admission", "goodput at three times the load that the service can bear")
    with_admission, all_with = measured(admission=True)
    equal, all_equal = measured(admission=True, ranked=False)
    bare, all_bare = measured(admission=False)
    timed, all_timed = measured(admission=False, deadline=PATIENCE)
    one = 1 / (RATE * SIGNED_IN * SECONDS)
    peers = {"no priorities": 100 * equal, "nothing": 100 * bare, "a deadline": 100 * timed}
    table.add("signed-in users, answered in time", 100 * with_admission, peers=peers, unit="%")
    peers = {"no priorities": 100 * all_equal, "nothing": 100 * all_bare, "a deadline": 100 * all_timed}
    table.add("all visitors, answered in time (capacity: 33)", 100 * all_with, peers=peers, unit="%")
    table.add("signed-in ÷ the better one without admission", with_admission / max(bare, timed, one), floor=2)
    return table


if __name__ == "__main__":
    run(main)
