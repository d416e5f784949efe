"""A clone from public sources: a draft that a person reads, corrects, accepts or throws away; and trials."""

from __future__ import annotations

import itertools
import re

import pytest

from advisory.pages.limits import AUTO_CLONE

pytestmark = pytest.mark.integration
_numbers = itertools.count(1)


def clone(who, name: str = "Lina Bo Duarte") -> str:
    form = {"name": name, "context": f"escreve sobre lojas de bairro, edição {next(_numbers)}"}
    answer = who.post("/especialistas/clonar", form, page="/especialistas/clonar")
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def draft_of(who, research: str) -> str:
    assert "Revisar o rascunho" in who.finished(research).text
    return research.replace("/pesquisas/", "/clones/")


def fields_of(page: str) -> dict[str, str]:
    return {
        "name": re.search(r'name="name"[^>]* value="([^"]*)"', page)[1],
        "role": re.search(r'name="role"[^>]* value="([^"]*)"', page)[1],
        "goals": re.search(r'name="goals"[^>]*>([^<]*)<', page)[1],
        "style": re.search(r'name="style"[^>]*>([^<]*)<', page)[1],
    }


def test_a_draft_is_corrected_and_accepted_and_says_everywhere_that_it_is_a_simulation(ana, simulator):
    draft = draft_of(ana, clone(ana))
    assert "Lina Bo Duarte" not in ana.get("/").text  # not used before it was read
    page = ana.get(draft).text
    assert "Simulação baseada em fontes públicas de Lina Bo Duarte" in page
    assert "O que as fontes dizem" in page
    fields = {**fields_of(page), "style": "Fala baixo e com exemplos."}
    saved = ana.post(f"{draft}/guardar", fields, page=draft)
    assert saved.headers["location"] == draft
    assert "Fala baixo e com exemplos." in ana.get(draft).text
    accepted = ana.post(f"{draft}/aceitar", {**fields_of(ana.get(draft).text)}, page=draft)
    assert accepted.headers["location"] == "/especialistas"
    experts = ana.get("/especialistas").text
    assert "(simulação baseada em fontes públicas)" in experts
    assert "como simulação baseada em fontes públicas" in experts
    number = re.search(r'name="experts" value="(\d+)"', ana.get("/").text)[1]
    answer = ana.post("/conselhos", {"question": "Abro uma segunda loja?", "experts": [number]})
    council = ana.finished(answer.headers["location"]).text
    assert "Lina Bo Duarte" in council
    assert "(simulação baseada em fontes públicas)" in council
    chat = ana.get(f"/conversas/nova?com={number}").text
    assert "(simulação baseada em fontes públicas)" in chat
    prompt = next(each.body["system"] for each in simulator.requests if "simulação feita" in str(each.body))
    assert "não diga que é a pessoa real" in prompt
    assert ana.get(draft).status_code == 404  # decided
    assert ana.post(f"{draft}/aceitar", fields).status_code == 404


def test_a_draft_is_thrown_away_with_all_it_found(ana):
    research = clone(ana, "Oto Meireles")
    draft = draft_of(ana, research)
    assert "Oto Meireles" in ana.get("/especialistas").text
    assert ana.post(f"{draft}/descartar", page=draft).headers["location"] == "/especialistas"
    assert ana.get(research).status_code == ana.get(draft).status_code == 404
    assert "Oto Meireles" not in ana.get("/especialistas").text + ana.get("/conta/dados").text


def test_wrong_corrections_are_told_and_kept(ana):
    draft = draft_of(ana, clone(ana))
    answer = ana.post(f"{draft}/aceitar", {"name": "", "role": "Escritora", "goals": "x" * 601}, page=draft)
    assert answer.status_code == 422
    assert "Preencha o campo “Nome”." in answer.text
    assert "Escritora" in answer.text
    wrong = ana.post("/especialistas/clonar", {"name": "A", "context": ""}, page="/especialistas/clonar")
    assert wrong.status_code == 422
    assert "Preencha o campo “Pelo que é conhecida”." in wrong.text


def test_a_model_that_answers_in_another_form_gives_no_draft_but_another_try(ana, simulator):
    simulator.script({"kind": "ok", "text": "Não sei fazer JSON."})
    research = clone(ana)
    last = ana.events(research)[-1]
    assert "Faltou o perfil: o modelo respondeu em um formato inesperado." in last["message"]
    assert ana.get(research.replace("/pesquisas/", "/clones/")).status_code == 404
    ana.post(f"{research}/fontes/profile/tentar", page=research)
    draft_of(ana, research)


def test_the_sixth_clone_of_a_day_is_told_when_it_is_possible(ana, outside):
    for each in outside.sources:
        each.always("400")
    for _ in range(5):
        ana.events(clone(ana))
    form = {"name": "Lina Bo Duarte", "context": "escreve"}
    answer = ana.post("/especialistas/clonar", form, page="/especialistas/clonar")
    assert answer.status_code == 429
    assert "Você atingiu o limite de clones automáticos. Tente novamente em" in answer.text
    assert AUTO_CLONE.amount == 5


def test_another_account_sees_no_draft(ana, bruno):
    draft = draft_of(ana, clone(ana))
    assert bruno.get(draft).status_code == 404
    for each in ("aceitar", "guardar", "descartar"):
        assert bruno.post(f"{draft}/{each}", {"name": "x"}).status_code == 404
    assert ana.get(draft).status_code == 200
