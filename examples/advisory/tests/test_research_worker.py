"""Workers that are killed while they research: all of it is finished, and nothing that was paid is paid again."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import ExitStack

import asyncpg
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow]

RESEARCHES = int(os.environ.get("ADVISORY_RESEARCHES", "12"))
EACH = 3
"""Researches of an account: the limit of a day."""
KILLS = 2 if RESEARCHES < 20 else 6
KILL_EVERY = 4.0
CALLS = {"perplexity": 1, "youtube": 2, "unsplash": 3}
"""Requests that one research makes to each source."""
ENDED = "select count(*) from researches where status not in ('queued', 'running')"
RUNNING = "select count(*) from research_sources where status = 'running'"


@pytest.fixture(scope="module")
def pages(make_settings, running):
    """The app without a worker."""
    app = running(make_settings(worker=False)).start()
    yield app
    app.stop()


def number(settings, query: str) -> int:
    """The one number that a query returns."""

    async def fetch() -> int:
        connection = await asyncpg.connect(settings.database_url.reveal())
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return asyncio.run(fetch())


@pytest.mark.timeout(560)
def test_researches_survive_killed_workers_and_pay_each_step_once(
    pages, worker, a_visitor, outside, simulator, tmp_path
):
    """``ADVISORY_RESEARCHES=50 pytest … -k killed_workers -s`` is the whole measurement."""
    outside.perplexity.always("slow-6")
    outside.youtube.always("slow-4")
    outside.unsplash.always("slow-0.7")
    with ExitStack() as stack:
        workers = [
            stack.enter_context(worker(pages.settings, tmp_path / f"{n}.log")) for n in range(2 + KILLS)
        ]
        spares = workers[2:]
        for each in spares:  # started before there is work: a new process takes seconds on a busy machine
            each.send_signal(signal.SIGSTOP)
        found = []
        for n in range(RESEARCHES):
            if n % EACH == 0:
                who = stack.enter_context(a_visitor(pages.url))
            form = {"name": f"Persona {n}", "role": f"mora na rua {n} e compra pão"}
            found.append((who, who.post("/personas", form, page="/personas/nova").headers["location"]))
        began = killed_at = time.monotonic()
        found = [(who, who.post(f"{path}/enriquecer", page=path).headers["location"]) for who, path in found]
        kills = paid_again = 0
        while number(pages.settings, ENDED) < RESEARCHES:
            assert time.monotonic() - began < 400
            running = number(pages.settings, RUNNING)
            if kills < KILLS and time.monotonic() - killed_at >= KILL_EVERY and running >= 3:
                killed_at = time.monotonic()
                victim = workers[kills]
                victim.send_signal(signal.SIGSTOP)  # nothing is sent between the count and the end
                paid_again += number(pages.settings, RUNNING)
                victim.send_signal(signal.SIGKILL)
                spares[kills].send_signal(signal.SIGCONT)
                kills += 1
            time.sleep(0.1)
        seconds = time.monotonic() - began
        ended = [who.events(path, after=0) for who, path in found]
    for events in ended:
        assert [step["seq"] for step in events] == list(range(1, len(events) + 1))
        kinds = [step["kind"] for step in events]
        assert kinds.count("source.done") == 4, [step["message"] for step in events]
        assert kinds.count("research.finished") == 1
        assert events[-1]["message"] == "Concluído: as três fontes responderam."
    resumed = sum(step["message"] == "Retomando de onde parou…" for events in ended for step in events)
    asked = {each.name: each.counters.requests for each in outside.sources}
    extra = sum(asked[name] - CALLS[name] * RESEARCHES for name in CALLS)
    extra += simulator.counters.requests - RESEARCHES
    print(
        f"{RESEARCHES} researches, {kills} kills, {seconds:.1f} s, {resumed} resumed, {asked}, {extra} calls more"
        f" than steps, {paid_again} steps in flight when a worker was killed"
    )
    assert kills >= 1
    assert resumed >= 1
    assert 0 <= extra <= paid_again * max(CALLS.values())


@pytest.mark.timeout(300)
def test_another_worker_takes_over_within_seconds_and_repeats_only_what_was_in_flight(
    pages, worker, a_visitor, outside, simulator, tmp_path
):
    outside.perplexity.always("slow-90")
    with ExitStack() as stack:
        first = stack.enter_context(worker(pages.settings, tmp_path / "a.log"))
        who = stack.enter_context(a_visitor(pages.url))
        form = {"name": "Marta", "role": "compra pão na esquina mais longe"}
        path = who.post("/personas", form, page="/personas/nova").headers["location"]
        research = who.post(f"{path}/enriquecer", page=path).headers["location"]
        seen = who.events(research, until=lambda step: step["settled"] == 2)
        stack.enter_context(worker(pages.settings, tmp_path / "b.log"))
        outside.perplexity.always("ok")
        began = time.monotonic()
        first.send_signal(signal.SIGKILL)
        taken = who.events(
            research, after=seen[-1]["seq"], until=lambda step: step["kind"] == "research.started"
        )
        seconds = time.monotonic() - began
        print(f"taken over after {seconds:.2f} s")
        assert taken[-1]["message"] == "Retomando de onde parou…"
        assert seconds < 10
        assert who.events(research, after=taken[-1]["seq"])[-1]["state"] == "done"
    assert outside.youtube.counters.requests == 2  # had answered before the kill
    assert outside.unsplash.counters.requests == 3
    assert outside.perplexity.counters.requests == 2  # was in flight
    assert simulator.counters.requests == 1
