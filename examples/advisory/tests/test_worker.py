"""Workers that die, and workers that leave: the council goes on."""

from __future__ import annotations

import re
import signal
import time
from contextlib import ExitStack

import pytest

from advisory.demo.answers import council

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def pages(make_settings, running):
    """The app without a worker."""
    app = running(make_settings(worker=False)).start()
    yield app
    app.stop()


def test_another_worker_goes_on_with_what_is_missing(pages, worker, a_visitor, simulator, tmp_path):
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(pages.settings, tmp_path / "0.log"))]
        ana = stack.enter_context(a_visitor(pages.url))
        for farewell, limit in ((signal.SIGKILL, 10.0), (signal.SIGTERM, 8.0)):
            simulator.reset()
            simulator.script("ok", "ok", *["slow-90"] * 3)
            path = ana.ask(experts=5)
            seen = ana.events(path, until=lambda step: step.get("settled") == 2)
            workers.append(stack.enter_context(worker(pages.settings, tmp_path / f"{len(workers)}.log")))
            simulator.always("ok")
            began = time.monotonic()
            workers[-2].send_signal(farewell)
            taken = ana.events(path, after=seen[-1]["seq"], until=lambda step: step["kind"] == "run.started")
            seconds = time.monotonic() - began
            rest = ana.events(path, after=taken[-1]["seq"])
            print(f"{farewell.name}: taken over after {seconds:.2f} s")
            assert taken[-1]["message"] == "Retomando de onde parou…"
            assert seconds < limit
            code = workers[-2].wait(20)
            assert code == (0 if farewell is signal.SIGTERM else -farewell)
            everything = seen + taken + rest
            assert [step["seq"] for step in everything] == list(range(1, len(everything) + 1))
            kinds = [step["kind"] for step in everything]
            assert kinds.count("seat.done") == 5
            assert kinds.count("run.finished") == kinds.count("chair.started") == 1
            assert "Síntese pronta, com 5 especialistas." in rest[-1]["message"]
            # Five at first, the three in flight once more, chairman and table: no finished expert again.
            assert simulator.counters.requests == 10


def test_a_synthesis_cut_by_kill_goes_on_in_mid_sentence(pages, worker, a_visitor, simulator, tmp_path):
    simulator.reset()
    simulator.script("ok", {"kind": "ok", "delay": 0.08})
    simulator.always({"kind": "ok", "delay": 0.005})
    with ExitStack() as stack:
        first = stack.enter_context(worker(pages.settings, tmp_path / "0.log"))
        ana = stack.enter_context(a_visitor(pages.url))
        path = ana.ask(experts=1)
        wrote = 0

        def enough(step) -> bool:
            nonlocal wrote
            wrote += step["kind"] == "chair.text"
            return wrote == 8

        seen = ana.events(path, until=enough)
        first.send_signal(signal.SIGKILL)
        stack.enter_context(worker(pages.settings, tmp_path / "1.log"))
        steps = seen + ana.events(path, after=seen[-1]["seq"])
        assert [step["seq"] for step in steps] == list(range(1, len(steps) + 1))
        assert "A síntese continua de onde parou…" in [step["message"] for step in steps]
        asked = [each for each in simulator.requests if "presi" in str(each.body["system"])]
        assert len(asked) == 2
        assert asked[1].body["messages"][-2]["role"] == "assistant"
        written = (
            ana.get(f"{path}/exportar").text.partition("## Síntese\n\n")[2].partition("\n\n## Pareceres")[0]
        )
        assert written == council(asked[0].body)


def test_an_answer_is_handed_over_at_a_deploy(pages, worker, a_visitor, simulator, tmp_path):
    simulator.reset()
    simulator.script({"kind": "ok", "delay": 0.2})
    with ExitStack() as stack:
        leaving = stack.enter_context(worker(pages.settings, tmp_path / "0.log"))
        ana = stack.enter_context(a_visitor(pages.url))
        speaker = re.search(r'name="speaker" value="([^"]+)"', ana.get("/conversas/nova").text)[1]
        asked = {"question": "O que acontece quando sai uma versão nova?", "speaker": speaker}
        path = ana.post("/conversas", asked, page="/conversas/nova").headers["location"]
        answer = re.search(r'data-events="([^"?]+)/eventos', ana.get(path).text)[1]
        seen = ana.events(answer, until=lambda step: step["kind"] == "turn.text" and step["seq"] >= 6)
        began = time.monotonic()
        leaving.send_signal(signal.SIGTERM)
        assert leaving.wait(20) == 0
        assert time.monotonic() - began < 8
        stack.enter_context(worker(pages.settings, tmp_path / "1.log"))
        steps = seen + ana.events(answer, after=seen[-1]["seq"])
        assert [step["seq"] for step in steps] == list(range(1, len(steps) + 1))
        assert "Retomando de onde parou…" in [step["message"] for step in steps]
        assert steps[-1]["message"] == "Resposta completa."
        first, second = simulator.requests
        assert ana.get(f"{path}/exportar").text.rstrip().endswith(council(first.body))
        assert second.body["messages"][-2]["role"] == "assistant"
