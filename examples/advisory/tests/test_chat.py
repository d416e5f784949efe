"""Conversations: streamed, stored while they are written, stopped, continued, asked again."""

from __future__ import annotations

import asyncio
import json
import re
import time
from uuid import uuid4

import asyncpg
import pytest

pytestmark = pytest.mark.integration
QUESTION = "Como conto ao meu sócio que quero sair?"


def begin(visitor, question: str = QUESTION, *, page: str = "/conversas/nova", **more: str) -> str:
    """A new conversation; returns the path of its page."""
    found = visitor.get(page).text
    speaker = more.pop("speaker", None) or re.search(r'name="speaker" value="([^"]+)"', found)[1]
    council = re.search(r'name="council" value="([^"]+)"', found)
    data = {"question": question, "speaker": speaker, "form_key": str(uuid4()), **more}
    if council:
        data["council"] = council[1]
    answer = visitor.post("/conversas", data, page=page)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def stream_of(visitor, path: str) -> str:
    """The path of the answer in progress, for `events`."""
    found = re.search(r'data-events="([^"?]+)/eventos\?depois=(\d+)"', visitor.get(path).text)
    assert found, "no answer in progress"
    return found[1]


def begun(step) -> bool:
    """The answer's first sentence is being written."""
    return "eu começaria" in step.get("rest", "") + step.get("done", "")


def answered(visitor, path: str):
    """The page after the end of the answer in progress."""
    page = visitor.get(path).text
    if found := re.search(r'data-events="([^"?]+)/eventos\?depois=(\d+)"', page):
        steps = visitor.events(found[1], after=int(found[2]))
        assert steps[-1]["final"]
        page = visitor.get(path).text
    return page


def test_a_conversation_streams_and_is_there_again_later(ana, simulator):
    simulator.always({"kind": "ok", "delay": 0.03})
    path = begin(ana)
    answer = stream_of(ana, path)
    steps = ana.events(answer)
    assert [step["seq"] for step in steps] == list(range(1, len(steps) + 1))
    texts = [step for step in steps if step["kind"] == "turn.text"]
    assert len(texts) > 3
    spoken = [step["message"] for step in steps if step["message"]]
    # A screen reader hears the beginning and the end, not each word.
    assert (spoken[0], spoken[-1]) == ("Helena Prado está pensando…", "Resposta completa.")
    assert "Helena Prado está respondendo…" in spoken
    assert len(spoken) <= 5
    assert "como Helena Prado" in steps[-1]["html"]
    page = ana.get(path).text
    assert "data-events" not in page
    assert "como Helena Prado" in page
    assert "Escrita por claude-sonnet-5-5" in page
    assert re.search(r"[\d.]+ tokens lidos e [\d.]+ escritos", page)
    listed = ana.get("/conversas").text
    assert path in listed
    assert QUESTION in listed
    assert path in ana.get("/conversas?busca=Helena+sócio").text
    assert path not in ana.get("/conversas?busca=padaria").text
    assert simulator.counters.requests == 1


def test_the_second_question_knows_the_first(ana, simulator):
    path = begin(ana)
    answered(ana, path)
    assert (
        ana.post(path, {"question": "E se ele chorar?", "form_key": str(uuid4())}, page=path).status_code
        == 303
    )
    page = answered(ana, path)
    assert page.index(QUESTION) < page.index("E se ele chorar?")
    sent = simulator.requests[-1].body["messages"]
    assert [each["role"] for each in sent] == ["user", "assistant", "user"]
    assert sent[0]["content"] == QUESTION
    assert "como Helena Prado" in sent[1]["content"]


def test_a_page_opened_in_between_shows_what_was_written(ana, simulator):
    simulator.always({"kind": "ok", "delay": 0.1})
    path = begin(ana)
    answer = stream_of(ana, path)
    seen = ana.events(answer, until=begun)
    page = ana.get(path).text
    assert 'aria-busy="true"' in page
    assert '<meta http-equiv="refresh" content="3">' in page  # without scripts
    assert "eu começaria" in page
    last = int(re.search(r"eventos\?depois=(\d+)", page)[1])
    assert last >= seen[-1]["seq"]
    rest = ana.events(answer, after=last)
    assert [step["seq"] for step in rest] == list(range(last + 1, rest[-1]["seq"] + 1))
    assert rest[-1]["final"]
    replayed = ana.get(f"{answer}/passos?depois=0").json()
    assert [step["seq"] for step in replayed] == list(range(1, rest[-1]["seq"] + 1))
    done = ana.get(f"{answer}/eventos", headers={"last-event-id": str(rest[-1]["seq"])})
    assert done.status_code == 204


