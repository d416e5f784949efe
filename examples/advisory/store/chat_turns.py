"""Turns as the worker writes them, and their events as the page reads them.

Every function of `TurnRows` runs in a transaction that holds the turn's job for its worker, so a worker that was
overtaken, or whose answer was stopped, changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from advisory.council.chat import Turn, TurnStatus
from advisory.store.events import announce
from prodkit import postgres
from prodkit.progress import Page, Progress

if TYPE_CHECKING:
    from prodkit.postgres.checkout import Connection

__all__ = ["TURN_COLUMNS", "Begun", "TurnEvents", "TurnRows", "Written", "append", "turn_from", "turn_topic"]

TURN_COLUMNS: Final = (
    "id, position, question, status, created_at, answer, reason, model, requested_model, resumed, left_out,"
    " input_tokens, output_tokens, estimated, cost, last_seq, replaced_at, attempt, attempts, retry_at, retry_reason,"
    " extract(epoch from finished_at - started_at)::float8 as seconds"
)


def turn_from(row: Any) -> Turn:
    return Turn(**dict(row))


def turn_topic(turn_id: UUID) -> str:
    """The topic of a turn's events."""
    return f"turn:{turn_id}"


async def append(tx: Connection, turn_id: UUID, kind: str, data: Mapping[str, Any]) -> None:
    """Add one event, in the transaction that makes it true."""
    seq: int = await tx.fetchval(
        "update chat_turns set last_seq = last_seq + 1 where id = $1 returning last_seq", turn_id
    )
    await tx.execute(
        "insert into chat_events (turn_id, seq, kind, data) values ($1, $2, $3, $4::jsonb)",
        turn_id,
        seq,
        kind,
        dict(data),
    )
    await announce(tx, turn_topic(turn_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What a worker needs to answer a turn."""

    name: str
    system: str
    opening: tuple[Mapping[str, Any], ...]
    turns: tuple[Turn, ...]
    question: str
    answer: str
    """The beginning that is stored; another worker may have written it."""
    lost: str = ""
    """The end of it that came from requests whose usage was never reported."""
    unreported: int = 0
    """The number of these requests; each was sent the conversation again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The end of a turn, beside its text. `left_out` None keeps the number."""

    status: TurnStatus
    reason: str = ""
    outage: bool = False
    """The service failed, not the question: its use of the limit is given back."""
    model: str = ""
    requested_model: str = ""
    joints: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False
    cost: float | None = None


class TurnRows:
    """The rows of a turn, written while it is answered."""

    async def begin(self, tx: Connection, turn_id: UUID) -> Begun | None:
        """Return what is to be answered, or None for a turn that has ended."""
        row = await tx.fetchrow(
            """update chat_turns as turn set status = 'running', started_at = coalesce(turn.started_at, now()),
                    resumed = turn.resumed + (turn.answer <> '')::int, retry_at = null,
                    unreported = turn.unreported + 1
                from (select chat_turns.id, status, unreported, name, system, opening from chat_turns
                      join chats on chats.id = chat_id where chat_turns.id = $1 for update of chat_turns) as before
                where turn.id = before.id and before.status in ('queued', 'running')
                returning turn.chat_id, turn.position, turn.question, turn.answer, turn.counted,
                    before.unreported, before.name, before.system, before.opening""",
            turn_id,
        )
        if row is None:
            return None
        turns = await tx.fetch(
            f"""select {TURN_COLUMNS} from chat_turns
                where chat_id = $1 and position < $2 and replaced_at is null order by position""",  # noqa: S608
            row["chat_id"],
            row["position"],
        )
        await append(tx, turn_id, "turn.started", {"resumed": bool(row["answer"])})
        return Begun(
            name=row["name"],
            system=row["system"],
            opening=tuple(row["opening"]),
            turns=tuple(turn_from(each) for each in turns),
            question=row["question"],
            answer=row["answer"],
            lost=row["answer"][row["counted"] :],
            unreported=row["unreported"],
        )

    async def left_out(self, tx: Connection, turn_id: UUID, count: int) -> None:
        """Note that so many earlier messages do not fit."""
        await tx.execute("update chat_turns set left_out = $2 where id = $1", turn_id, count)

    async def wrote(self, tx: Connection, turn_id: UUID, text: str, *, at: int) -> None:
        """The answer goes on with `text` behind its first `at` characters; nothing when it does so already."""
        if await tx.fetchval(
            """update chat_turns set answer = answer || $2, retry_at = null
               where id = $1 and char_length(answer) = $3 returning true""",
            turn_id,
            text,
            at,
        ):
            await append(tx, turn_id, "turn.text", {"text": text})

    async def waits(
        self, tx: Connection, turn_id: UUID, *, attempt: int, attempts: int, wait: timedelta, reason: str
    ) -> None:
        """An attempt waits: its number, and the time when it is sent."""
        await tx.execute(
            """update chat_turns set attempt = $2, attempts = $3, retry_at = now() + $4, retry_reason = $5
               where id = $1 and status = 'running'""",
            turn_id,
            attempt,
            attempts,
            wait,
            reason,
        )
        await append(tx, turn_id, "turn.retry", {"attempt": attempt})

    async def finish(self, tx: Connection, turn_id: UUID, written: Written, text: str) -> None:
        """The last write: the whole text and the event that ends the page's stream.

        An outage gives the question's use of the limit back; one of before that paid for nothing yet stays.
        """
        await tx.execute(
            """update chat_turns set status = $2, answer = $3, reason = $4, model = $5, requested_model = $6,
                   resumed = resumed + $7, input_tokens = input_tokens + $8, output_tokens = output_tokens + $9,
                   estimated = estimated or $10, cost = $11 + coalesce(cost, 0), finished_at = now(),
                   counted = char_length($3), unreported = 0, retry_at = null,
                   refunded_at = case when $12 then now() else refunded_at end
               where id = $1""",
            turn_id,
            written.status,
            text,
            written.reason,
            written.model,
            written.requested_model,
            written.joints,
            written.input_tokens,
            written.output_tokens,
            written.estimated,
            written.cost,
            written.outage,
        )
        await append(tx, turn_id, "turn.finished", {"status": written.status})


class TurnEvents:
    """Reads the events of turns, for the channel."""

    def __init__(self, db: postgres.Pool) -> None:
        self._db = db

    async def read(self, topic: str, after: int, limit: int) -> Page:
        """At most `limit` events with a number above `after`, in order, and the newest number."""
        rows = await self._db.fetch(
            """select last_seq, seq, kind, data from chat_turns
               left join lateral (select seq, kind, data from chat_events where turn_id = chat_turns.id and seq > $2
                                  order by seq limit $3) as found on true
               where chat_turns.id = $1""",
            UUID(topic.partition(":")[2]),
            after,
            limit,
        )
        events = tuple(
            Progress(row["seq"], row["kind"], row["data"]) for row in rows if row["seq"] is not None
        )
        return Page(events, rows[0]["last_seq"] if rows else 0)
