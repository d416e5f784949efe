"""A ledger of costs by model and caller, with budgets a caller and a day, in memory or in PostgreSQL.

A request is reserved with its worst case before it is sent, and its real cost takes that place when it has ended. What
a process had reserved when it was killed expires by itself.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Final, Protocol

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.errors import BudgetExceededError
from prodkit.llm.results import Attempt, Usage

__all__ = ["SCHEMA", "Database", "Ledger", "LedgerRow"]

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS llm_ledger (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    day date NOT NULL,
    caller text NOT NULL,
    model text NOT NULL,
    provider text NOT NULL,
    outcome text NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cache_creation_input_tokens bigint NOT NULL,
    cache_read_input_tokens bigint NOT NULL,
    cost double precision
);
CREATE INDEX IF NOT EXISTS llm_ledger_caller_day ON llm_ledger (caller, day);
CREATE TABLE IF NOT EXISTS llm_ledger_reserved (
    id uuid PRIMARY KEY,
    caller text NOT NULL,
    day date NOT NULL,
    amount double precision NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS llm_ledger_reserved_caller_day ON llm_ledger_reserved (caller, day);
"""
"""The tables of a ledger in PostgreSQL; ``Ledger.create_tables`` makes them."""

_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('llm_ledger ' || $1, 0))"
_USED: Final = """
SELECT coalesce((SELECT sum(cost) FROM llm_ledger WHERE caller = $1 AND day = $2), 0)
     + coalesce((SELECT sum(amount) FROM llm_ledger_reserved
                 WHERE caller = $1 AND day = $2 AND expires_at > now()), 0)
"""
_HOLD: Final = """
INSERT INTO llm_ledger_reserved (id, caller, day, amount, expires_at)
VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5))
"""
_SETTLE: Final = """
WITH gone AS (DELETE FROM llm_ledger_reserved WHERE id = $1)
INSERT INTO llm_ledger (day, caller, model, provider, outcome, input_tokens, output_tokens,
                        cache_creation_input_tokens, cache_read_input_tokens, cost)
VALUES ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
_RELEASE: Final = "DELETE FROM llm_ledger_reserved WHERE id = $1"
_REPORT: Final = """
SELECT day, caller, model, count(*) AS requests, sum(input_tokens)::bigint, sum(output_tokens)::bigint,
       sum(cache_creation_input_tokens)::bigint, sum(cache_read_input_tokens)::bigint, coalesce(sum(cost), 0)
FROM llm_ledger WHERE day >= $1 GROUP BY day, caller, model
"""
_EXPIRY: Final = 3600.0  # seconds after which the reservation of a killed process counts no more


class Database(Protocol):
    """The side of a pool that the ledger uses; ``prodkit.postgres.Pool`` is one."""

    async def execute(self, query: str, /, *args: Any) -> Any:
        """Execute `query` with its `args`."""
        ...

    async def fetch(self, query: str, /, *args: Any) -> Sequence[Any]:
        """Return the rows of `query`."""
        ...

    def transaction(self) -> Any:
        """Return an asynchronous context manager that gives a connection with ``execute`` and ``fetchval``."""
        ...


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One row of a report.

    Args:
        caller: the name given as ``caller=``; "" without one, and for all where the report sums them.
        model: the label of the model; "" for all.
        day: the day in UTC; None for all.
        requests: HTTP requests.
        usage: token counts.
        cost: US dollars.
    """

    caller: str
    model: str
    day: date | None
    requests: int
    usage: Usage
    cost: float


@dataclass(frozen=True, slots=True)
class _Reservation:
    id: uuid.UUID
    day: date
    amount: float


