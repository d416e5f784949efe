"""PostgreSQL and Redis go away while people use the app."""

from __future__ import annotations

import re
import time

import httpx
import pytest

from advisory.demo.answers import council
from prodkit import env
from prodkit.testing.servers import Postgres, Redis

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    # On a directory of its own PostgreSQL is durable: what was committed before a kill is there after it.
    with Postgres(tmp_path_factory.mktemp("postgres")) as postgres, Redis() as redis:
        yield postgres, redis


@pytest.fixture(scope="module")
def fragile(servers, make_settings, running):
    """An app on servers that may be broken."""
    postgres, redis = servers
    app = running(
        make_settings(
            database_url=env.PostgresUrl(postgres.create_database("fragile")),
            redis_url=env.RedisUrl(redis.url),
        )
    ).start()
    yield app
    app.stop()


def follow(visitor, path: str) -> list[dict]:
    """As EventSource does: comes back with the last id whenever the stream ends early."""
    steps: list[dict] = []
    deadline = time.monotonic() + 60
    while not (steps and steps[-1].get("final")):
        assert time.monotonic() < deadline, "the council did not end"
        try:
            visitor.events(
                path, after=steps[-1]["seq"] if steps else 0, until=lambda s: steps.append(s) or False
            )
        except (httpx.HTTPError, AssertionError):
            time.sleep(0.5)
    return steps


def test_a_restart_of_postgres_loses_no_answer_and_asks_none_again(
    fragile, servers, a_visitor, simulator, caplog
):
    caplog.set_level("INFO", "prodkit")
    postgres, _ = servers
    simulator.reset()
    with a_visitor(fragile.url) as ana:
        simulator.script("ok", "slow-3", "slow-4", "ok")
        path = ana.ask()
        seen = ana.events(path, until=lambda step: step["kind"] == "seat.done")
        postgres.restart()
        steps = follow(ana, path)
        assert [step["seq"] for step in steps] == list(range(1, len(steps) + 1))
        assert steps[: len(seen)] == seen or [s["seq"] for s in steps[: len(seen)]] == [
            s["seq"] for s in seen
        ]
        assert "Síntese pronta, com 3 especialistas." in steps[-1]["message"]
        assert simulator.counters.completed == 5  # three experts, chairman, table
        again = simulator.counters.requests - 5
        assert again == simulator.counters.aborted
        assert not again or "jobs.resumed" in caplog.text  # the lease of 2 s was lost with requests in flight
        assert ana.get(path).status_code == 200


def test_an_answer_that_streams_outlives_a_restart_of_postgres(fragile, servers, a_visitor, simulator):
    """The model goes on during the outage; after an outage longer than the lease the rest is asked for, and no more."""
    postgres, _ = servers
    simulator.reset()
    simulator.always({"kind": "ok", "delay": 0.06})
    with a_visitor(fragile.url) as ana:
        page = ana.get("/conversas/nova").text
        speaker = re.search(r'name="speaker" value="([^"]+)"', page)[1]
        asked = {"question": "E se o banco de dados reiniciar agora?", "speaker": speaker}
        path = ana.post("/conversas", asked, page="/conversas/nova").headers["location"]
        answer = re.search(r'data-events="([^"?]+)/eventos', ana.get(path).text)[1]
        seen = ana.events(answer, until=lambda step: step["kind"] == "turn.text" and step["seq"] >= 8)
        postgres.restart()
        steps = follow(ana, answer)
        assert [step["seq"] for step in steps] == list(range(1, len(steps) + 1))
        assert len(steps) > len(seen)
        assert steps[-1]["message"] == "Resposta completa."
        stored = ana.get(f"{path}/exportar").text
        requests = simulator.requests
        assert stored.rstrip().endswith(council(requests[0].body))
        assert len(requests) <= 2
        assert all(each.body["messages"][-2]["role"] == "assistant" for each in requests[1:])


def test_without_redis_everything_goes_on_and_limits_hold(fragile, servers, a_visitor, simulator):
    _, redis = servers
    simulator.reset()
    with a_visitor(fragile.url) as ana:
        redis.kill()
        try:
            paths = [ana.ask(experts=1) for _ in range(10)]
            refused = ana.post("/conselhos", {"question": "Uma pergunta a mais?", "experts": ["1"]})
            assert refused.status_code == 429
            deadline = time.monotonic() + 10
            while (report := ana.get("/api/health").json())["status"] != "degraded":
                assert time.monotonic() < deadline, report
                time.sleep(0.2)
            assert ana.get("/api/health").status_code == 200
        finally:
            redis.start()
        for path in paths:
            assert ana.events(path)[-1]["final"]
        while ana.get("/api/health").json()["status"] != "up":
            assert time.monotonic() < deadline + 20
            time.sleep(0.2)
        assert (
            ana.post("/conselhos", {"question": "E agora, com Redis?", "experts": ["1"]}).status_code == 429
        )


def test_without_postgres_a_page_says_so_and_when_to_come_back(fragile, servers, a_visitor):
    postgres, _ = servers
    question = {"question": "E esta pergunta, se perde?", "experts": "1"}
    with a_visitor(fragile.url) as ana:
        question["csrf_token"] = ana.token("/")
        postgres.kill()
        try:
            refused = ana.http.post("/conselhos", data=question, headers={"origin": fragile.url})
            assert refused.status_code == 503
            assert "E esta pergunta, se perde?</textarea>" in refused.text
            began = time.monotonic()
            answer = ana.get("/historico")
            assert time.monotonic() - began < 15
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert "Indisponível por um momento" in answer.text
            assert ana.get("/healthz").status_code == 200
        finally:
            postgres.start()
        deadline = time.monotonic() + 20
        while (answer := ana.get("/historico")).status_code != 200:
            assert time.monotonic() < deadline, f"{answer.status_code}: {fragile.services.db.stats()}"
            time.sleep(0.2)
