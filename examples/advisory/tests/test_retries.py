"""What a person sees while an attempt waits, the retry of one expert, and quota that an outage does not use up."""

from __future__ import annotations

import re

import pytest

from advisory.council.texts import is_outage, waiting_reason
from prodkit.errors import BulkheadFullError, CallTimeoutError, CircuitOpenError, LlmError, RateLimitedError


def test_an_outage_is_the_services_fault_and_not_the_questions():
    for error in (
        CircuitOpenError(),
        RateLimitedError(),
        BulkheadFullError(),
        CallTimeoutError(),
        *(LlmError(code=code) for code in ("overloaded", "server_error", "connection", "rate_limited")),
    ):
        assert is_outage(error), error
    for error in (LlmError(code="refusal"), LlmError(code="invalid_request"), ValueError()):
        assert not is_outage(error), error
    assert waiting_reason("overloaded") == "O modelo está sobrecarregado"
    assert waiting_reason("backoff") == "O serviço de IA pediu para esperar"


@pytest.mark.integration
def test_a_card_says_that_an_attempt_waits_and_when_it_is_sent(ana, simulator):
    simulator.script("overloaded", "slow-0.5")
    path = ana.ask(experts=1)
    steps = ana.events(path)
    waits = [step for step in steps if step["kind"] == "seat.waits"]
    assert len(waits) == 1
    html = waits[0]["html"]
    assert waits[0]["target"] == "cadeira-1"
    assert re.search(
        r"O modelo está sobrecarregado: nova tentativa 2 de 3 às <time[^>]+>\d\d:\d\d:\d\d</time>\.", html
    )
    assert "nova tentativa" not in steps[-1]["html"]
    assert [step["seq"] for step in steps] == list(range(1, len(steps) + 1))


@pytest.mark.integration
def test_a_page_that_is_opened_meanwhile_says_it_too(ana, simulator):
    simulator.script("ra-3", "ok")
    path = ana.ask(experts=1)
    ana.events(path, until=lambda step: step["kind"] == "seat.waits")
    assert "nova tentativa 2 de 3 às" in ana.get(path).text
    ana.finished(path)


@pytest.mark.integration
def test_one_expert_is_tried_again_and_the_others_are_not(ana, bruno, simulator):
    simulator.script("status-400", "status-400", "ok", "ok")
    path = ana.ask(experts=4)
    page = ana.finished(path).text
    buttons = re.findall(rf"{path}/cadeiras/(\d)/tentar", page)
    assert len(buttons) == 2
    before = simulator.counters.requests
    assert bruno.post(f"{path}/cadeiras/{buttons[0]}/tentar").status_code == 404
    assert ana.post(f"{path}/cadeiras/9/tentar", page=path).status_code == 404
    done = next(n for n in "1234" if n not in buttons)
    assert ana.post(f"{path}/cadeiras/{done}/tentar", page=path).status_code == 303  # nothing to do
    assert simulator.counters.requests == before
    assert ana.post(f"{path}/cadeiras/{buttons[0]}/tentar", page=path).status_code == 303
    page = ana.finished(path).text
    assert "Síntese pronta com 3 de 4 especialistas." in page
    assert re.findall(rf"{path}/cadeiras/(\d)/tentar", page) == buttons[1:]
    assert simulator.counters.requests - before == 3  # one expert, the chairman, the table
    assert (
        "Tentar de novo" not in ana.get(path).text.partition(f'id="cadeira-{done}"')[2].partition("</li>")[0]
    )


@pytest.mark.integration
def test_after_a_stop_one_expert_can_be_asked_alone(ana, simulator):
    simulator.script("ok", "slow-30", "slow-30")
    path = ana.ask()
    ana.events(path, until=lambda step: step["kind"] == "seat.done")
    ana.post(f"{path}/parar", page=path)
    page = ana.get(path).text
    stopped = re.findall(rf"{path}/cadeiras/(\d)/tentar", page)
    assert len(stopped) == 2
    simulator.reset()
    ana.post(f"{path}/cadeiras/{stopped[0]}/tentar", page=path)
    page = ana.finished(path).text
    assert "Síntese pronta com 2 de 3 especialistas." in page
    assert "você interrompeu o conselho antes da resposta" in page


@pytest.mark.integration
def test_a_council_that_an_outage_took_gives_its_use_back(make_settings, running, a_visitor, simulator):
    app = running(make_settings(models=["claude-sonnet-5-5"])).start()
    try:
        with a_visitor(app.url) as eva:
            for _ in range(9):
                eva.finished(eva.ask(experts=1))
            simulator.storm("overloaded", 60.0)
            path = eva.ask(experts=5)  # the tenth: its experts fail while the breaker opens
            assert "Quórum insuficiente" in eva.finished(path).text
            simulator.reset()
            app.services.claude.breakers["claude-sonnet-5-5"].reset()
            again = eva.post(f"{path}/retomar", page=path)
            assert again.status_code == 303
            assert "Síntese pronta, com 5 especialistas." in eva.finished(path).text
            # given back once: the eleventh has to wait
            refused = eva.post("/conselhos", {"question": "Uma pergunta a mais?", "experts": ["1"]})
            assert refused.status_code == 429
    finally:
        app.stop()
        simulator.reset()


@pytest.mark.integration
def test_a_council_whose_question_was_refused_gives_nothing_back(ana, simulator):
    for _ in range(9):
        ana.finished(ana.ask(experts=1))
    simulator.always("status-400")
    assert "Quórum insuficiente" in ana.finished(ana.ask(experts=2)).text
    assert ana.post("/conselhos", {"question": "Uma pergunta a mais?", "experts": ["1"]}).status_code == 429
