from __future__ import annotations

import re
import time

import pytest

from advisory.council.texts import RUN_LABELS

pytestmark = pytest.mark.integration


def test_a_whole_council_live_then_in_the_history(ana, simulator):
    simulator.script("slow-0.1", "slow-0.3", "slow-0.5", "slow-0.1")
    path = ana.ask("Devo abrir uma segunda loja agora?")
    steps = ana.events(path)
    assert [step["seq"] for step in steps] == list(range(1, len(steps) + 1))
    kinds = [step["kind"] for step in steps]
    assert kinds[:2] == ["run.queued", "run.started"]
    assert kinds.count("seat.started") == kinds.count("seat.done") == 3
    assert [kind for kind in kinds if kind != "chair.text"][-4:] == [
        "chair.started",
        "chair.done",
        "agreement.done",
        "run.finished",
    ]
    spoken = [step["message"] for step in steps if step["kind"] == "seat.done"]
    assert [text.split(":")[0] for text in spoken] == [f"Especialista {n} de 3" for n in (1, 2, 3)]
    assert len([step for step in steps if step["message"]]) <= 10
    assert 'class="synthesis"' in steps[-1]["html"]
    page = ana.get(path).text
    assert "Síntese pronta, com 3 especialistas." in page
    assert page.count("Ler o parecer") == 3
    assert "data-events" not in page  # nothing more will come
    history = ana.get("/historico").text
    assert path in history
    assert RUN_LABELS["done"] in history
    assert simulator.counters.requests == 5  # three experts, the chairman, the table


def test_a_stream_goes_on_where_it_was_cut(ana, simulator):
    simulator.script("slow-0.1", "slow-0.4", "slow-0.7", "slow-0.1")
    path = ana.ask()
    first = ana.events(path, until=lambda step: step["kind"] == "seat.done")
    rest = ana.events(path, after=first[-1]["seq"])
    everything = [step["seq"] for step in first + rest]
    assert everything == list(range(1, len(everything) + 1))
    assert rest[-1]["final"]
    # Replay from anywhere, as often as one likes, also after the end.
    assert [step["seq"] for step in ana.events(path, after=3)] == everything[3:]
    assert ana.get(f"{path}/eventos", headers={"last-event-id": str(everything[-1])}).status_code == 204


def test_the_synthesis_arrives_while_it_is_written(ana, simulator):
    simulator.script("ok", "ok", "ok", {"kind": "ok", "delay": 0.05})
    path = ana.ask()
    seen = ana.events(
        path, until=lambda step: step["kind"] == "chair.text" and "Onde divergem" in step.get("done", "")
    )
    page = ana.get(path).text  # another device, in mid-sentence
    assert "Onde concordam" in page.partition('id="sintese-viva"')[2]
    assert page.count("Ler o parecer") == 3
    growing = [step["rest"] for step in seen if step["kind"] == "chair.text"]
    assert len(growing) > 3
    rest = ana.events(path, after=seen[-1]["seq"])
    assert [step["seq"] for step in seen + rest] == list(range(1, rest[-1]["seq"] + 1))
    assert "Onde concordam" in rest[-1]["html"]
    assert simulator.counters.requests == 5


def test_a_synthesis_that_breaks_off_is_called_incomplete_and_can_be_continued(ana, simulator):
    simulator.script("ok", {"kind": "mid_reset", "after": 30}, *["400"] * 6)
    path = ana.ask(experts=1)
    page = ana.finished(path).text
    assert "Síntese incompleta: " in page
    assert "partiram de lugares diferentes" in page
    assert "Continuar a síntese" in page
    simulator.reset()
    assert ana.post(f"{path}/retomar", {"continuar": "1"}, page=path).status_code == 303
    page = ana.finished(path).text
    assert "Síntese pronta, com um especialista." in page
    assert "Síntese incompleta" not in page
    assert page.count("partiram de lugares diferentes") == page.count("reveja em trinta dias") == 1
    assert simulator.counters.requests == 1


