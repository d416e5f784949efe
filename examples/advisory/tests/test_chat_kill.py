"""Answers whose worker is killed in mid-sentence: completed without a doubled or lost character, or honestly not.

``ADVISORY_KILL_TRIALS=100`` cuts a hundred; without it a few of each kind.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from contextlib import ExitStack
from itertools import cycle
from uuid import uuid4

import pytest

from advisory.demo.answers import council
from prodkit.testing.anthropic.personalities import PERSONALITIES

pytestmark = [pytest.mark.integration, pytest.mark.slow]
TRIALS = int(os.environ.get("ADVISORY_KILL_TRIALS", "0"))
AT_ONCE = 10
OBEDIENT = ("anchor", "exact")
FEW = ("mixed", "language")


@pytest.fixture(scope="module")
def pages(make_settings, running):
    """The app without a worker, on models whose breakers the disobedient ones cannot open for long."""
    app = running(make_settings(worker=False)).start()
    yield app
    app.stop()


def begin(visitor, question: str) -> str:
    page = "/conversas/nova"
    speaker = random.choice(re.findall(r'name="speaker" value="(\d+)"', visitor.get(page).text))
    data = {"question": question, "speaker": speaker, "form_key": str(uuid4())}
    return visitor.post("/conversas", data, page=page).headers["location"]


def written(visitor, path: str) -> str:
    """The stored text of the answer, without the note of an export that it is not whole."""
    text = visitor.get(f"{path}/exportar").text
    text = re.sub(r"\n\n_(Respondendo|Na fila|Resposta incompleta)[^\n]*_\n$", "\n", text)
    return text.partition("\n\n### ")[2].partition("\n\n")[2].removesuffix("\n")


def ended(visitor, path: str, seconds: float = 60) -> str:
    deadline = time.monotonic() + seconds
    while "data-events" in (page := visitor.get(path).text):
        assert time.monotonic() < deadline, "the answer did not end"
        time.sleep(0.1)
    return page


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [7])
def test_answers_cut_in_mid_sentence_are_completed_exactly_or_called_incomplete(
    pages, worker, a_visitor, simulator, tmp_path, seed
):
    random.seed(seed)
    cut = completed = incomplete = 0
    for number, personality in enumerate(cycle(PERSONALITIES) if TRIALS else FEW):
        if TRIALS and cut >= TRIALS:
            break
        simulator.reset()
        many = AT_ONCE if TRIALS else 8 if personality == "mixed" else 2
        simulator.script(*({"kind": "ok", "delay": random.uniform(0.2, 0.3)} for _ in range(many)))
        with ExitStack() as stack:
            victim = stack.enter_context(worker(pages.settings, tmp_path / f"{number}-a.log"))
            ana = stack.enter_context(a_visitor(pages.url))
            paths = [
                begin(ana, f"Devo aceitar a proposta número {number}.{n}, ou esperar?") for n in range(many)
            ]
            deadline = time.monotonic() + 20
            while not all(written(ana, path) for path in paths) and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(random.uniform(0, 1))
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            first = reversed(simulator.requests)  # a loaded machine may have asked for a rest before the kill
            asked = {each.body["messages"][0]["content"]: council(each.body) for each in first}
            wanted = {
                path: asked[f"Devo aceitar a proposta número {number}.{n}, ou esperar?"]
                for n, path in enumerate(paths)
            }
            beginnings = {path: written(ana, path) for path in paths}
            simulator.reset()
            if personality == "mixed":
                chosen = [each for each in PERSONALITIES if each != "language"][:many]
                simulator.script(*({"kind": "ok", "continuation": each} for each in chosen))
            else:
                simulator.continuation(personality, seed=number)
            stack.enter_context(worker(pages.settings, tmp_path / f"{number}-b.log"))
            for path in paths:
                page = ended(ana, path)
                text, whole, beginning = written(ana, path), wanted[path], beginnings[path]
                assert whole.startswith(beginning), "what is stored is what was said"
                in_the_middle = 0 < len(beginning) < len(whole)
                cut += in_the_middle
                if "Resposta incompleta" in page:
                    incomplete += in_the_middle
                    assert whole.startswith(text), (personality, beginning, text)
                    assert "Continuar a resposta" in page
                    assert personality not in OBEDIENT, (personality, beginning)
                    simulator.continuation("anchor")
                    ana.post(f"{path}/continuar", page=path)
                    page = ended(ana, path)
                    simulator.continuation(personality if personality != "mixed" else "anchor", seed=number)
                    assert "Resposta incompleta" not in page
                else:
                    completed += in_the_middle
                assert written(ana, path) == whole, (personality, beginning)
        print(
            f"{number}: {personality}: cut {cut}, completed {completed}, incomplete {incomplete}", flush=True
        )
    print(f"{cut} answers cut by kill -9: {completed} completed, {incomplete} incomplete and then completed")
    assert cut >= 5
    if not TRIALS:
        assert completed
        assert incomplete