def test_stopping_keeps_what_arrived_and_it_can_be_continued(ana, simulator):
    simulator.always({"kind": "ok", "delay": 0.15})
    path = begin(ana)
    ana.events(stream_of(ana, path), until=begun)
    began = time.monotonic()
    assert ana.post(f"{path}/parar", page=path).status_code == 303
    page = ana.get(path).text
    assert time.monotonic() - began < 8
    assert "Você interrompeu esta resposta." in page
    assert "eu começaria" in page
    simulator.wait_until_idle()  # the call in flight is closed
    assert simulator.counters.requests == 1
    simulator.always("ok")
    assert "Continuar a resposta" in page
    assert ana.post(f"{path}/continuar", page=path).status_code == 303
    page = answered(ana, path)
    assert "Você interrompeu" not in page
    assert page.count("eu começaria") == page.count("volte a esta conversa com o que aprendeu") == 1
    assert "retomada 1 vez no meio do texto" in page


@pytest.mark.parametrize("table", ["chat_turns", "runs"])
async def test_stopping_and_a_worker_that_writes_do_not_deadlock(ana, app, simulator, table):
    """The worker locks its job, then the row it writes; a stop that did it the other way round would deadlock."""
    simulator.always("slow-20")
    path = begin(ana) if table == "chat_turns" else ana.ask(experts=1)
    connection = await asyncpg.connect(app.settings.database_url.reveal())
    try:
        for _ in range(100):
            job = await connection.fetchval(f"select job from {table} where status = 'running' limit 1")
            if job is not None:
                break
            await asyncio.sleep(0.05)
        async with connection.transaction():
            await connection.execute("select from prodkit_jobs where id = $1 for no key update", job)
            stopping = asyncio.create_task(asyncio.to_thread(ana.post, f"{path}/parar", page=path))
            await asyncio.sleep(0.5)
            await connection.execute(f"update {table} set job = job where job = $1", job)
        assert (await stopping).status_code == 303
        assert await connection.fetchval(f"select status from {table} where job = $1", job) == "stopped"
    finally:
        await connection.close()


def test_an_answer_that_cannot_be_completed_says_so_and_goes_on_at_a_click(ana, simulator):
    simulator.script({"kind": "mid_reset", "after": 20}, *["400"] * 6)
    path = begin(ana)
    page = answered(ana, path)
    assert "Resposta incompleta: o serviço de IA não aceitou o pedido." in page
    assert "eu começaria" in page
    simulator.reset()
    assert ana.post(f"{path}/continuar", page=path).status_code == 303
    page = answered(ana, path)
    assert "Resposta incompleta" not in page
    assert page.count("eu começaria") == page.count("volte a esta conversa com o que aprendeu") == 1


def test_an_answer_that_runs_into_its_limit_says_so_and_gets_new_room(ana, simulator):
    simulator.script({"kind": "ok", "words": 900})
    path = begin(ana)
    page = answered(ana, path)
    assert "Resposta incompleta: ela chegou ao tamanho máximo de uma resposta." in page
    simulator.always({"kind": "ok", "words": 900})
    ana.post(f"{path}/continuar", page=path)
    page = answered(ana, path)
    assert "Resposta incompleta" not in page
    words = re.findall(r"w(\d+)", ana.get(f"{path}/exportar").text)
    assert [int(each) for each in words] == list(range(900))


def test_a_failed_answer_can_be_tried_again(ana, simulator):
    simulator.script("400")
    path = begin(ana)
    page = answered(ana, path)
    assert "Sem resposta: o serviço de IA não aceitou o pedido." in page
    assert "Continuar a resposta" not in page
    assert ana.post(f"{path}/repetir", {"form_key": str(uuid4())}, page=path).status_code == 303
    page = answered(ana, path)
    assert "Sem resposta" not in page.partition("Versões anteriores")[0]
    assert "Versões anteriores (1)" in page


