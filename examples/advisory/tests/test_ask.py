"""Asking: once a form, also in Arabic, and not at all while the models are paused."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest

pytestmark = pytest.mark.integration


def experts_of(visitor) -> list[str]:
    return re.findall(r'name="experts" value="(\d+)"', visitor.get("/").text)[:2]


def test_one_form_that_is_sent_twice_is_one_council(ana, bruno, simulator):
    page = ana.get("/").text
    key = re.search(r'name="form_key" value="([^"]+)"', page)
    assert key is not None
    form = {"question": "Devo abrir uma segunda loja?", "experts": experts_of(ana), "form_key": key[1]}
    first, second = ana.post("/conselhos", form), ana.post("/conselhos", form)
    assert first.headers["location"] == second.headers["location"]
    ana.finished(first.headers["location"])
    assert simulator.counters.requests == 4
    assert ana.get("/").text.count("/apagar") == 1
    other = bruno.post("/conselhos", {**form, "experts": experts_of(bruno)})
    assert other.headers["location"] != first.headers["location"]  # a key belongs to its owner
    assert key[1] not in ana.get("/").text


def test_a_refused_form_keeps_its_key(ana):
    key = str(uuid4())
    answer = ana.post("/conselhos", {"question": "curta", "form_key": key})
    assert answer.status_code == 422
    assert key in answer.text


def test_a_question_in_arabic_runs_from_right_to_left(ana):
    path = ana.ask("هل أفتح متجراً ثانياً هذا العام أم أنتظر؟", experts=1)
    page = ana.finished(path).text
    assert '<h1 dir="auto">هل' in page
    assert '<div class="prose" dir="auto"' in page
    assert 'name="question" dir="auto"' in ana.get("/").text


def test_errors_and_health_show_who_is_signed_in(ana):
    for path in ("/saude", "/nada", f"/conselhos/{uuid4()}", "/conselhos/x"):
        page = ana.get(path).text
        assert "Ana Lima" in page, path
        assert ">Sair<" in page
    assert "Ana Lima" not in ana.post("/sair").text


def test_while_the_models_are_paused_nothing_is_asked_or_counted(
    make_settings, running, a_visitor, simulator
):
    settings = make_settings()
    app = running(settings).start()
    try:
        with a_visitor(app.url) as eva:
            for model in settings.models:
                simulator.storm("overloaded", 30.0, model=model)
            eva.finished(eva.ask(experts=5))
            refused = eva.post(
                "/conselhos",
                {"question": "E agora, alguém responde?", "experts": experts_of(eva)},
                headers={"sec-fetch-site": "same-origin"},
            )
            assert refused.status_code == 503
            assert 1 <= int(refused.headers["retry-after"]) <= 300
            assert "Nova tentativa às" in refused.text
            assert "Nada foi descontado" in refused.text
            assert "E agora, alguém responde?</textarea>" in refused.text
            for _ in range(12):
                assert (
                    eva.post(
                        "/conselhos", {"question": "E agora, alguém?", "experts": experts_of(eva)}
                    ).status_code
                    == 503
                )
            assert eva.get("/").text.count("/apagar") == 1
    finally:
        app.stop()
        simulator.reset()


def test_an_expired_session_keeps_the_question(app, ana):
    question = "Devo trocar de fornecedor antes do fim do ano?"
    form = {"question": question, "experts": experts_of(ana), "csrf_token": ana.token("/")}
    ana.http.cookies.clear()  # an hour later
    origin = {"origin": app.url, "sec-fetch-site": "same-origin"}
    answer = ana.http.post("/conselhos", data=form, headers=origin)
    assert (answer.status_code, answer.headers["location"]) == (303, "/entrar")
    assert "a sua pergunta está guardada" in ana.get("/entrar").text
    assert ana.sign_in(ana.email, "uma frase bem comprida").headers["location"] == "/"
    page = ana.get("/").text
    assert question in page
    assert page.count(" checked") == 2
    assert question not in ana.get("/").text  # shown once
    key = re.search(r'name="form_key" value="([^"]+)"', page)
    again = ana.post("/conselhos", {**form, "csrf_token": ana.token("/"), "form_key": key[1]})
    assert again.headers["location"].startswith("/conselhos/")


def test_a_finished_council_can_be_asked_again_with_the_same_experts(ana, bruno, simulator):
    path = ana.ask("Pergunto de novo aos mesmos?", experts=2)
    link = re.search(r'href="(/\?pergunta=[^"]+)"', ana.finished(path).text)[1].replace("&amp;", "&")
    page = ana.get(link).text
    assert "Pergunto de novo aos mesmos?" in page
    assert page.count(" checked") == 2
    assert bruno.get(link).text.count(" checked") == 3  # another's council says nothing
    assert "Escrita por claude" in ana.get(path).text


def test_a_foreign_page_cannot_leave_a_question(app, visitor):
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}, {}):
        answer = visitor.http.post(
            "/conselhos", data={"question": "Compre isto agora mesmo!"}, headers=headers
        )
        assert answer.status_code == 403
    assert "Compre isto" not in visitor.register().get("/").text
