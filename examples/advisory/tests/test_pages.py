"""Rules that hold for every response."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

import pytest

import advisory

pytestmark = pytest.mark.integration
SOURCES = {"perplexity", "youtube", "unsplash"}
STATIC = Path(advisory.__file__).parent / "static"


def check_headers(headers) -> None:
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert "strict-transport-security" not in headers  # plain http here
    assert "server" not in headers
    assert headers["referrer-policy"]


def test_every_response_has_the_security_headers(ana, simulator):
    path = ana.ask(experts=1)
    ana.finished(path)
    answers = {
        200: [
            ana.get("/"),
            ana.get(path),
            ana.get("/api/health"),
            ana.get("/healthz"),
            ana.get("/static/style.css"),
        ],
        404: [
            ana.get("/nada"),
            ana.get("/static/nada.css"),
            ana.get("/avatares/7"),
            ana.get(f"/avatares/{uuid4()}"),
        ],
        405: [ana.http.put("/historico", headers={"x-csrf-token": ana.token("/")})],
        403: [ana.http.post("/sair")],
        422: [ana.post("/conselhos", {"question": ""})],
        303: [ana.http.get("/conselhos/x", follow_redirects=False)],
    }
    answers[404] += answers.pop(303)
    for status, some in answers.items():
        for answer in some:
            assert answer.status_code == status, answer.url
            check_headers(answer.headers)
    with ana.http.stream("GET", f"{path}/eventos") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in stream.headers
        check_headers(stream.headers)


def test_an_error_inside_is_a_page_in_portuguese_that_tells_nothing(ana, app, monkeypatch):
    async def broken(*_args, **_options):
        raise RuntimeError("segredo: postgres://u:p@h/db")

    monkeypatch.setattr(type(app.services.runs), "history", broken)
    answer = ana.get("/historico")
    assert answer.status_code == 500
    assert "Algo deu errado do nosso lado" in answer.text
    assert "segredo" not in answer.text
    check_headers(answer.headers)


@pytest.mark.parametrize("path", ["/nada", "/conselhos/nao-e-um-id", "/avatares/1"])
def test_what_is_not_there_is_told_in_portuguese(ana, path):
    answer = ana.get(path)
    assert answer.status_code == 404
    assert "Página não encontrada" in answer.text
    assert ana.get(path, headers={"accept": "application/json"}).json()["status"] == 404


def test_pages_of_an_account_send_a_visitor_to_the_door(visitor):
    for path in ("/historico", "/lixeira", "/especialistas", "/especialistas/novo", f"/conselhos/{uuid4()}"):
        answer = visitor.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/entrar?proxima={path}"


def test_health_tells_statuses_and_no_more(visitor):
    report = visitor.get("/api/health").json()
    assert report["status"] == "up"
    assert set(report["checks"]) == SOURCES | {"postgres", "redis", "llm", "jobs", "workers"}
    assert all(set(each) == {"status"} for each in report["checks"].values())
    assert visitor.get("/healthz").text == "ok"
    assert "Tudo funciona." in visitor.get("/saude").text


@pytest.mark.parametrize("path", ["/", "/entrar", "/cadastro", "/saude"])
def test_nothing_comes_from_elsewhere_and_nothing_is_inline(visitor, path):
    html = visitor.get(path).text
    assert '<html lang="pt-BR">' in html
    assert not re.search(r'(?:src|href)="(?:https?:)?//', html)
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*src=)", html)


def test_before_there_is_an_account_the_first_page_shows_a_finished_council(visitor):
    page = visitor.get("/").text
    assert "Um exemplo" in page
    assert "Onde concordam e onde divergem" in page
    assert page.count("Ler o parecer") == 3
    assert "<strong>ainda não</strong>" in page
    assert "<form" not in page.partition("<main")[2]  # nothing there asks for an account's rights
    assert "Um exemplo" not in visitor.register().get("/").text


def test_the_scripts_are_small():
    assert sum(each.stat().st_size for each in STATIC.glob("*.js")) < 15_000
    for each in STATIC.glob("*.js"):
        assert "eval(" not in each.read_text()


@pytest.mark.integration
@pytest.mark.parametrize("path", ["/", "/historico", "/conversas", "/saude", "/static/style.css", "/healthz"])
def test_every_page_answers_a_question_about_its_headers(ana, path):
    answer = ana.http.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == ana.get(path).headers["content-type"]
    assert ana.http.head("/nada").status_code == 404