def test_a_page_opened_in_between_has_what_was_and_its_stream_what_comes(ana, simulator):
    simulator.script("slow-0.1", "slow-0.6", "slow-0.8", "slow-0.1")
    path = ana.ask()
    ana.events(path, until=lambda step: step["kind"] == "seat.done")
    page = ana.get(path).text
    assert 'max="3" value="1"' in page
    assert page.count("Ler o parecer") == 1
    assert '<meta http-equiv="refresh" content="3">' in page  # without scripts
    last = int(re.search(r"eventos\?depois=(\d+)", page)[1])
    with ana.http.stream("GET", f"{path}/eventos?depois={last}") as stream:
        ids = [int(line[4:]) for line in stream.iter_lines() if line.startswith("id: ")]
    assert ids == list(range(last + 1, ids[-1] + 1))


def test_one_expert_without_an_answer_gives_a_partial_result_with_the_reason(ana, simulator):
    simulator.script("status-400", "ok", "ok", "ok")
    page = ana.finished(ana.ask()).text
    assert "Síntese pronta com 2 de 3 especialistas. Faltou " in page
    assert "o serviço de IA não aceitou o pedido" in page
    assert "Síntese do conselho" in page
    assert page.count("Ler o parecer") == 2
    assert "Perguntar a quem faltou" in page


def test_who_was_missing_can_be_asked_again_and_nobody_else_is(ana, simulator):
    simulator.script("status-400", "ok", "ok", "ok")
    path = ana.ask()
    ana.finished(path)
    before = simulator.counters.requests
    assert ana.post(f"{path}/retomar", page=path).status_code == 303
    page = ana.finished(path).text
    assert "Síntese pronta, com 3 especialistas." in page
    assert simulator.counters.requests - before == 3  # the one who was missing, chairman, table


def test_without_a_quorum_there_is_no_synthesis_and_the_opinion_is_kept(ana, simulator):
    simulator.script("status-400", "status-400", "ok")
    page = ana.finished(ana.ask()).text
    assert "Quórum insuficiente: 1 de 3 especialistas responderam." in page
    assert page.count("Ler o parecer") == 1
    assert "<details open" in page.replace(' id="parecer-1"', "").replace(' id="parecer-2"', "").replace(
        ' id="parecer-3"', ""
    )
    assert simulator.counters.requests == 3


def test_when_the_chairman_fails_the_opinions_stay_and_the_synthesis_can_be_had_later(ana, simulator):
    simulator.script("ok", "ok", "ok", "status-400")
    path = ana.ask()
    page = ana.finished(path).text
    assert (
        "Síntese pendente: o serviço de IA não aceitou o pedido. Os pareceres (3 de 3) estão guardados."
        in page
    )
    assert page.count("Ler o parecer") == 3
    before = simulator.counters.requests
    ana.post(f"{path}/retomar", page=path)
    assert "Síntese pronta, com 3 especialistas." in ana.finished(path).text
    assert simulator.counters.requests - before == 2  # the chairman and the table


def test_stop_takes_effect_at_once_keeps_what_is_finished_and_calls_no_more(ana, simulator):
    simulator.script("ok", "slow-30", "slow-30")
    path = ana.ask()
    ana.events(path, until=lambda step: step["kind"] == "seat.done")
    began = time.monotonic()
    assert ana.post(f"{path}/parar", page=path).status_code == 303
    page = ana.get(path).text
    assert time.monotonic() - began < 1
    assert "Você interrompeu o conselho. Pareceres guardados: 1 de 3." in page
    assert page.count("interrompido") == 2
    counters = simulator.wait_until_idle(3)
    assert counters.requests == 3
    assert counters.aborted == 2
    assert ana.events(path)[-1]["state"] == "stopped"
    assert ana.post(f"{path}/parar", page=path).status_code == 303  # twice is no error


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"question": "", "experts": ["1"]}, "Preencha o campo “Sua pergunta”."),
        ({"question": "curta", "experts": ["1"]}, "precisa de pelo menos 10 caracteres; tem 5."),
        ({"question": "x" * 2001, "experts": ["1"]}, "pode ter no máximo 2000 caracteres; tem 2001."),
        ({"question": "Uma boa pergunta?"}, "Escolha pelo menos um especialista."),
        (
            {"question": "Uma boa pergunta?", "experts": ["999999", "-1", "x", "9" * 30]},
            "Escolha pelo menos um",
        ),
    ],
)
def test_a_wrong_question_is_told_and_kept(ana, simulator, data, text):
    answer = ana.post("/conselhos", data)
    assert answer.status_code == 422
    assert text in answer.text
    assert data["question"][:50] in answer.text
    assert simulator.counters.requests == 0


