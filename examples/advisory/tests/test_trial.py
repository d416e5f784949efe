"""Trials: one question to an expert, or to a draft, before it is used."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.integration


def number_of(who) -> str:
    return re.search(r'/experimentar\?especialista=(\d+)"', who.get("/especialistas").text)[1]


def ask(who, question: str = "O que você faria primeiro?", **whom: str) -> str:
    """The path of the answer's page, once the answer is there."""
    page = "/experimentar?" + "&".join(f"{name}={value}" for name, value in whom.items())
    answer = who.post("/experimentar", {**whom, "question": question}, page=page)
    assert answer.status_code == 303, answer.text
    path = answer.headers["location"]
    with who.http.stream("GET", f"{path.partition('?')[0]}/eventos") as stream:
        assert any('"final":true' in line.replace(" ", "") for line in stream.iter_lines())
    return path


def test_an_expert_answers_one_question_and_nothing_is_kept(ana, bruno, simulator):
    trial = ask(ana, especialista=number_of(ana))
    shown = ana.get(trial).text
    assert "como Helena Prado" in shown
    assert "Escrito por claude" in shown
    path = trial.partition("?")[0]
    assert ana.get(f"{path}/passos").json()[0]["final"]
    seen = ana.http.get(f"{path}/eventos", headers={"last-event-id": "1"})
    assert seen.status_code == 204
    assert "O que você faria primeiro?" not in ana.get("/historico").text
    assert simulator.counters.requests == 1
    for each in (trial, f"{path}/eventos", f"{path}/passos"):
        assert bruno.get(each).status_code == 404


def test_a_draft_is_tried_out_before_it_is_accepted(ana, bruno):
    form = {"name": "Lina Bo Duarte", "context": "escreve sobre lojas de bairro, para experimentar"}
    research = ana.post("/especialistas/clonar", form, page="/especialistas/clonar").headers["location"]
    ana.finished(research)
    clone = research.rpartition("/")[2]
    assert "Experimentar Lina Bo Duarte" in ana.get(f"/experimentar?clone={clone}").text
    assert "como Lina Bo Duarte" in ana.get(ask(ana, clone=clone)).text
    assert bruno.get(f"/experimentar?clone={clone}").status_code == 404


def test_a_model_that_fails_is_said(ana, simulator):
    simulator.always("400")
    failed = ask(ana, especialista=number_of(ana))
    assert "Sem resposta: o serviço de IA não aceitou o pedido." in ana.get(failed).text


def test_wrong_questions_and_addresses(ana):
    number = number_of(ana)
    page = f"/experimentar?especialista={number}"
    for question in ("", "x" * 601):
        assert (
            ana.post("/experimentar", {"especialista": number, "question": question}, page=page).status_code
            == 422
        )
    for query in ("", "?especialista=99999999", "?especialista=x", "?clone=x", f"?clone={'0' * 32}"):
        assert ana.get(f"/experimentar{query}").status_code == 404
    assert ana.get(f"/experimentar/{'0' * 32}{page.removeprefix('/experimentar')}").status_code == 404


def test_the_twenty_first_trial_in_an_hour_has_to_wait(ana, simulator):
    number = number_of(ana)
    page = f"/experimentar?especialista={number}"
    form = {"especialista": number, "question": "Quanto custa errar?"}
    answers = [ana.post("/experimentar", form, page=page).status_code for _ in range(21)]
    assert answers == [303] * 20 + [429]
