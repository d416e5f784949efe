"""A forgotten password: one link, once, for 45 minutes, and no response reveals which addresses have an account."""

from __future__ import annotations

import re
import time

import pytest

from advisory.mail import Outbox
from advisory.tests.conftest import PASSWORD, Visitor
from advisory.tests.test_mail import Inbox, server
from prodkit import env

pytestmark = [pytest.mark.integration, pytest.mark.slow]
NEW = "uma senha inteiramente nova"


@pytest.fixture(scope="module")
def outbox(tmp_path_factory):
    return Outbox(tmp_path_factory.mktemp("caixa"), sender="a@b.example")


@pytest.fixture(scope="module")
def app(make_settings, running, outbox):
    """An app that writes its mail into a directory."""
    made = running(
        make_settings(
            mail_url=env.Secret(f"file://{outbox.directory}"), public_url="https://conselho.example"
        )
    ).start()
    yield made
    made.stop()


def wait_for(what, seconds: float = 15.0):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found


def ask(visitor, email):
    return visitor.post("/recuperar", {"email": email}, page="/recuperar")


def link_to(outbox, email: str, *, number: int = 1) -> str:
    """The path of the newest link, once `number` mails with one came."""

    def found():
        texts = [each.text for each in outbox.letters() if each.to == email and "codigo=" in each.text]
        return texts if len(texts) >= number else None

    (path,) = re.findall(r"https://conselho\.example(/recuperar/nova\?codigo=\S+)", wait_for(found)[0])
    return path


def test_a_new_password_by_mail_ends_every_session(app, ana, visitor, outbox):
    other = Visitor(app.url)
    assert ask(other, ana.email.upper()).headers["location"] == "/recuperar"
    assert "o link chega em instantes" in other.get("/recuperar").text
    path = link_to(outbox, ana.email)
    code = path.partition("codigo=")[2]
    opened = other.get(path)
    assert (opened.status_code, opened.headers["location"]) == (303, "/recuperar/nova")
    assert opened.headers["referrer-policy"] == "no-referrer"
    assert opened.headers["cache-control"] == "no-store"
    assert code not in other.get("/recuperar/nova").text
    assert other.get(path).status_code == 303  # a scanner that opened it first has used nothing up
    short = other.post("/recuperar/nova", {"password": "curta"}, page="/recuperar/nova")
    assert short.status_code == 422
    own = other.post("/recuperar/nova", {"password": ana.email.upper()}, page="/recuperar/nova")
    assert (own.status_code, "fácil de adivinhar" in own.text) == (422, True)
    done = other.post("/recuperar/nova", {"password": NEW}, page="/recuperar/nova")
    assert (done.status_code, done.headers["location"]) == (303, "/entrar")
    assert "todas as sessões foram encerradas" in other.get("/entrar").text
    assert ana.get("/conta").headers["location"].startswith("/entrar")
    assert other.sign_in(ana.email, PASSWORD).status_code == 422
    assert other.sign_in(ana.email, NEW).status_code == 303
    wait_for(lambda: any("foi trocada" in each.subject for each in outbox.letters() if each.to == ana.email))
    # the link is used up, for this visitor and for another one
    late = Visitor(app.url)
    late.get(path)
    assert late.get("/recuperar/nova").headers["location"] == "/recuperar"
    assert "não vale mais" in late.get("/recuperar").text
    for each in (other, late):
        each.http.close()


def test_a_newer_link_replaces_the_older_and_changing_the_password_ends_both(app, ana, outbox):
    other = Visitor(app.url)
    with other.http:
        ask(other, ana.email)
        first = link_to(outbox, ana.email)
        ask(other, ana.email)
        second = link_to(outbox, ana.email, number=2)
        assert first != second
        other.get(first)
        assert other.get("/recuperar/nova").status_code == 303
        other.get(second)
        assert other.get("/recuperar/nova").status_code == 200
        ana.post("/conta/senha", {"current": PASSWORD, "password": NEW}, page="/conta")
        assert other.get("/recuperar/nova").status_code == 303


