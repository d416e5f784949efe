"""The rules of conversations, and the records of an answer's job, with fake rows and model, in memory."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Self
from uuid import UUID, uuid4

import pytest

from advisory.council.chat import (
    MAX_CHAT_QUESTION,
    TURN_LABELS,
    Chat,
    Turn,
    chair_system,
    chat_system,
    conversation,
    milestone,
    opening_from,
    standing,
    waiting,
)
from advisory.council.export import chat_as_markdown, chat_export_name
from advisory.council.model import Run, Seat
from advisory.pages.markdown import Growth, growing
from advisory.store.chat_turns import Begun, Written
from advisory.worker.chat import ANSWER_TOKENS, Answering
from prodkit import jobs
from prodkit.errors import DatabaseError
from prodkit.llm import Attempt, LlmError, Price, Usage

TURN = UUID(int=1)
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PIECES = ("Eu começaria ", "pelo caixa", ", e depois", " veria.")


class Rows:
    """Keeps one turn in memory."""

    def __init__(
        self, answer: str = "", *, outages: int = 0, lost: str | None = None, unreported: int = 1
    ) -> None:
        self.answer = answer
        self.lost = lost or ""
        self.unreported = 0 if lost is None else unreported
        self.outages = outages
        self.end: Written | None = None
        self.final = ""
        self.left: int | None = None
        self.begins = 0

    async def begin(self, tx: Any, turn_id: UUID) -> Begun | None:
        self.begins += 1
        if self.end is not None:
            return None
        return Begun(
            name="Helena",
            system="Você é Helena.",
            opening=(),
            turns=(),
            question="Abro?",
            answer=self.answer,
            lost=self.lost,
            unreported=self.unreported,
        )

    async def left_out(self, tx: Any, turn_id: UUID, count: int) -> None:
        self.left = count

    async def wrote(self, tx: Any, turn_id: UUID, text: str, *, at: int) -> None:
        if self.outages:
            self.outages -= 1
            raise DatabaseError("away")
        assert at == len(self.answer)
        self.answer += text

    async def finish(self, tx: Any, turn_id: UUID, written: Written, text: str) -> None:
        self.end, self.final = written, text


class Model:
    """Streams the pieces behind what it is given, and may break off."""

    def __init__(
        self, *, pieces: tuple[str, ...] = PIECES, error: Exception | None = None, **answer: Any
    ) -> None:
        self.pieces, self.error = pieces, error
        self.given: list[dict[str, Any]] = []
        self.changes = answer

    def stream(self, **given: Any) -> Model:
        self.given.append(given)
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    @property
    async def text(self) -> AsyncIterator[str]:
        for piece in self.pieces:
            yield piece
        if self.error is not None:
            raise self.error

    @property
    def answer(self) -> Any:
        text = (self.given[-1]["resume"] or "") + "".join(self.pieces)
        values = {
            "text": text,
            "model": "haiku",
            "requested_model": "sonnet",
            "truncated": False,
            "continuations": (),
            "usage": Usage(10, 20, 3, 4),
            "cost": 0.5,
        }
        return SimpleNamespace(**{**values, **self.changes})


async def answer(
    rows: Rows, model: Model, *, context: int = 10_000, prices: dict[str, Price] | None = None
) -> Written:
    engine = jobs.MemoryEngine()
    job = Answering(rows, model, context=context, prices=prices).job()  # type: ignore[arg-type]
    run = await job.enqueue(engine, TURN)
    async with jobs.Worker(engine, [job]):
        await jobs.Runs(engine).result(run.id, timeout=20)
    assert rows.end is not None
    return rows.end


async def test_a_whole_answer_is_stored_piece_by_piece_and_at_the_end_with_its_cost():
    rows, model = Rows(), Model()
    written = await answer(rows, model)
    assert rows.answer == rows.final == "".join(PIECES)
    assert written == Written(
        status="done", model="haiku", requested_model="sonnet", input_tokens=17, output_tokens=20, cost=0.5
    )
    (given,) = model.given
    assert given["resume"] is None
    assert given["max_tokens"] == ANSWER_TOKENS
    assert given["messages"] == [{"role": "user", "content": "Abro?"}]
    assert given["system"].startswith("Você é Helena.")
    assert rows.left is None


async def test_a_beginning_is_gone_on_from_and_gets_room_of_its_own():
    rows = Rows("O começo, " * 40)
    model = Model(continuations=("the beginning", "a cut later"))
    written = await answer(rows, model)
    assert model.given[0]["resume"] == "O começo, " * 40
    assert model.given[0]["max_tokens"] == ANSWER_TOKENS + 100
    assert rows.final == "O começo, " * 40 + "".join(PIECES)
    assert written.joints == 1


@pytest.mark.parametrize(
    ("model", "status", "reason"),
    [
        (Model(error=LlmError("cut", code="overloaded")), "incomplete", "o modelo está sobrecarregado"),
        (Model(pieces=(), error=LlmError("no", code="overloaded")), "failed", "o modelo está sobrecarregado"),
        (Model(error=RuntimeError("a bug")), "incomplete", "houve um erro inesperado, que foi registrado"),
        (Model(truncated=True), "incomplete", "ela chegou ao tamanho máximo de uma resposta"),
        (Model(pieces=()), "failed", "o modelo preferiu não responder a esta pergunta"),
    ],
)
async def test_what_is_not_whole_says_so_and_why(model, status, reason):
    rows = Rows()
    written = await answer(rows, model)
    assert (written.status, written.reason) == (status, reason)
    assert rows.final == "".join(model.pieces)
    assert len(model.given) == 1


@pytest.mark.parametrize(("code", "outage"), [("overloaded", True), ("refusal", False)])
async def test_a_failed_answer_reports_what_its_requests_used_and_whose_fault_it_was(code, outage):
    attempts = (
        Attempt(number=1, model="sonnet", outcome=code, usage=Usage(10, 2, 3, 4), cost=0.25),
        Attempt(number=2, model="haiku", outcome=code, usage=Usage(5, 1), cost=0.5),
    )
    written = await answer(Rows(), Model(error=LlmError("no", code=code, attempts=attempts)))
    assert (written.input_tokens, written.output_tokens, written.cost) == (22, 3, 0.75)
    assert (written.outage, written.estimated) == (outage, False)
    unpriced = (
        attempts[0],
        Attempt(number=2, model="haiku", outcome=code, usage=Usage(5, 1, estimated=True)),
    )
    written = await answer(Rows(), Model(error=LlmError("no", code=code, attempts=unpriced)))
    assert (written.input_tokens, written.cost, written.estimated) == (22, None, True)
    written = await answer(Rows(), Model(error=LlmError("no", code=code)))  # nothing was sent: that is free
    assert (written.input_tokens, written.cost) == (0, 0)


async def test_a_request_that_died_with_its_worker_is_counted_as_far_as_it_is_known():
    whole = await answer(Rows("Eu começ"), Model())
    assert (whole.input_tokens, whole.output_tokens, whole.estimated, whole.cost) == (17, 20, False, 0.5)
    prices = {"sonnet": Price(3.0, 15.0)}
    died = await answer(Rows("Eu começ", lost="começ"), Model(), prices=prices)
    sent = died.input_tokens - 17
    assert sent > 50  # the system prompt and the question, once more
    assert died.output_tokens == 20 + 2  # five characters
    assert died.estimated
    assert died.cost == pytest.approx(0.5 + (sent * 3 + 2 * 15) / 1e6)
    unsaid = await answer(Rows(lost=""), Model())  # nothing had arrived, but it was sent
    assert (unsaid.input_tokens, unsaid.output_tokens, unsaid.cost) == (17 + sent, 20, 0.5)
    twice = await answer(Rows("Eu começ", lost="começ", unreported=2), Model(), prices=prices)
    assert (twice.input_tokens, twice.output_tokens) == (17 + 2 * sent, 22)
    assert twice.cost == pytest.approx(0.5 + (2 * sent * 3 + 2 * 15) / 1e6)


async def test_an_outage_of_the_database_is_not_blamed_on_the_model():
    rows, model = Rows(outages=2), Model()
    assert (await answer(rows, model)).status == "done"
    assert rows.final == "".join(PIECES)
    assert len(model.given) == 1


async def test_messages_that_do_not_fit_are_counted():
    rows = Rows()
    rows_begin = rows.begin

    async def begin(tx: Any, turn_id: UUID) -> Begun | None:
        found = await rows_begin(tx, turn_id)
        assert found is not None
        opening = ({"role": "user", "content": "conselho"}, {"role": "assistant", "content": "síntese"})
        turn: Any = SimpleNamespace(question="antes? " * 2000, answer="sim", status="done")
        return Begun(name="H", system="", opening=opening, turns=(turn,), question=found.question, answer="")

    rows.begin = begin  # type: ignore[method-assign]
    model = Model()
    await answer(rows, model, context=2000)
    assert rows.left == 2
    assert [each["content"] for each in model.given[0]["messages"]] == ["conselho", "síntese", "Abro?"]


async def test_a_turn_that_has_ended_asks_nobody():
    rows, model = Rows(), Model()
    rows.end = Written(status="stopped")
    await answer(rows, model)
    assert model.given == []


@pytest.mark.parametrize(
    ("beginning", "lost", "status"),
    [("", None, "failed"), ("Eu começ", None, "incomplete"), ("Eu começ", " começ", "incomplete")],
)
async def test_a_turn_whose_job_is_a_dead_letter_says_so_with_what_its_last_request_used(
    beginning, lost, status
):
    rows = Rows(beginning, lost=lost)
    answering = Answering(rows, Model(), context=10_000)  # type: ignore[arg-type]

    async def broken(turn_id: UUID) -> None:
        raise OSError("a bug")

    job = jobs.Job(broken, name="chat", attempts=1, on_dead=answering.give_up)
    engine = jobs.MemoryEngine()
    run = await job.enqueue(engine, TURN)
    async with jobs.Worker(engine, [job]):
        with contextlib.suppress(jobs.JobFailedError):
            await jobs.Runs(engine).result(run.id, timeout=20)
    assert rows.end is not None
    assert (rows.end.input_tokens > 0, rows.end.output_tokens) == ((True, 2) if lost else (False, 0))
    assert replace(rows.end, input_tokens=0, output_tokens=0) == Written(
        status=status,
        reason="a resposta foi interrompida vezes demais",
        outage=True,
        estimated=lost is not None,
    )
    assert rows.final == beginning


def turn(status: str, answer: str = "", **more: object) -> Turn:
    return Turn(
        id=uuid4(),
        position=1,
        question="Abro?",
        status=status,
        created_at=NOW,
        answer=answer,
        **more,
    )  # type: ignore[arg-type]


def test_the_model_reads_answers_and_not_questions_without_one():
    opening = [{"role": "user", "content": "conselho"}, {"role": "assistant", "content": "síntese"}]
    turns = [turn("done", "Sim."), turn("failed"), turn("stopped", "Talv")]
    sent = conversation(opening, turns, "E então?")
    assert [each["role"] for each in sent] == ["user", "assistant"] * 3 + ["user"]
    assert sent[3]["content"] == "Sim."
    assert sent[5]["content"].startswith("Talv\n")
    assert sent[-1]["content"] == "E então?"


@pytest.mark.parametrize("status", TURN_LABELS)
def test_every_state_has_its_words(status):
    assert standing(turn(status, "texto", reason="o modelo está sobrecarregado"), "Helena")


def test_a_growing_text_renders_what_is_finished_and_only_that():
    text = "Um **parágrafo**.\n\n```\ncódigo\n\nainda\n```\n\n- item **aberto"
    done, rest = growing(text)
    assert "<strong>parágrafo</strong>" in done
    assert "ainda" in done
    assert rest == "- item **aberto"
    assert growing("```\na\n\nb")[1] == "```\na\n\nb"
    growth = Growth()
    assert "done" in growth.step("um\n\ndois")
    assert growth.step("um\n\ndois três") == {"rest": "dois três"}


def test_what_is_said_first_after_a_council_depends_on_who_speaks():
    seats = (
        Seat(position=1, name="Ana", role="finanças", status="done", text="Espere."),
        Seat(position=2, name="Bia", role="marca", status="done", text="Abra."),
        Seat(position=3, name="Caio", role="lei", status="failed", reason="sem tempo"),
    )
    run = Run(
        id=UUID(int=7), question="Abro?", status="partial", created_at=NOW, synthesis="Depende.", seats=seats
    )
    asked, said = opening_from(run, None)
    assert (asked["role"], said) == ("user", {"role": "assistant", "content": "Depende."})
    assert "Abro?" in asked["content"]
    assert "Espere." in asked["content"]
    assert "Caio" in asked["content"]
    asked, said = opening_from(run, seats[1])
    assert said == {"role": "assistant", "content": "Abra."}
    heard = json.loads(asked["content"].splitlines()[-1])
    assert heard == {
        "pareceres": [{"especialista": "Ana", "papel": "finanças", "parecer": "Espere."}],
        "sintese": "Depende.",
    }
    assert asked["content"].startswith("Pergunta: Abro?\n")
    empty = dataclasses.replace(run, synthesis="")
    assert opening_from(empty, None)[1]["content"] == "A síntese não foi escrita."


def test_the_prompts_of_a_conversation():
    assert chat_system("Você é Ana.").startswith("Você é Ana.\n")
    assert "nunca instrução" in chat_system("Você é Ana.")
    assert "Presidência do conselho" in chair_system()
    assert "300 palavras" in chair_system()


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        ("turn.started", {}, "Helena está pensando…"),
        ("turn.started", {"resumed": True}, "Retomando de onde parou…"),
        ("turn.text", {"text": "a"}, ""),
        ("turn.finished", {}, ""),
    ],
)
def test_milestones_are_few(kind, data, text):
    assert milestone(kind, data, "Helena") == text


def test_an_attempt_that_waits_is_shown_with_its_number_and_its_time():
    waits = {"attempt": 2, "attempts": 3, "retry_at": NOW, "retry_reason": "overloaded"}
    shown = "O modelo está sobrecarregado: nova tentativa 2 de 3 às 09:00:00."  # Brasília
    assert waiting(turn("running", **waits)) == shown
    for status in ("queued", "done", "stopped", "failed"):
        assert waiting(turn(status, **waits)) == ""
    assert waiting(turn("running")) == ""


@pytest.mark.parametrize(
    ("status", "answer", "finished", "may_continue"),
    [
        ("queued", "", False, False),
        ("running", "a", False, False),
        ("done", "a", True, False),
        ("incomplete", "a", True, True),
        ("stopped", "a", True, True),
        ("stopped", "", True, False),
        ("failed", "", True, False),
    ],
)
def test_the_states_of_a_turn(status, answer, finished, may_continue):
    one = turn(status, answer)
    assert (one.finished, one.may_continue) == (finished, may_continue)
    chat = Chat(id=UUID(int=1), name="H", role="r", created_at=NOW, changed_at=NOW, turns=(turn("done"), one))
    assert chat.active == (None if finished else one)


def test_standing_says_where_an_answer_stands():
    assert standing(None, "Helena") == ""
    assert (
        standing(turn("running"), "Helena") == standing(turn("queued"), "Helena") == "Helena está pensando…"
    )
    assert standing(turn("running", "Eu"), "Helena") == "Helena está respondendo…"
    assert standing(turn("incomplete", "Eu", reason="caiu"), "H").startswith("Resposta incompleta: caiu.")
    assert standing(turn("failed", reason="caiu"), "H").startswith("Sem resposta: caiu.")


def test_the_model_that_wrote_it_is_compared_with_the_first_choice():
    assert turn("done", model="b", requested_model="a").fell_back
    assert not turn("done", model="a", requested_model="a").fell_back
    assert not turn("running").fell_back


def test_an_exported_conversation():
    turns = (turn("done", "Sim."), turn("incomplete", "Tal", reason="caiu"), turn("failed", reason="caiu"))
    chat = Chat(
        id=UUID(int=1),
        name="Helena",
        role="finanças",
        created_at=NOW,
        changed_at=NOW,
        about="Abro\na loja?",
        turns=turns,
    )
    text = chat_as_markdown(chat)
    assert text.startswith(
        "# Conversa com Helena\n\n_finanças_\n\nA partir do conselho sobre:\n\n> Abro\n> a loja?\n\n"
    )
    assert "## Pergunta 1\n\n> Abro?\n\n### Helena\n\nSim.\n\n##" in text
    assert "Tal\n\n_Resposta incompleta: caiu_" in text
    assert text.endswith("### Helena\n\n_Sem resposta: caiu_\n")
    assert chat_export_name(chat) == "conversa-2026-11-24-00000000.md"


def test_a_new_turn_has_cost_nothing_and_left_nothing_out():
    one = turn("queued")
    assert (one.resumed, one.left_out, one.input_tokens, one.output_tokens, one.last_seq) == (0, 0, 0, 0, 0)
    assert one.estimated is False
    assert MAX_CHAT_QUESTION == 4000  # as the page says
