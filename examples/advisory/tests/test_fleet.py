"""Several processes answer for each other; numbers are for operators only."""

from __future__ import annotations

import signal
import time

import pytest

from prodkit import env

pytestmark = [pytest.mark.integration, pytest.mark.slow]
TOKEN = "operador-9f86d081884c7d659a2f"


@pytest.fixture(scope="module")
def pages(make_settings, running):
    """The app without a worker, for an operator with a token."""
    app = running(make_settings(worker=False, operator_token=env.Secret(TOKEN))).start()
    yield app
    app.stop()


def private(visitor) -> dict:
    return visitor.get("/api/health", headers={"authorization": f"Bearer {TOKEN}"}).json()


def until(visitor, verdict: str, seconds: float) -> float:
    began = time.monotonic()
    while visitor.get("/api/health").json()["checks"]["workers"]["status"] != verdict:
        assert time.monotonic() - began < seconds, private(visitor)["checks"]["workers"]
        time.sleep(0.2)
    return time.monotonic() - began


def test_a_worker_that_comes_and_goes_is_seen_by_the_web_process(pages, worker, a_visitor, tmp_path):
    with a_visitor(pages.url) as ana:
        until(ana, "degraded", 5)
        assert private(ana)["checks"]["workers"]["reason"] == "no process takes jobs"
        assert ana.get("/api/health").status_code == 200
        with worker(pages.settings, tmp_path / "w.log") as process:
            until(ana, "up", 10)
            details = private(ana)["checks"]["workers"]["details"]
            (mine,) = [each for name, each in details.items() if name.endswith(f":{process.pid}")]
            assert mine["checks"]["postgres"]["details"]["max_size"] == 20
            assert mine["checks"]["worker"]["details"]["in_flight"] == 0
            assert "claude-sonnet-5-5" in str(mine["checks"]["llm"]["details"])
            process.send_signal(signal.SIGKILL)
            process.wait()
            seconds = until(ana, "degraded", 20)
            print(f"a killed worker was missed after {seconds:.1f} s")
        with worker(pages.settings, tmp_path / "v.log") as process:
            until(ana, "up", 10)
            process.send_signal(signal.SIGTERM)
            process.wait(15)
            assert until(ana, "degraded", 6) < 6  # who leaves says so


def test_pools_and_breakers_are_for_the_holder_of_the_token(pages, a_visitor):
    with a_visitor(pages.url) as ana:
        report = private(ana)
        assert report["checks"]["postgres"]["details"]["max_size"] == 20
        assert set(report["checks"]["llm"]["details"]) >= {"retry_after"}
        for given in ("", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}"):
            public = ana.get("/api/health", headers={"authorization": given}).json()
            assert all(set(each) == {"status"} for each in public["checks"].values()), given
        assert TOKEN not in ana.get("/saude").text
        assert "processos de trabalho" in ana.get("/saude").text
