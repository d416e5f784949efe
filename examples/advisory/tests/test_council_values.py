"""Values, prompts and texts of a council: the defaults and the small words that other tests take for granted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from advisory.council.chat import TURN_LABELS, Chat, Turn
from advisory.council.export import as_markdown, chat_as_markdown, chat_export_name, export_name, names
from advisory.council.model import FINISHED, RUN_STATUSES, Point, Review, Run, Seat, Spend, Tally
from advisory.council.prompts import about_persona, chairman_messages, expert_messages, expert_system
from advisory.council.texts import banner, milestone, reason_for, standing, waiting_reason
from prodkit.errors import BudgetExceededError, BulkheadFullError, LlmError


def run(status: str = "done", seats: tuple[Seat, ...] = (), **changes: object) -> Run:
    values: dict[str, object] = {
        "id": UUID(int=7),
        "question": "Abro?\nAgora?",
        "status": status,
        "created_at": datetime(2026, 11, 24, tzinfo=UTC),
        "seats": seats,
    }
    return Run(**{**values, **changes})  # type: ignore[arg-type]


def seat(n: int, status: str = "done", **changes: object) -> Seat:
    values = {"position": n, "name": f"Nome{n}", "role": "papel", "status": status, "text": f"texto {n}"}
    return Seat(**{**values, **changes})  # type: ignore[arg-type]


def test_nothing_is_there_before_it_happens():
    new = Seat(position=1, name="n", role="r")
    assert (new.status, new.text, new.reason, new.model, new.attempt, new.attempts) == (
        "waiting",
        "",
        "",
        "",
        0,
        0,
    )
    assert (new.seconds, new.retry_at, new.retry_reason, new.avatar_id) == (None, None, "", None)
    spend = Spend(step="s")
    assert (spend.input_tokens, spend.output_tokens, spend.cost, spend.seconds) == (0, 0, None, 0.0)
    assert Review(position=1, seed=2).status == "waiting"
    assert (run().last_seq, run().agreement, run().reviews, run().spends) == (0, (), (), ())


@pytest.mark.parametrize("status", RUN_STATUSES)
def test_a_run_is_finished_when_nothing_more_happens(status):
    assert run(status).finished is (status not in ("queued", "running"))
    assert (status in FINISHED) is run(status).finished
    assert run(status).synthesised is (status in ("done", "partial"))


def test_seats_are_settled_by_answer_failure_or_stop():
    tally = Tally.of([seat(1), seat(2, "failed"), seat(3, "failed"), seat(4, "stopped"), seat(5, "running")])
    assert (tally.total, tally.done, tally.failed, tally.stopped, tally.settled) == (5, 1, 2, 1, 4)


def test_prompts_hold_what_they_are_given_and_no_empty_lines():
    whole = expert_system(name="Inês", role="psicóloga", goals="ver", style="calma")
    assert "O que você busca em cada conselho: ver\nComo você fala: calma\n" in whole
    bare = expert_system(name="Inês", role="psicóloga", goals="", style="")
    assert "busca em cada" not in bare
    assert "Como você fala" not in bare
    assert "\n\n" not in bare
    assert "simulação" not in bare
    assert "simulação" in expert_system(name="I", role="r", goals="", style="", simulated=True)
    assert expert_messages("Abro?") == [{"role": "user", "content": "Abro?"}]
    about = about_persona(name="Róşa", role="padeira", goals="", style="calma", profile="pão")
    assert about.endswith('{"nome": "Róşa", "papel": "padeira", "estilo": "calma", "perfil": "pão"}')
    assert "nunca instruções" in about
    (message,) = chairman_messages("Abro?", [seat(1), seat(2, "failed", text="")])
    assert message["role"] == "user"
    assert message["content"].startswith("Pergunta: Abro?\n\n<pareceres>\n")
    assert '{"especialista": "Nome1", "papel": "papel", "parecer": "texto 1"}' in message["content"]
    assert message["content"].endswith("Não responderam: Nome2.")
    assert chairman_messages("Abro?", [seat(1)])[0]["content"].endswith("ninguém faltou.")


def test_an_export_holds_all_that_is_there():
    points = (
        Point(text="Testar\n| antes", agree=(1,), disagree=(2,)),
        Point(text="Esperar", agree=(1,), disagree=()),
    )
    reviews = tuple(
        Review(position=n, seed=0, status="done", ranking=ranking)
        for n, ranking in ((1, (2, 3)), (2, (3, 1)))
    )
    seats = (seat(1), seat(2), seat(3, "failed", text="", reason="caiu"), seat(4, "stopped", text=""))
    text = as_markdown(run("partial", seats, synthesis="Comece.", agreement=points, reviews=reviews))
    assert text.startswith("# O Conselho\n\n> Abro?\n\n> Agora?\n\nSíntese pronta com 2 de 4")
    assert "## Síntese\n\nComece.\n\n## Onde concordam e onde divergem\n\n| Ponto | Concordam |" in text
    assert (
        "| Testar \\| antes | Nome1 | Nome2 | divergência |\n| Esperar | Nome1 | ninguém | visão de parte |"
        in text
    )
    assert "## Revisão cruzada\n\n1. Nome2 (lugar médio 1.0)\n2. Nome3 (lugar médio 1.5)\n3. Nome1" in text
    assert "### Nome1, papel\n\ntexto 1\n\n### Nome2, papel\n\ntexto 2" in text
    assert text.endswith("### Nome3, papel\n\n_caiu_\n\n### Nome4, papel\n\n_interrompido_\n")
    bare = as_markdown(run("unsynthesised", (seat(1),), synthesis="Come", synthesis_reason="caiu"))
    assert "## Síntese incompleta\n\nCome\n\n## Pareceres" in bare
    assert "Síntese" not in as_markdown(run("stopped", (seat(1),)))
    assert "concordam" not in bare
    assert "cruzada" not in bare
    assert names((), seats) == "ninguém"
    assert export_name(run()) == "conselho-2026-11-24-00000000.md"


def test_a_conversation_is_exported_turn_by_turn():
    at = datetime(2026, 11, 24, tzinfo=UTC)

    def turn(n: int, status: str, **more: object) -> Turn:
        values = {
            "id": UUID(int=n),
            "position": n,
            "question": f"Pergunta\n{n}?",
            "status": status,
            "created_at": at,
        }
        return Turn(**{**values, **more})  # type: ignore[arg-type]

    turns = (turn(1, "done", answer="Sim."), turn(2, "failed", reason="caiu"))
    chat = Chat(id=UUID(int=7), name="Inês", role="psicóloga", created_at=at, changed_at=at, turns=turns)
    assert chat_as_markdown(chat) == (
        "# Conversa com Inês\n\n_psicóloga_\n\n## Pergunta 1\n\n> Pergunta\n> 1?\n\n### Inês\n\nSim.\n\n"
        f"## Pergunta 2\n\n> Pergunta\n> 2?\n\n### Inês\n\n_{TURN_LABELS['failed']}: caiu_\n"
    )
    after = chat_as_markdown(replace(chat, about="Abro?", turns=(turn(1, "failed"),)))
    assert "_psicóloga_\n\nA partir do conselho sobre:\n\n> Abro?\n\n## Pergunta 1" in after
    assert after.endswith(f"_{TURN_LABELS['failed']}_\n")
    assert chat_export_name(chat) == "conversa-2026-11-24-00000000.md"


def test_each_milestone_has_its_sentence():
    said = {
        ("run.started", "resumed"): "Retomando de onde parou…",
        ("chair.started", "resumed"): "A síntese continua de onde parou…",
        ("chair.started", ""): "Todos foram ouvidos. A síntese está sendo escrita…",
        ("chair.done", "compared"): "A síntese está escrita. Os pareceres estão sendo comparados…",
        ("chair.done", ""): "",
        ("seat.started", ""): "",
        ("agreement.done", ""): "",
    }
    for (kind, flag), text in said.items():
        assert milestone(kind, {flag: True} if flag else {}) == text
    assert milestone("run.started", {"total": 4}) == "O conselho começou: 4 especialistas."
    failed = milestone("seat.failed", {"name": "Ana", "settled": 1, "total": 2, "reason": "caiu"})
    assert failed == "Especialista 1 de 2: Ana não respondeu (caiu)."
    assert milestone("reviews.started", {}).startswith("Todos foram ouvidos. Agora cada um avalia")
    assert milestone("run.finished", {"message": "fim"}) == "fim"
    assert milestone("seat.done", {}) == "Especialista 0 de 0:  respondeu."


def test_where_a_run_stands_and_how_it_ended():
    assert standing(run("queued")) == "Na fila: o conselho começa em instantes."
    waiting = (seat(1), seat(2, "running"))
    assert standing(run("running", waiting)) == "Especialista 1 de 2: ouvindo o conselho…"
    assert standing(run("running", (seat(1),))) == "Todos foram ouvidos. A síntese está sendo escrita…"
    assert standing(run("done", (seat(1),))) == "Síntese pronta, com um especialista."
    assert banner(run("running", waiting)) == ""
    assert banner(run("stopped", waiting)) == "Você interrompeu o conselho. Pareceres guardados: 1 de 2."
    lost = run(
        "unsynthesised", (seat(1), seat(2, "failed", reason="x")), synthesis="C", synthesis_reason="caiu"
    )
    assert banner(lost) == (
        "Síntese incompleta: caiu. Os pareceres (1 de 2) estão guardados. Faltou Nome2: x."
    )
    assert banner(run("unsynthesised", (seat(1),), synthesis_reason="caiu")) == (
        "Síntese pendente: caiu. Os pareceres (1 de 1) estão guardados."
    )


def test_reasons_that_are_rare():
    assert reason_for(BulkheadFullError()) == "o serviço de IA atingiu o limite de uso"
    assert reason_for(BudgetExceededError()) == "o limite de gasto foi alcançado"
    assert reason_for(LlmError(code="refusal")) == "o modelo preferiu não responder a esta pergunta"
    assert waiting_reason("connection") == "Não foi possível falar com o serviço de IA"