def test_only_a_hash_is_kept_and_it_ends(app, ana, outbox, caplog):
    other = Visitor(app.url)
    with other.http:
        ask(other, ana.email)
        path = link_to(outbox, ana.email)
        code = path.partition("codigo=")[2]
        other.get(path)
        import asyncio

        import asyncpg

        async def look():
            connection = await asyncpg.connect(app.settings.database_url.reveal())
            try:
                for table in ("password_recoveries", "prodkit_sessions", "prodkit_jobs", "prodkit_job_steps"):
                    rows = await connection.fetch(f"select t::text as row from {table} t")
                    assert all(code not in row["row"] for row in rows), table
                await connection.execute("update password_recoveries set expires_at = now()")
            finally:
                await connection.close()

        asyncio.run(look())
        assert other.get("/recuperar/nova").status_code == 303
    assert code not in caplog.text


def test_an_unknown_address_gets_the_same_answer_and_no_mail(app, ana, visitor, outbox):
    answers = {}
    for email in (ana.email, "ninguem.daqui@exemplo.com.br"):
        someone = Visitor(app.url)
        with someone.http:
            page = someone.get("/recuperar")
            assert page.status_code == 200
            sent = ask(someone, email)
            answers[email] = (sent.status_code, sent.headers["location"], someone.get("/recuperar").text)
    known, unknown = answers.values()
    assert known[:2] == unknown[:2]
    hidden = re.compile(r'value="[^"]*"|nonce-\S+')
    assert hidden.sub("", known[2]) == hidden.sub("", unknown[2])
    link_to(outbox, ana.email)
    assert all("ninguem" not in each.to for each in outbox.letters())
    assert visitor.post("/recuperar", {"email": "sem arroba"}, page="/recuperar").status_code == 422


def test_links_to_one_address_and_from_one_client_are_limited(app, visitor):
    for _ in range(3):
        assert ask(visitor, "limite@exemplo.com.br").status_code == 303
    refused = ask(visitor, "limite@exemplo.com.br")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 60
    stranger = Visitor(app.url)
    with stranger.http:
        assert ask(stranger, "limite@exemplo.com.br").status_code == 429  # from every client
        codes = [ask(stranger, f"outro{n}@exemplo.com.br").status_code for n in range(12)]
        assert codes.count(429) >= 2


def test_a_code_of_nobody_opens_nothing(app, visitor):
    for code in ("x", "", "%00", "a" * 5000):
        visitor.get(f"/recuperar/nova?codigo={code}")
        assert visitor.get("/recuperar/nova").headers["location"] == "/recuperar"
    answer = visitor.post("/recuperar/nova", {"password": NEW}, page="/entrar")
    assert answer.headers["location"] == "/recuperar"


def test_an_outage_of_the_mail_server_loses_no_mail(make_settings, running):
    inbox = Inbox()
    with server(inbox) as port:
        pass  # a port without a listener now
    app = running(
        make_settings(mail_url=env.Secret(f"smtp://127.0.0.1:{port}"), public_url="https://conselho.example")
    ).start()
    try:
        eva = Visitor(app.url)
        with eva.http:
            eva.register()
            began = time.monotonic()
            assert ask(eva, eva.email).status_code == 303
            assert time.monotonic() - began < 5  # the visitor does not wait for the mail server
            time.sleep(1.5)
            with server_on(inbox, port):
                (mail,) = wait_for(lambda: inbox.mails, 30)
            assert mail["To"] == eva.email
            assert "codigo=" in mail.get_content()
    finally:
        app.stop()


def server_on(inbox, port):
    from contextlib import contextmanager

    from aiosmtpd.controller import Controller

    @contextmanager
    def running():
        controller = Controller(inbox, hostname="127.0.0.1", port=port)
        controller.start()
        try:
            yield
        finally:
            controller.stop()

    return running()


def test_without_mail_the_pages_do_not_exist(make_settings, running):
    app = running(make_settings()).start()
    try:
        someone = Visitor(app.url)
        with someone.http:
            assert someone.get("/recuperar").status_code == 404
            assert someone.get("/recuperar/nova").status_code == 404
            assert "Esqueci" not in someone.get("/entrar").text
    finally:
        app.stop()