def test_an_edited_question_replaces_what_came_after_it_and_nothing_is_lost(ana, simulator):
    path = begin(ana)
    answered(ana, path)
    ana.post(path, {"question": "E depois disso?"}, page=path)
    answered(ana, path)
    edited = "Como conto à minha sócia que quero sair?"
    assert ana.post(f"{path}/editar", {"position": "1", "question": edited}, page=path).status_code == 303
    page = answered(ana, path)
    now, _, before = page.partition("Versões anteriores (2)")
    assert edited in now
    assert "E depois disso?" not in now
    assert QUESTION in before
    assert "E depois disso?" in before
    assert simulator.requests[-1].body["messages"] == [{"role": "user", "content": edited}]
    assert ana.post(f"{path}/editar", {"position": "7", "question": edited}, page=path).status_code == 404


def test_while_an_answer_is_written_a_second_question_waits_and_keeps_its_text(ana, simulator):
    simulator.always("slow-20")
    path = begin(ana)
    refused = ana.post(path, {"question": "Já respondeu?"}, page=path)
    assert refused.status_code == 409
    assert "Espere a resposta terminar" in refused.text
    assert ">Já respondeu?</textarea>" in refused.text
    ana.post(f"{path}/parar", page=path)
    assert simulator.counters.requests == 1


def test_a_form_that_is_sent_twice_asks_once(ana, simulator):
    key = str(uuid4())
    first, second = begin(ana, form_key=key), begin(ana, form_key=key)
    assert first == second
    answered(ana, first)
    key = str(uuid4())
    for _ in range(2):
        assert ana.post(first, {"question": "E agora?", "form_key": key}, page=first).status_code == 303
    answered(ana, first)
    assert simulator.counters.requests == 2


def test_older_messages_that_do_not_fit_are_left_out_and_the_page_says_so(
    make_settings, running, a_visitor, simulator
):
    simulator.reset()
    app = running(make_settings(chat_context_tokens=2000)).start()
    try:
        with a_visitor(app.url) as ana:
            path = begin(ana, "Primeira pergunta: " + "contexto " * 300)
            answered(ana, path)
            ana.post(path, {"question": "Segunda pergunta: " + "contexto " * 300}, page=path)
            page = answered(ana, path)
            assert "não couberam na memória do modelo" in page
            sent = simulator.requests[-1].body["messages"]
            assert len(sent) == 1
            assert sent[0]["content"].startswith("Segunda")
    finally:
        app.stop()


def test_the_fallback_model_is_shown(ana, simulator):
    simulator.always("overloaded", model="claude-sonnet-5-5")
    path = begin(ana)
    steps = ana.events(stream_of(ana, path))
    waits = [step["message"] for step in steps if step["kind"] == "turn.retry"]
    assert re.fullmatch(r"O modelo está sobrecarregado: nova tentativa 2 de 3 às \d\d:\d\d:\d\d\.", waits[0])
    page = ana.get(path).text
    assert "Escrita pelo modelo alternativo claude-haiku-5-5, porque claude-sonnet-5-5 não respondeu" in page


def test_a_page_says_that_an_attempt_waits_live_and_after_a_reload(ana, simulator):
    simulator.script("ra-3", "slow-1")
    path = begin(ana)
    answer = stream_of(ana, path)
    waits = ana.events(answer, until=lambda step: step["kind"] == "turn.retry")[-1]
    shown = r"[^<]*: nova tentativa 2 de 3 às \d\d:\d\d:\d\d\."
    assert re.fullmatch(shown, waits["wait"])
    assert waits["message"] == waits["wait"]
    card = re.compile(rf'<p class="reason waiting" id="espera">{shown}</p>')
    assert card.search(ana.get(path).text)
    rest = ana.events(answer, after=waits["seq"])
    assert next(step for step in rest if step["kind"] == "turn.text")["wait"] == ""
    assert "nova tentativa" not in ana.get(path).text


