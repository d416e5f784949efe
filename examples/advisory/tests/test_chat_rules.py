"""The records of an answer's job, with fake rows and model, in memory."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, Self
from uuid import UUID

import pytest

from advisory.store.chat_turns import Begun, Written
from advisory.worker.chat import ANSWER_TOKENS, Answering
from prodkit import jobs
from prodkit.errors import DatabaseError
from prodkit.llm import LlmError, Usage

TURN = UUID(int=1)
PIECES = ("Eu começaria ", "pelo caixa", ", e depois", " veria.")


class Rows:
    """Keeps one turn in memory."""

    def __init__(self, answer: str = "", *, outages: int = 0) -> None:
        self.answer = answer
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
            name="Helena", system="Você é Helena.", opening=(), turns=(), question="Abro?", answer=self.answer
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


async def answer(rows: Rows, model: Model, *, context: int = 10_000) -> Written:
    engine = jobs.MemoryEngine()
    job = Answering(rows, model, context=context).job()  # type: ignore[arg-type]
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


@pytest.mark.parametrize(("beginning", "status"), [("", "failed"), ("Eu começ", "incomplete")])
async def test_a_turn_whose_job_is_a_dead_letter_says_so(beginning, status):
    rows = Rows(beginning)
    answering = Answering(rows, Model(), context=10_000)  # type: ignore[arg-type]

    async def broken(turn_id: UUID) -> None:
        raise OSError("a bug")

    job = jobs.Job(broken, name="chat", attempts=1, on_dead=answering.give_up)
    engine = jobs.MemoryEngine()
    run = await job.enqueue(engine, TURN)
    async with jobs.Worker(engine, [job]):
        with contextlib.suppress(jobs.JobFailedError):
            await jobs.Runs(engine).result(run.id, timeout=20)
    assert rows.end == Written(status=status, reason="a resposta foi interrompida vezes demais")
    assert rows.final == beginning