def test_the_eleventh_council_in_an_hour_has_to_wait_and_others_need_not(ana, bruno):
    paths = [ana.ask(experts=1) for _ in range(10)]
    answer = ana.post("/conselhos", {"question": "Uma pergunta a mais?", "experts": ["1"]})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    minutes = re.search(r"Tente novamente em (?:(\d+) minutos|1 hora)\.", answer.text)
    assert minutes
    assert abs(int(minutes[1] or 60) * 60 - int(answer.headers["retry-after"])) <= 60
    bruno.ask(experts=1)
    for path in paths:
        ana.finished(path)


def test_a_council_is_its_owners(ana, bruno):
    path = ana.ask(experts=1)
    ana.finished(path)
    for each in ("", "/eventos", "/exportar"):
        assert bruno.get(path + each).status_code == 404
    for each in ("/parar", "/retomar", "/apagar", "/restaurar"):
        assert bruno.post(path + each).status_code == 404
    assert path not in bruno.get("/historico").text
    assert ana.get(path).status_code == 200


def test_a_deleted_council_can_be_restored(ana):
    path = ana.ask("Esta pergunta vai para a lixeira?", experts=1)
    ana.finished(path)
    assert ana.post(f"{path}/apagar", page=path).headers["location"] == "/historico"
    assert f'action="{path}/restaurar"' in (page := ana.get("/historico").text)
    assert "Desfazer" in page
    assert path not in ana.get("/historico").text  # the offer is made once
    assert path in ana.get("/lixeira").text
    assert "Este conselho está na lixeira." in ana.get(path).text
    assert ana.post(f"{path}/restaurar", page=path).status_code == 303
    assert path in ana.get("/historico").text
    assert path not in ana.get("/lixeira").text


def test_deleting_a_council_that_runs_stops_it(ana, simulator):
    simulator.always("slow-30")
    path = ana.ask()
    ana.events(path, until=lambda step: step["kind"] == "seat.started")
    ana.post(f"{path}/apagar", page=path)
    simulator.wait_until_idle(3)
    assert path in ana.get("/lixeira").text


def test_an_export_is_a_file(ana):
    path = ana.ask("Qual é o próximo passo, afinal?", experts=2)
    ana.finished(path)
    answer = ana.get(f"{path}/exportar")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert answer.headers["content-disposition"].startswith('attachment; filename="conselho-')
    assert "> Qual é o próximo passo, afinal?" in answer.text


HOSTILE = (
    "<img src=x onerror=alert(1)> <script>alert(2)</script> [x](javascript:alert(3)) "
    "<iframe src=//mau.exemplo></iframe>"
)


def test_a_hostile_question_and_a_hostile_answer_stay_texts(ana, simulator):
    simulator.always({"kind": "ok", "text": HOSTILE})
    path = ana.ask(f"Isto é inofensivo? {HOSTILE}", experts=2)
    steps = ana.events(path)
    texts = [ana.get(path).text, ana.get("/historico").text, *(step.get("html", "") for step in steps)]
    for text in texts:
        assert "<img src=x" not in text
        assert "<script>" not in text
        assert "<iframe" not in text
        assert 'href="javascript' not in text
    assert any("&lt;img src=x" in text for text in texts)


def test_a_question_in_the_address_is_text_too(ana):
    assert "<script>" not in ana.get("/", params={"pergunta": "</textarea><script>alert(1)</script>"}).text
