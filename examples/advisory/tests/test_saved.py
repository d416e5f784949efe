"""The same question within an hour: the saved council, at no cost, with a way around it."""

from __future__ import annotations

import re

import pytest

from advisory.store.experts import Expert
from advisory.store.saved import saved_key


def test_a_key_is_that_of_one_account_one_question_and_these_versions():
    helena = Expert(1, None, "Helena", "cfo", "caixa", "direta", None)
    davi = Expert(2, None, "Davi", "marca", "", "", None)
    edited = Expert(2, None, "Davi", "marca", "ouvir", "", None)
    key = saved_key(7, "Abro a  loja?\n", [helena, davi])
    assert key == saved_key(7, "Abro a loja?", [davi, helena])
    others = [
        saved_key(8, "Abro a loja?", [helena, davi]),
        saved_key(7, "Abro a loja", [helena, davi]),
        saved_key(7, "Abro a loja?", [helena]),
        saved_key(7, "Abro a loja?", [helena, edited]),
        saved_key(7, "Abro a loja?", [helena, davi], reviewed=True),
        saved_key(7, "Abro a loja?", [helena, davi], persona=(3, 1)),
        saved_key(7, "Abro a loja?", [helena, davi], persona=(3, 2)),
    ]
    assert len({key, *others}) == 8


def form(visitor, question: str, count: int = 2, **more: str) -> dict[str, object]:
    experts = re.findall(r'name="experts" value="(\d+)"', visitor.get("/").text)[:count]
    return {"question": question, "experts": experts, **more}


@pytest.mark.integration
def test_the_same_question_again_is_answered_from_what_is_saved(ana, bruno, simulator):
    question = form(ana, "Devo guardar as respostas por uma hora?")
    first = ana.post("/conselhos", question).headers["location"]
    assert ana.post("/conselhos", question).headers["location"] == f"{first}?guardada=1"  # still on its way
    ana.finished(first)
    before = simulator.counters.requests
    again = ana.post("/conselhos", question).headers["location"]
    assert again == f"{first}?guardada=1"
    page = ana.get(again).text
    assert "Resposta guardada" in page
    assert simulator.counters.requests == before
    # a hit costs no quota: nine more councils fit into the hour
    for _ in range(9):
        ana.finished(ana.ask(experts=1))
    assert ana.post("/conselhos", question).headers["location"] == again
    other = bruno.post("/conselhos", form(bruno, "Devo guardar as respostas por uma hora?"))
    assert other.headers["location"].partition("?")[0] != first  # never across accounts
    bruno.finished(other.headers["location"])


@pytest.mark.integration
def test_the_button_asks_again_and_so_does_the_link(ana, simulator):
    question = form(ana, "Posso contornar a resposta guardada?")
    first = ana.post("/conselhos", question).headers["location"]
    ana.finished(first)
    page = ana.get(f"{first}?guardada=1").text
    button = page.partition('id="guardada"')[2].partition("</form>")[0]
    fields = re.findall(r'name="([^"]+)" value="([^"]*)"', button)
    data = {name: value for name, value in fields if name != "experts"}
    data["experts"] = [value for name, value in fields if name == "experts"]
    again = ana.http.post("/conselhos", data=data).headers["location"]
    assert again not in (first, f"{first}?guardada=1")
    ana.finished(again)
    # the newer one is the saved one now
    assert ana.post("/conselhos", question).headers["location"] == f"{again}?guardada=1"
    link = re.search(r'href="(/\?pergunta=[^"]+)"', ana.get(first).text)[1].replace("&amp;", "&")
    assert 'name="fresh" value="1"' in ana.get(link).text
    assert 'name="fresh"' not in ana.get("/").text


@pytest.mark.integration
def test_what_is_not_whole_or_no_longer_there_is_no_answer(ana, simulator):
    simulator.script("status-400", "ok", "ok")
    question = form(ana, "E se faltou um especialista?")
    first = ana.post("/conselhos", question).headers["location"]
    ana.finished(first)
    second = ana.post("/conselhos", question).headers["location"]
    assert "guardada" not in second
    ana.finished(second)
    ana.post(f"{second}/apagar", page=second)
    third = ana.post("/conselhos", question).headers["location"]
    assert "guardada" not in third
    ana.finished(third)