def test_a_question_that_an_outage_took_gives_its_use_back_once(
    make_settings, running, a_visitor, simulator, monkeypatch
):
    from advisory.routes import chat as routes
    from prodkit import ratelimit

    monkeypatch.setattr(routes, "CHAT", ratelimit.Limit("1/hour", name="chat-outage"))
    app = running(make_settings(models=["claude-sonnet-5-5"])).start()
    try:
        with a_visitor(app.url) as eva:
            simulator.reset()
            simulator.storm("overloaded", 60.0)
            path = begin(eva)
            page = answered(eva, path)
            assert "Sem resposta: o modelo está sobrecarregado." in page
            simulator.reset()
            app.services.claude.breakers["claude-sonnet-5-5"].reset()
            again = eva.post(f"{path}/repetir", {"form_key": str(uuid4())}, page=path)
            assert again.status_code == 303  # within the limit of one
            assert "volte a esta conversa" in answered(eva, path)
            assert eva.post(path, {"question": "Mais uma?"}, page=path).status_code == 429
    finally:
        app.stop()
        simulator.reset()


def test_a_finished_council_is_talked_about_with_its_chairman_and_its_experts(ana, bruno, simulator):
    council = ana.ask(experts=2)
    page = ana.finished(council).text
    link = re.search(r'href="(/conversas/nova\?conselho=[^"]+)"', page)[1]
    choices = ana.get(link).text
    assert 'value="presidente" checked' in choices
    assert choices.count('name="speaker"') == 3
    path = begin(ana, "Por onde começo?", page=link)
    page = answered(ana, path)
    assert "Conversa com Presidência do conselho" in page
    assert f'href="{council}"' in page
    sent = simulator.requests[-1].body
    assert [each["role"] for each in sent["messages"]] == ["user", "assistant", "user"]
    assert "<pareceres>" in sent["messages"][0]["content"]
    assert "Onde concordam" in sent["messages"][1]["content"]
    expert = begin(ana, "O que você faria primeiro?", page=link, speaker="cadeira-2")
    answered(ana, expert)
    sent = simulator.requests[-1].body["messages"]
    heard = json.loads(sent[0]["content"].splitlines()[-1])
    assert len(heard["pareceres"]) == 1
    assert heard["sintese"].startswith("## Síntese")
    assert bruno.get(link).status_code == 404


def test_somebody_elses_conversation_does_not_exist(ana, bruno, simulator):
    simulator.script("slow-1")
    path = begin(ana)
    answer = stream_of(ana, path)
    answered(ana, path)
    assert bruno.get(path).status_code == 404
    assert bruno.get(f"{answer}/eventos").status_code == bruno.get(f"{answer}/passos").status_code == 404
    assert bruno.get(f"{path}/exportar").status_code == 404
    for action in ("", "/editar", "/repetir", "/continuar", "/parar", "/apagar", "/restaurar"):
        refused = bruno.post(f"{path}{action}", {"question": "Oi?", "position": "1"})
        assert refused.status_code == 404, action
    assert ana.http.post(f"{path}/parar").status_code == 403  # without a token


def test_wrong_forms_say_what_is_wrong_and_keep_the_text(ana, simulator):
    empty = ana.post("/conversas", {"question": "", "speaker": "1"}, page="/conversas/nova")
    assert empty.status_code == 422
    assert "Preencha o campo “Sua pergunta”." in empty.text
    nobody = ana.post("/conversas", {"question": "Oi, tudo bem?", "speaker": "99999"}, page="/conversas/nova")
    assert nobody.status_code == 422
    assert "Escolha com quem conversar." in nobody.text
    assert ">Oi, tudo bem?</textarea>" in nobody.text
    long = ana.post("/conversas", {"question": "a" * 4001, "speaker": "1"}, page="/conversas/nova")
    assert "no máximo 4000 caracteres; tem 4001" in long.text
    assert ana.get("/conversas/nova?conselho=x").status_code == 404
    assert simulator.counters.requests == 0


