"""Conversations as rows of a real database: begun, asked, written by a worker, stopped, continued, found again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from advisory.store.chat import Chats, StillAnsweringError
from advisory.store.chat_turns import TurnEvents, TurnRows, Written, turn_topic
from advisory.store.refunds import Refunds
from advisory.tests.stored import a_user
from advisory.worker.chat import Answering
from prodkit import jobs, postgres

pytestmark = pytest.mark.integration
ROWS = TurnRows()


class Talk:
    """An account with one conversation."""

    def __init__(self, db: postgres.Pool, owner_id: int) -> None:
        self.db = db
        self.owner_id = owner_id
        self.chats = Chats(db, Answering(ROWS, None, context=9000).job())  # type: ignore[arg-type]
        self.chat_id = uuid4()

    async def begin(self, question: str = "Abro a loja?", **more: Any) -> UUID:
        given = {"name": "Helena", "role": "finanças", "system": "Você é Helena.", **more}
        self.chat_id, made = await self.chats.begin(self.owner_id, question=question, **given)
        assert made
        return (await self.turn()).id

    async def chat(self) -> Any:
        return await self.chats.get(self.owner_id, self.chat_id)

    async def turn(self) -> Any:
        return (await self.chat()).turns[-1]

    async def kinds(self, turn_id: UUID) -> list[str]:
        page = await TurnEvents(self.db).read(turn_topic(turn_id), 0, 1000)
        assert [each.id for each in page.events] == list(range(1, page.newest + 1))
        return [each.name for each in page.events]

    async def write(self, turn_id: UUID, text: str, *, at: int = 0) -> None:
        async with self.db.transaction() as tx:
            await ROWS.begin(tx, turn_id)
            await ROWS.wrote(tx, turn_id, text, at=at)

    async def end(self, turn_id: UUID, text: str = "Sim.", **written: Any) -> None:
        async with self.db.transaction() as tx:
            await ROWS.begin(tx, turn_id)
            await ROWS.finish(tx, turn_id, Written(**{"status": "done", **written}), text)


@pytest.fixture
async def talk(db):
    return Talk(db, (await a_user(db)).id)


async def test_an_answer_from_its_question_to_its_end(db, talk):
    turn_id = await talk.begin(about="Mudo de cidade?", opening=[{"role": "user", "content": "antes"}])
    chat = await talk.chat()
    assert (chat.name, chat.role, chat.system, chat.about) == (
        "Helena",
        "finanças",
        "Você é Helena.",
        "Mudo de cidade?",
    )
    assert chat.title == "Abro a loja?"
    async with db.transaction() as tx:
        begun = await ROWS.begin(tx, turn_id)
        assert (begun.name, begun.system, begun.question) == ("Helena", "Você é Helena.", "Abro a loja?")
        assert begun.opening == ({"role": "user", "content": "antes"},)
        assert (begun.turns, begun.answer, begun.lost, begun.unreported) == ((), "", "", 0)
        await ROWS.left_out(tx, turn_id, 2)
        await ROWS.wrote(tx, turn_id, "Eu ", at=0)
        await ROWS.wrote(tx, turn_id, "Eu ", at=0)  # once more, after an unknown commit
        await ROWS.wrote(tx, turn_id, "abriria.", at=3)
        await ROWS.finish(
            tx,
            turn_id,
            Written(
                status="done",
                model="haiku",
                requested_model="sonnet",
                joints=1,
                input_tokens=10,
                output_tokens=5,
                cost=0.5,
            ),
            "Eu abriria.",
        )
        assert await ROWS.begin(tx, turn_id) is None
    turn = await talk.turn()
    assert (turn.status, turn.answer, turn.model, turn.requested_model) == (
        "done",
        "Eu abriria.",
        "haiku",
        "sonnet",
    )
    assert (turn.resumed, turn.left_out, turn.input_tokens, turn.output_tokens, turn.cost) == (
        1,
        2,
        10,
        5,
        0.5,
    )
    assert not turn.estimated
    assert turn.seconds is not None
    assert await talk.kinds(turn_id) == [
        "turn.queued",
        "turn.started",
        "turn.text",
        "turn.text",
        "turn.finished",
    ]
    assert turn.last_seq == 5
    page = await TurnEvents(db).read(turn_topic(turn_id), 2, 2)
    assert [(each.id, each.data) for each in page.events] == [(3, {"text": "Eu "}), (4, {"text": "abriria."})]
    assert page.newest == 5
    assert (await TurnEvents(db).read(turn_topic(uuid4()), 0, 5)).newest == 0


async def test_a_wait_is_kept_until_words_come(db, talk):
    turn_id = await talk.begin()

    async def waits() -> None:
        async with db.transaction() as tx:
            wait = timedelta(seconds=9)
            await ROWS.waits(tx, turn_id, attempt=2, attempts=3, wait=wait, reason="overloaded")

    await waits()
    assert (await talk.turn()).retry_at is None  # it has not begun
    async with db.transaction() as tx:
        await ROWS.begin(tx, turn_id)
    await waits()
    turn = await talk.turn()
    assert (turn.attempt, turn.attempts, turn.retry_reason) == (2, 3, "overloaded")
    async with db.transaction() as tx:
        assert (
            timedelta(seconds=8) < turn.retry_at - await tx.fetchval("select now()") <= timedelta(seconds=9)
        )
    await talk.write(turn_id, "Eu ")
    assert (await talk.turn()).retry_at is None
    await waits()
    async with db.transaction() as tx:  # another worker
        await ROWS.begin(tx, turn_id)
    assert (await talk.turn()).retry_at is None
    await waits()
    await talk.end(turn_id, "Eu abriria.")
    assert (await talk.turn()).retry_at is None


async def test_what_an_earlier_request_wrote_is_lost_for_the_sums_until_an_end_counts_it(db, talk):
    turn_id = await talk.begin()
    await talk.write(turn_id, "Eu ")
    async with db.transaction() as tx:
        begun = await ROWS.begin(tx, turn_id)  # its worker died
    assert (begun.answer, begun.lost, begun.unreported) == ("Eu ", "Eu ", 1)
    async with db.transaction() as tx:
        assert (await ROWS.begin(tx, turn_id)).unreported == 2  # and so did the next one
    assert (await talk.turn()).resumed == 2
    await talk.end(turn_id, "Eu abriria", status="incomplete", reason="caiu", input_tokens=9, cost=1.0)
    assert await talk.chats.go_on(talk.owner_id, talk.chat_id)
    turn = await talk.turn()
    assert (turn.status, turn.reason, turn.answer) == ("queued", "", "Eu abriria")
    async with db.transaction() as tx:
        begun = await ROWS.begin(tx, turn_id)
        assert (begun.answer, begun.lost, begun.unreported) == ("Eu abriria", "", 0)
        again = await ROWS.begin(tx, turn_id)  # nothing was written, but something was sent
        assert (again.lost, again.unreported) == ("", 1)
    await talk.end(turn_id, "Eu abriria.", input_tokens=1, cost=0.25, estimated=True)
    turn = await talk.turn()
    assert (turn.input_tokens, turn.cost, turn.estimated) == (10, 1.25, True)
    async with db.transaction() as tx:
        assert await ROWS.begin(tx, turn_id) is None


async def test_an_outage_gives_a_question_back_once_and_for_an_hour(db, talk):
    refunds = Refunds(db, "chat_turns")
    turn_id = await talk.begin()
    await talk.end(turn_id, "", status="failed", reason="recusou")
    assert await refunds.take(talk.owner_id) is None
    other = await talk.begin()
    await talk.end(other, "", status="failed", reason="caiu", outage=True)
    assert await refunds.take((await a_user(db)).id) is None
    assert await refunds.take(talk.owner_id) == other
    assert await refunds.take(talk.owner_id) is None
    await refunds.put_back(other)
    assert await refunds.take(talk.owner_id) == other
    await refunds.put_back(other)
    await db.execute("update chat_turns set refunded_at = now() - interval '61 minutes' where id = $1", other)
    assert await refunds.take(talk.owner_id) is None


async def test_a_refund_that_paid_for_nothing_yet_outlives_the_end_of_its_answer(db, talk):
    refunds = Refunds(db, "chat_turns")
    first, first_chat = await talk.begin(), talk.chat_id
    await talk.end(first, "", status="failed", outage=True)
    second = await talk.begin()
    await talk.end(second, "Eu", status="incomplete", outage=True)
    assert await refunds.take(talk.owner_id) == first  # the older one pays
    assert await talk.chats.go_on(talk.owner_id, talk.chat_id)
    await talk.end(second, "Eu abriria.")
    assert await refunds.take(talk.owner_id) == second
    assert first_chat != talk.chat_id
    assert await refunds.take(talk.owner_id) is None


async def test_a_question_waits_for_the_answer_before_it_and_is_asked_once(db, talk):
    first = await talk.begin()
    with pytest.raises(StillAnsweringError):
        await talk.chats.ask(talk.owner_id, talk.chat_id, "E agora?")
    await talk.end(first)
    key = uuid4()
    assert not await talk.chats.ask((await a_user(db)).id, talk.chat_id, "De outro?", form_key=key)
    assert not await talk.chats.asked(talk.chat_id, key)
    assert await talk.chats.ask(talk.owner_id, talk.chat_id, "E agora?", form_key=key)
    assert await talk.chats.asked(talk.chat_id, key)
    assert not await talk.chats.asked(uuid4(), key)
    assert not await talk.chats.ask(talk.owner_id, talk.chat_id, "E agora?", form_key=key)
    second = await talk.turn()
    assert (second.position, second.question, second.status) == (2, "E agora?", "queued")
    async with db.transaction() as tx:
        begun = await ROWS.begin(tx, second.id)
    assert [(each.question, each.answer) for each in begun.turns] == [("Abro a loja?", "Sim.")]
    await talk.end(second.id)
    assert await talk.chats.ask(talk.owner_id, talk.chat_id, "De outro jeito?", instead_of=1)
    chat = await talk.chat()
    assert [(each.position, each.question) for each in chat.turns] == [(1, "De outro jeito?")]
    assert [each.question for each in chat.replaced] == ["Abro a loja?", "E agora?"]
    assert chat.title == "De outro jeito?"
    assert await talk.chats.turn(talk.owner_id, talk.chat_id, first) is not None
    assert await talk.chats.turn((await a_user(db)).id, talk.chat_id, first) is None
    assert await talk.chats.turn(talk.owner_id, uuid4(), first) is None


async def test_a_form_begins_one_conversation(db, talk):
    key = uuid4()
    assert await talk.chats.sent(talk.owner_id, key) is None
    await talk.begin(form_key=key)
    made = talk.chat_id
    again = await talk.chats.begin(
        talk.owner_id, name="H", role="r", system="s", question="Abro?", form_key=key
    )
    assert again == (made, False)
    assert await talk.chats.sent(talk.owner_id, key) == made
    assert await talk.chats.sent((await a_user(db)).id, key) is None


async def test_stopping_keeps_the_words_and_ends_the_job_and_only_the_last_answer_goes_on(db, talk):
    other = (await a_user(db)).id
    turn_id = await talk.begin()
    await talk.write(turn_id, "Eu ")
    job = await db.fetchval("select job from chat_turns where id = $1", turn_id)
    assert not await talk.chats.stop(other, talk.chat_id)
    assert await talk.chats.stop(talk.owner_id, talk.chat_id)
    assert not await talk.chats.stop(talk.owner_id, talk.chat_id)
    turn = await talk.turn()
    assert (turn.status, turn.answer) == ("stopped", "Eu ")
    assert (await talk.kinds(turn_id))[-1] == "turn.finished"
    run = await jobs.Runs(db).get(job)
    assert run.status == "cancelled"
    assert not await talk.chats.go_on(other, talk.chat_id)
    assert await talk.chats.go_on(talk.owner_id, talk.chat_id)
    assert not await talk.chats.go_on(talk.owner_id, talk.chat_id)  # it is queued
    assert await db.fetchval("select job from chat_turns where id = $1", turn_id) != job
    await talk.end(turn_id, "Eu abriria.")
    assert not await talk.chats.go_on(talk.owner_id, talk.chat_id)  # whole
    await talk.chats.ask(talk.owner_id, talk.chat_id, "E agora?")
    empty = (await talk.turn()).id
    await talk.chats.stop(talk.owner_id, talk.chat_id)
    assert not await talk.chats.go_on(talk.owner_id, talk.chat_id)  # nothing to go on from
    assert (await talk.turn()).id == empty


async def test_history_finds_all_words_of_questions_answers_and_names(db, talk):
    first = await talk.begin("Abro a padaria?")
    await talk.end(first, "Só com 100% do caixa_livre.")
    older = talk.chat_id
    await talk.begin("Mudo de cidade?", name="Otávio")
    newer = talk.chat_id

    async def found(words: str = "", **more: Any) -> list[UUID]:
        return [each.id for each in await talk.chats.history(talk.owner_id, words=words, **more)]

    assert await found() == [newer, older]
    assert await found(limit=1) == [newer]
    assert await found("PADARIA caixa") == [older]
    assert await found("padaria cidade") == []
    assert await found("otávio") == [newer]
    assert await found("100%") == [older]
    assert await found("10_%") == []
    assert await found("caixa_livre") == [older]
    assert await found("caixa\\livre") == []
    assert await talk.chats.history((await a_user(db)).id) == []
    assert not await talk.chats.delete((await a_user(db)).id, newer)
    assert await talk.chats.delete(talk.owner_id, newer)
    assert (await talk.turn()).status == "stopped"
    assert (await talk.chat()).deleted_at is not None
    assert await found() == [older]
    assert await found(deleted=True) == [newer]
    assert not await talk.chats.ask(talk.owner_id, newer, "Ainda?")
    assert not await talk.chats.go_on(talk.owner_id, newer)
    assert await talk.chats.restore(talk.owner_id, newer)
    assert await found() == [newer, older]
    assert await talk.chats.get(talk.owner_id, uuid4()) is None
    assert await talk.chats.get((await a_user(db)).id, newer) is None


async def test_each_event_wakes_the_streams_of_its_turn(db, talk):
    turn_id = await talk.begin()
    heard: list[str] = []
    async with db.acquire() as connection:

        def hear(*given: Any) -> None:
            heard.append(given[3])

        await connection.add_listener("advisory_events", hear)
        await talk.write(turn_id, "Eu ")
        for _ in range(500):
            if turn_topic(turn_id) in heard:
                break
            await asyncio.sleep(0.01)
        await connection.remove_listener("advisory_events", hear)
    assert turn_topic(turn_id) in heard


def test_an_end_without_a_report_adds_nothing_to_the_sums():
    nothing = Written(status="stopped")
    assert (nothing.joints, nothing.input_tokens, nothing.output_tokens) == (0, 0, 0)
    assert (nothing.estimated, nothing.outage, nothing.cost) == (False, False, None)