class Ledger:
    """Accounts the cost of every request to a caller, and refuses what exceeds a caller's budget of the day.

    ::

        ledger = llm.Ledger(db, daily={"tenant:*": 5.0, "tenant:acme": 50.0})
        claude = llm.Client(key, prices=prices, ledger=ledger)
        await claude.create(caller="tenant:acme", …)
        for row in await ledger.report():
            print(row.day, row.caller, row.model, row.cost)

    Without a database it counts in this process. With one, all processes share the sums, exactly: a reservation is
    made under a lock of its caller. A day is a day in UTC.

    Args:
        database: a ``postgres.Pool``, or anything with its ``execute``, ``fetch`` and ``transaction``.
        daily: US dollars a day by caller; a name may hold ``*``, and the longest name that matches counts. A caller
            without a match is not limited.
        expiry: seconds after which the reservation of a killed process counts no more.
        runtime: the clock that decides the day.
    """

    def __init__(
        self,
        database: Database | None = None,
        *,
        daily: Mapping[str, float] | None = None,
        expiry: float = _EXPIRY,
        runtime: Runtime = SYSTEM,
    ) -> None:
        check = Arguments("Ledger")
        for name, dollars in (daily or {}).items():
            check.number(f"daily[{name!r}]", dollars, above=0, unit="dollars")
        check.seconds("expiry", expiry)
        check.done()
        self._database = database
        self._daily = dict(daily or {})
        self._expiry = expiry
        self._runtime = runtime
        self._rows: dict[tuple[date, str, str], LedgerRow] = {}
        self._reserved: dict[uuid.UUID, tuple[str, _Reservation]] = {}
        self._writing: set[asyncio.Task[None]] = set()

    @property
    def limited(self) -> bool:
        """True when there are budgets, which need the price of every model."""
        return bool(self._daily)

    def limit_of(self, caller: str) -> float | None:
        """Return the budget of `caller` for a day in US dollars, None for no limit."""
        names = [name for name in self._daily if name == caller or fnmatchcase(caller, name)]
        return self._daily[max(names, key=lambda name: (name == caller, len(name)))] if names else None

    async def create_tables(self) -> None:
        """Create the tables in the database, where they are missing."""
        if self._database is not None:
            for statement in filter(str.strip, SCHEMA.split(";")):
                await self._database.execute(statement)

    # ------------------------------------------------------------- for the client
    async def reserve(self, caller: str, amount: float) -> _Reservation:
        """Reserve `amount` dollars for `caller` before a request is sent.

        Raises:
            BudgetExceededError: it would exceed the caller's budget of the day; nothing was reserved.
        """
        made = _Reservation(uuid.uuid4(), self._today(), amount)
        limit = self.limit_of(caller)
        if self._database is None:
            used = self._used(caller, made.day)
            if limit is not None and used + amount > limit:
                raise _exceeded(caller, amount, limit, used)
            self._reserved[made.id] = (caller, made)
            return made
        if limit is None:
            await self._database.execute(_HOLD, made.id, caller, made.day, amount, self._expiry)
            return made
        async with self._database.transaction() as connection:
            # The lock first, in a statement of its own: the next one then sees all that was committed before.
            await connection.execute(_LOCK, caller)
            used = float(await connection.fetchval(_USED, caller, made.day))
            if used + amount > limit:
                raise _exceeded(caller, amount, limit, used)
            await connection.execute(_HOLD, made.id, caller, made.day, amount, self._expiry)
        return made

    def settle(self, reservation: _Reservation | None, caller: str, attempt: Attempt) -> None:
        """Replace a `reservation` of `caller` by the cost of the `attempt` that has ended.

        In PostgreSQL this is written in the background; :meth:`flush` waits for it.
        """
        day = reservation.day if reservation is not None else self._today()
        if self._database is not None:
            key = reservation.id if reservation is not None else uuid.uuid4()
            task = asyncio.get_running_loop().create_task(self._write(key, day, caller, attempt))
            self._writing.add(task)
            task.add_done_callback(self._written)
            return
        if reservation is not None:
            self._reserved.pop(reservation.id, None)
        if attempt.outcome == "unsent":
            return
        old = self._rows.get((day, caller, attempt.model))
        row = LedgerRow(caller, attempt.model, day, 1, attempt.usage, attempt.cost or 0.0)
        self._rows[day, caller, attempt.model] = row if old is None else _sum(old, row)

    async def _write(self, key: uuid.UUID, day: date, caller: str, attempt: Attempt) -> None:
        assert self._database is not None
        if attempt.outcome == "unsent":
            await self._database.execute(_RELEASE, key)
            return
        usage = attempt.usage
        await self._database.execute(
            _SETTLE, key, day, caller, attempt.model, attempt.provider, attempt.outcome, usage.input_tokens,
            usage.output_tokens, usage.cache_creation_input_tokens, usage.cache_read_input_tokens, attempt.cost,
        )  # fmt: skip

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writing.discard(task)
        if not task.cancelled():
            task.exception()  # a database that is away loses the row; the reservation holds its place until it expires

    async def flush(self) -> None:
        """Wait until every ended request has been written."""
        while self._writing:
            await asyncio.wait(tuple(self._writing))

    # ------------------------------------------------------------------- reports
    async def report(
        self, *, days: int = 30, by: Sequence[str] = ("day", "caller", "model")
    ) -> list[LedgerRow]:
        """Return the costs, the most expensive first.

        Args:
            days: how far back, this day included.
            by: the fields that make the rows: any of "day", "caller" and "model"; the others are summed.
        """
        check = Arguments("report")
        check.integer("days", days, minimum=1)
        for name in by:
            check.one_of("by", name, ("day", "caller", "model"))
        check.done()
        since = self._today() - timedelta(days=days - 1)
        if self._database is None:
            rows = [row for row in self._rows.values() if row.day is not None and row.day >= since]
        else:
            await self.flush()
            rows = [
                LedgerRow(caller, model, day, requests, Usage(*tokens), float(cost))
                for day, caller, model, requests, *tokens, cost in await self._database.fetch(_REPORT, since)
            ]
        summed: dict[tuple[Any, ...], LedgerRow] = {}
        for row in rows:
            key = tuple(getattr(row, name) for name in by)
            plain = LedgerRow(
                row.caller if "caller" in by else "",
                row.model if "model" in by else "",
                row.day if "day" in by else None,
                row.requests,
                row.usage,
                row.cost,
            )
            summed[key] = _sum(summed[key], plain) if key in summed else plain
        return sorted(summed.values(), key=lambda row: -row.cost)

    async def spent(self, caller: str) -> float:
        """Return the dollars that `caller` has spent and reserved on this day."""
        if self._database is None:
            return self._used(caller, self._today())
        await self.flush()
        rows = await self._database.fetch(_USED, caller, self._today())
        return float(rows[0][0])

    def _used(self, caller: str, day: date) -> float:
        spent = sum(row.cost for (when, who, _), row in self._rows.items() if (when, who) == (day, caller))
        held = sum(made.amount for who, made in self._reserved.values() if (who, made.day) == (caller, day))
        return spent + held

    def _today(self) -> date:
        now: datetime = self._runtime.clock.now()
        return now.astimezone(UTC).date()

    def __repr__(self) -> str:
        return f"Ledger({'memory' if self._database is None else 'database'}, daily={self._daily!r})"


def _sum(one: LedgerRow, other: LedgerRow) -> LedgerRow:
    return LedgerRow(
        one.caller,
        one.model,
        one.day,
        one.requests + other.requests,
        one.usage + other.usage,
        one.cost + other.cost,
    )


def _exceeded(caller: str, amount: float, limit: float, used: float) -> BudgetExceededError:
    return BudgetExceededError(
        f"the request may cost ${amount:.4f} and only ${max(0.0, limit - used):.4f} of today's ${limit:.2f} for "
        f"{caller!r} is left; it was not sent"
    )
