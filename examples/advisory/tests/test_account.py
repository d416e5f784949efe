"""One's own account, experts that change, and the search."""

from __future__ import annotations

import re

import pytest

from advisory.tests.conftest import PASSWORD

pytestmark = pytest.mark.integration
NEW = "outra frase ainda maior"


def other_device(app, ana):
    import httpx

    device = type(ana)(app.url)
    device.email = ana.email
    assert device.sign_in(ana.email, PASSWORD).status_code == 303
    assert isinstance(device.http, httpx.Client)
    return device


def test_changing_the_password_needs_the_old_one_and_ends_the_other_sessions(app, ana):
    phone = other_device(app, ana)
    assert ana.get("/conta").text.count("Outra sessão") == 1
    wrong = ana.post("/conta/senha", {"current": "nada disso", "password": NEW}, page="/conta")
    assert wrong.status_code == 422
    assert "não confere" in wrong.text
    assert (
        ana.post("/conta/senha", {"current": PASSWORD, "password": "curta"}, page="/conta").status_code == 422
    )
    own = ana.post("/conta/senha", {"current": PASSWORD, "password": ana.email}, page="/conta")
    assert (own.status_code, "fácil de adivinhar" in own.text) == (422, True)
    done = ana.post("/conta/senha", {"current": PASSWORD, "password": NEW}, page="/conta")
    assert done.status_code == 303
    assert "As outras sessões foram encerradas" in ana.get("/conta").text
    assert phone.get("/conta").status_code == 303
    ana.post("/sair", page="/conta")
    assert ana.sign_in(ana.email, PASSWORD).status_code == 422
    assert ana.sign_in(ana.email, NEW).status_code == 303
    phone.http.close()


def test_one_session_or_all_of_them_can_be_ended(app, ana):
    phone, tablet = other_device(app, ana), other_device(app, ana)
    handle = re.search(r'name="handle" value="([^"]+)"', ana.get("/conta").text)[1]
    ana.post("/conta/sessoes/encerrar", {"handle": handle}, page="/conta")
    assert ana.get("/conta").text.count("Outra sessão") == 1
    assert sorted(each.get("/conta").status_code for each in (phone, tablet)) == [200, 303]
    assert ana.post("/conta/sessoes/todas", page="/conta").status_code == 303
    assert [each.get("/conta").status_code for each in (ana, phone, tablet)] == [303] * 3
    phone.http.close()
    tablet.http.close()


def test_a_session_of_somebody_else_cannot_be_ended(ana, bruno, app):
    phone = other_device(app, ana)
    handle = re.search(r'name="handle" value="([^"]+)"', ana.get("/conta").text)[1]
    bruno.post("/conta/sessoes/encerrar", {"handle": handle}, page="/conta")
    assert phone.get("/conta").status_code == 200
    phone.http.close()


def test_the_data_can_be_taken_away_and_the_account_deleted(ana, simulator):
    ana.finished(ana.ask("Levo os meus dados comigo quando sair?", experts=1))
    data = ana.get("/conta/dados").json()
    assert data["conta"]["email"] == ana.email
    assert data["conselhos"][0]["pergunta"].startswith("Levo os meus dados")
    assert "hash" not in ana.get("/conta/dados").text
    simulator.always("slow-60")
    ana.ask("Este conselho ainda está em andamento?", experts=1)
    assert ana.post("/conta/excluir", {"confirm": "outro@exemplo.com"}, page="/conta").status_code == 422
    assert ana.post("/conta/excluir", {"confirm": ana.email}, page="/conta").status_code == 303
    assert ana.get("/conta").status_code == 303
    assert ana.sign_in(ana.email, PASSWORD).status_code == 422
    assert ana.register().get("/historico").text.count("/apagar") == 0  # the address is free again


def test_an_expert_can_be_edited_by_its_owner_only(ana, bruno, simulator):
    fields = {"name": "Clara Nunes", "role": "engenheira de produção", "goals": "", "style": ""}
    ana.post("/especialistas", fields, page="/especialistas/novo")
    path = re.search(r"/especialistas/\d+/editar", ana.get("/especialistas").text)[0]
    assert 'value="Clara Nunes"' in ana.get(path).text
    done = ana.post(path, {**fields, "name": "Clara Lima", "style": "Direta."}, page=path)
    assert done.status_code == 303
    assert "Clara Lima foi atualizado" in (page := ana.get("/especialistas").text)
    assert "Clara Nunes" not in page
    assert ana.post(path, {**fields, "name": "C"}, page=path).status_code == 422
    assert bruno.get(path).status_code == 404
    assert bruno.post(path, fields).status_code == 404
    assert ana.get("/especialistas/1/editar").status_code == 404  # seeded


def test_the_history_can_be_searched(ana, simulator):
    for question in ("Devo vender a bicicleta azul?", "Compro um forno a 100% ou alugo?"):
        ana.finished(ana.ask(question, experts=1))
    assert "bicicleta azul" in (found := ana.get("/historico?busca=AZUL bicicleta").text)
    assert "forno" not in found
    assert "1 resultado para" in found
    assert "forno" in ana.get("/historico", params={"busca": "100%"}).text
    assert "Nada encontrado" in ana.get("/historico", params={"busca": "%_\\"}).text
    assert "Nada encontrado" in ana.get("/historico", params={"busca": "<b>avião</b>"}).text