def test_hostile_text_is_inert(ana, simulator):
    hostile = "<img src=x onerror=alert(1)> [aqui](javascript:alert(1))\n\nevent: fim\u2028fim \x00"
    simulator.always({"kind": "ok", "seconds": 1, "text": hostile + "\n\nfim"})
    path = begin(ana, "<script>alert(1)</script> " + QUESTION)
    answer = stream_of(ana, path)
    steps: list[dict[str, str]] = []
    for _ in range(200):
        steps = ana.get(f"{answer}/passos?depois=0").json()
        if "final" in steps[-1]:
            break
        time.sleep(0.05)
    assert "<img" not in str([step.get("done", "") for step in steps])
    assert "<img" not in steps[-1]["html"]
    page = ana.get(path).text
    for bad in ("<img src=x", "<script>alert", 'href="javascript'):
        assert bad not in page
    assert "&lt;script&gt;" in page


def test_a_deleted_conversation_waits_in_the_bin_and_comes_back(ana, simulator):
    path = begin(ana)
    answered(ana, path)
    assert ana.post(f"{path}/apagar", page=path).status_code == 303
    listed = ana.get("/conversas").text
    assert "Apagadas (1)" in listed
    assert f'action="{path}/restaurar"' in listed.partition('class="notice')[2].partition("</div>")[0]
    page = ana.get(path).text
    assert "Esta conversa está na lixeira." in page
    assert 'id="compor"' not in page
    assert ana.post(f"{path}/restaurar", page=path).status_code == 303
    assert 'id="compor"' in ana.get(path).text
    assert "conversas" in ana.get("/conta/dados").json()
    assert ana.get("/conta/dados").json()["conversas"][0]["perguntas"][0]["pergunta"] == QUESTION


def test_an_export_holds_every_question_and_answer(ana, simulator):
    path = begin(ana)
    answered(ana, path)
    answer = ana.get(f"{path}/exportar")
    assert answer.headers["content-disposition"].startswith('attachment; filename="conversa-')
    assert answer.text.startswith("# Conversa com Helena Prado")
    assert f"> {QUESTION}" in answer.text
    assert "volte a esta conversa" in answer.text


def test_a_question_sent_after_the_session_ended_is_in_the_composer_after_signing_in(ana, simulator):
    path = begin(ana)
    answered(ana, path)
    data = {"csrf_token": ana.token(path), "question": "E se a sessão acabar agora?"}
    ana.http.cookies.clear()
    sent = ana.http.post(
        path, data=data, headers={"origin": str(ana.http.base_url)[:-1], "sec-fetch-site": "same-origin"}
    )
    assert (sent.status_code, sent.headers["location"]) == (303, "/entrar")
    assert "a sua pergunta está guardada" in ana.get("/entrar").text
    ana.sign_in(ana.email, "uma frase bem comprida")
    back = ana.get("/")
    assert (back.status_code, back.headers["location"]) == (303, path)
    assert ">E se a sessão acabar agora?</textarea>" in ana.get(path).text
    assert ">E se a sessão" not in ana.get(path).text  # once


def test_the_limit_is_said_with_the_time_of_the_next_try(ana, app, simulator, monkeypatch):
    from advisory.routes import chat as routes
    from prodkit import ratelimit

    monkeypatch.setattr(routes, "CHAT", ratelimit.Limit("1/hour", name="chat-test"))
    path = begin(ana)
    answered(ana, path)
    refused = ana.post(path, {"question": "Mais uma?"}, page=path)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert simulator.counters.requests == 1


def test_the_first_words_come_at_once(ana, simulator):
    """Generous here; the figure of an idle machine stands in the notes."""
    page = answered(ana, begin(ana))  # everything is imported
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)[1]
    times = []
    simulator.always({"kind": "ok", "delay": 0.03})
    for _ in range(5):
        began = time.monotonic()
        sent = {"csrf_token": token, "question": QUESTION, "speaker": "1"}
        path = ana.http.post("/conversas", data=sent).headers["location"]
        ana.events(stream_of(ana, path), until=lambda step: step["kind"] == "turn.text")
        times.append(time.monotonic() - began)
        ana.post(f"{path}/parar", page=path)
    print("first text after", [f"{each:.3f} s" for each in sorted(times)])
    assert min(times) < 2
