"""Workers that are killed while they research: all of it is finished, and nothing that was paid is paid again."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import ExitStack

import asyncpg
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow]

VISITORS, EACH, KILLS = 4, 3, 2
CALLS = {"perplexity": 1, "youtube": 2, "unsplash": 3}
"""Requests that one research makes to each source."""


@pytest.fixture(scope="module")
def pages(make_settings, running):
    """The app without a worker."""
    app = running(make_settings(worker=False)).start()
    yield app
    app.stop()


def in_flight(settings) -> int:
    """Steps that a worker is making."""

    async def count() -> int:
        connection = await asyncpg.connect(settings.database_url.reveal())
        try:
            return await connection.fetchval("select count(*) from research_sources where status = 'running'")
        finally:
            await connection.close()

    return asyncio.run(count())


@pytest.mark.timeout(300)
def test_researches_survive_killed_workers_and_pay_each_step_once(
    pages, worker, a_visitor, outside, simulator, tmp_path
):
    outside.perplexity.always("slow-6")
    outside.youtube.always("slow-4")
    outside.unsplash.always("slow-0.7")
    with ExitStack() as stack:
        workers = [
            stack.enter_context(worker(pages.settings, tmp_path / f"{n}.log")) for n in range(KILLS + 1)
        ]
        found = []
        for v in range(VISITORS):
            who = stack.enter_context(a_visitor(pages.url))
            for n in range(EACH):
                form = {"name": f"Persona {n}", "role": f"mora na rua {v}-{n} e compra pão"}
                found.append((who, who.post("/personas", form, page="/personas/nova").headers["location"]))
        found = [(who, who.post(f"{path}/enriquecer", page=path).headers["location"]) for who, path in found]
        paid_again = 0
        for doomed in workers[:KILLS]:
            deadline = time.monotonic() + 20
            while (running := in_flight(pages.settings)) < 3 and time.monotonic() < deadline:
                time.sleep(0.05)
            doomed.send_signal(signal.SIGKILL)
            doomed.wait(10)
            paid_again += running + in_flight(pages.settings)  # before and after: steps begin all the time
            time.sleep(1.0)
        ended = [who.events(path) for who, path in found]
        for events in ended:
            assert [step["seq"] for step in events] == list(range(1, len(events) + 1))
            kinds = [step["kind"] for step in events]
            assert kinds.count("source.done") == 4, [step["message"] for step in events]
            assert kinds.count("research.finished") == 1
            assert events[-1]["message"] == "Concluído: as três fontes responderam."
    total = VISITORS * EACH
    resumed = sum(step["message"] == "Retomando de onde parou…" for events in ended for step in events)
    asked = {each.name: each.counters.requests for each in outside.sources}
    extra = sum(asked[name] - CALLS[name] * total for name in CALLS) + simulator.counters.requests - total
    print(f"{total} researches, {KILLS} kills, {resumed} resumed, {asked}, {extra} calls more than steps")
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
