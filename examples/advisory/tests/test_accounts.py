from __future__ import annotations

import pytest

PASSWORD = "uma frase bem comprida"
pytestmark = pytest.mark.integration


def test_registering_signs_in_and_signing_out_ends_the_session(visitor):
    answer = visitor.post(
        "/cadastro",
        {"name": "Ana Lima", "email": "Ana.Nova@Exemplo.com.br", "password": PASSWORD},
        page="/cadastro",
    )
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    assert "Boas-vindas, Ana Lima!" in visitor.get("/").text
    assert "Boas-vindas" not in visitor.get("/").text  # shown once
    old = dict(visitor.http.cookies)
    assert visitor.post("/sair").headers["location"] == "/entrar"
    assert visitor.get("/historico").headers["location"] == "/entrar?proxima=/historico"
    searched = visitor.get("/historico?busca=p%C3%A3o&pagina=2").headers["location"]
    assert searched == "/entrar?proxima=/historico%3Fbusca%3Dp%25C3%25A3o%26pagina%3D2"
    assert 'value="/historico?busca=p%C3%A3o&amp;pagina=2"' in visitor.get(searched).text
    visitor.http.cookies.update(old)  # the old id is dead, not only forgotten
    assert visitor.get("/historico").status_code == 303
    assert visitor.sign_in("ana.nova@exemplo.com.br", PASSWORD).status_code == 303
    assert visitor.get("/historico").status_code == 200


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": ""}, "Preencha o campo “Nome”."),
        ({"name": "A"}, "“Nome” precisa de pelo menos 2 caracteres; tem 1."),
        ({"name": "A" * 81}, "“Nome” pode ter no máximo 80 caracteres; tem 81."),
        ({"email": "ana"}, "Escreva um e-mail válido, como ana@exemplo.com.br."),
        ({"email": "ana@exemplo"}, "Escreva um e-mail válido"),
        ({"email": "<script>@exemplo.com"}, "Escreva um e-mail válido"),
        ({"password": "p4ss!"}, "A senha precisa de pelo menos 10 caracteres."),
        ({"password": "x" * 201}, "A senha pode ter no máximo 200 caracteres."),
    ],
)
def test_wrong_input_is_told_beside_the_field_and_what_was_right_is_kept(visitor, changes, text):
    given = {"name": "Ana Lima", "email": "ana.errada@exemplo.com.br", "password": PASSWORD, **changes}
    answer = visitor.post("/cadastro", given, page="/cadastro")
    assert answer.status_code == 422
    assert text in answer.text
    assert 'aria-invalid="true"' in answer.text
    if "email" not in changes:
        assert "ana.errada@exemplo.com.br" in answer.text
    assert given["password"] not in answer.text


def test_all_problems_come_at_once(visitor):
    answer = visitor.post("/cadastro", {"name": "", "email": "x", "password": "y"}, page="/cadastro")
    assert answer.text.count('class="wrong"') == 3


def test_an_address_registers_once_whatever_its_capitals(ana, app, bruno):
    answer = bruno.http.post(
        "/cadastro",
        data={
            "csrf_token": bruno.token("/"),
            "name": "Outra",
            "email": ana.email.upper(),
            "password": PASSWORD,
        },
    )
    assert answer.status_code == 422
    assert "Já existe uma conta com este e-mail." in answer.text


def test_unknown_address_and_wrong_password_read_the_same(ana, app, bruno):
    bruno.post("/sair")
    wrong = bruno.sign_in(ana.email, "uma frase diferente").text
    unknown = bruno.sign_in("ninguem@exemplo.com.br", "uma frase diferente").text
    for each in (wrong, unknown):
        assert "E-mail ou senha não conferem." in each
    assert wrong.count("<li>") == unknown.count("<li>")


def test_the_sixth_wrong_password_in_a_quarter_of_an_hour_has_to_wait(ana, bruno):
    bruno.post("/sair")
    answers = [bruno.sign_in(ana.email, f"tentativa errada {n}") for n in range(6)]
    assert [each.status_code for each in answers] == [422] * 5 + [429]
    wait = int(answers[5].headers["retry-after"])
    assert 800 <= wait <= 900
    assert "Muitas tentativas de login. Tente novamente em 15 minutos." in answers[5].text
    # The right password has to wait too, or the limit would tell a guesser that it was right.
    assert bruno.sign_in(ana.email, PASSWORD).status_code == 429


def test_signing_in_well_never_counts(ana):
    for _ in range(7):
        ana.post("/sair")
        assert ana.sign_in(ana.email, PASSWORD).status_code == 303


def test_the_fourth_account_from_one_address_has_to_wait(visitor):
    for n in range(4):
        answer = visitor.post(
            "/cadastro",
            {"name": "Muitas Contas", "email": f"muitas{n}@exemplo.com.br", "password": PASSWORD},
            page="/cadastro",
        )
        if n < 3:
            assert answer.status_code == 303
            visitor.post("/sair")
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 3500
    assert "Muitos cadastros" in answer.text


def test_programs_get_the_limit_as_a_problem_document(ana, bruno):
    bruno.post("/sair")
    for n in range(6):
        answer = bruno.post(
            "/entrar",
            {"email": ana.email, "password": f"errada {n}"},
            page="/entrar",
            headers={"accept": "application/json"},
        )
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 429


@pytest.mark.parametrize(
    "change",
    [
        {"token": None},
        {"token": "x" * 64},
        {"token": "ção\x00"},
        {"headers": {"sec-fetch-site": "cross-site"}},
        {"headers": {"origin": "https://mau.exemplo"}},
        {"headers": {"origin": "null"}},
    ],
)
def test_a_request_that_is_not_from_our_pages_is_refused_in_portuguese(ana, change):
    token = change.get("token", ana.token("/"))
    data = {} if token is None else {"csrf_token": token}
    answer = ana.http.post("/sair", data=data, headers=change.get("headers", {}))
    assert answer.status_code == 403
    assert "Pedido recusado" in answer.text
    assert ana.get("/historico").status_code == 200  # still signed in


def test_the_token_of_another_session_is_worthless(ana, bruno):
    answer = ana.http.post("/sair", data={"csrf_token": bruno.token("/")})
    assert answer.status_code == 403


def test_the_session_cookie_is_for_the_browser_alone_and_changes_at_login(visitor):
    before = visitor.get("/entrar")
    assert "session" not in before.cookies
    visitor.register()
    first = visitor.http.cookies["session"]
    visitor.post("/sair")
    answer = visitor.sign_in(visitor.email, PASSWORD)
    flags = answer.headers["set-cookie"]
    assert "HttpOnly" in flags
    assert "SameSite=Lax" in flags
    assert visitor.http.cookies["session"] != first


@pytest.mark.parametrize("path", ["https://mau.exemplo/", "//mau.exemplo", "/\\mau.exemplo", "/a\r\nb"])
def test_signing_in_leads_nowhere_else(ana, path):
    ana.post("/sair")
    answer = ana.post("/entrar", {"email": ana.email, "password": PASSWORD, "next": path}, page="/entrar")
    assert answer.headers["location"] == "/"
