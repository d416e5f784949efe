"""A ledger of costs by model and caller, with budgets a caller and a day, in memory or in PostgreSQL.

A request is reserved with its worst case before it is sent, and its real cost takes that place when it has ended. What
a process had reserved when it was killed expires by itself.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Final, Protocol

from prodkit.core.check import CheckResult
from prodkit.core.deadline import Deadline
from prodkit.core.lifespan import Managed
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.errors import BudgetExceededError
from prodkit.llm.events import LlmLedgerDelayed
from prodkit.llm.ledger_tables import HOLD, LOCK, RELEASE, REPORT, SCHEMA, SETTLE, USED
from prodkit.llm.results import Attempt, Usage

__all__ = ["SCHEMA", "Database", "Ledger", "LedgerRow"]

_MAX_UNWRITTEN: Final = 10_000
_BEHIND: Final = 100  # rows; a writer that keeps up has fewer
_FIRST_WAIT: Final = 0.5
_LAST_WAIT: Final = 30.0


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


class Ledger(Managed):
    """Accounts the cost of every request to a caller, and refuses what exceeds a caller's budget of the day.

    ::

        ledger = llm.Ledger(db, daily={"tenant:*": 5.0, "tenant:acme": 50.0})
        claude = llm.Client(key, prices=prices, ledger=ledger)
        await claude.create(caller="tenant:acme", …)
        for row in await ledger.report():
            print(row.day, row.caller, row.model, row.cost)

    Without a database it counts in this process. With one, all processes share the sums, exactly: a reservation is
    made under a lock of its caller. A day is a day in UTC. Costs are written in the background; while the database is
    away they wait here, up to 10,000 of them, and are written when it is back. ``pk.running(db, ledger, claude)``
    writes what is left when the service stops.

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
        expiry: float = 3600.0,
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
        self._unwritten: deque[tuple[str, tuple[Any, ...]]] = deque()  # statements, the oldest first
        self._writer: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self.lost: int = 0

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
            return made  # nothing to keep, so nothing to ask the database for
        async with self._database.transaction() as connection:
            # The lock first, in a statement of its own: the next one then sees all that was committed before.
            await connection.execute(LOCK, caller)
            used = float(await connection.fetchval(USED, caller, made.day))
            if used + amount > limit:
                raise _exceeded(caller, amount, limit, used)
            await connection.execute(HOLD, made.id, caller, made.day, amount, self._expiry)
        return made

    def settle(self, reservation: _Reservation | None, caller: str, attempt: Attempt) -> None:
        """Replace a `reservation` of `caller` by the cost of the `attempt` that has ended.

        In PostgreSQL this is written in the background; :meth:`flush` waits for it.
        """
        day = reservation.day if reservation is not None else self._today()
        if self._database is not None:
            self._write_later(
                reservation.id if reservation is not None else uuid.uuid4(), day, caller, attempt
            )
            return
        if reservation is not None:
            self._reserved.pop(reservation.id, None)
        if attempt.outcome == "unsent":
            return
        old = self._rows.get((day, caller, attempt.model))
        row = LedgerRow(caller, attempt.model, day, 1, attempt.usage, attempt.cost or 0.0)
        self._rows[day, caller, attempt.model] = row if old is None else _sum(old, row)

    # ------------------------------------------------------------------- writing
    def _write_later(self, key: uuid.UUID, day: date, caller: str, attempt: Attempt) -> None:
        if attempt.outcome == "unsent":
            self._unwritten.append((RELEASE, (key,)))
        else:
            usage = attempt.usage
            row = (
                key, day, caller, attempt.model, attempt.provider, attempt.outcome, usage.input_tokens,
                usage.output_tokens, usage.cache_creation_input_tokens, usage.cache_read_input_tokens, attempt.cost,
            )  # fmt: skip
            self._unwritten.append((SETTLE, row))
        if len(self._unwritten) > _MAX_UNWRITTEN:
            self._unwritten.popleft()  # its reservation counts until it expires
            self.lost += 1
        if self._writer is None or self._writer.done():
            with Deadline.detached():  # the request may be over; its cost is not
                self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        """Write until nothing is left; a database that is away is asked again, at longer and longer distances."""
        wait, error = _FIRST_WAIT, None
        while self._unwritten:
            try:
                await self.flush()
            except Exception as failed:  # noqa: BLE001 - whatever it was, the rows are kept
                if error is None:
                    error = failed
                    if (events := self._runtime.events).listened(LlmLedgerDelayed):
                        events.emit(
                            LlmLedgerDelayed(rows=len(self._unwritten), error_type=type(failed).__name__)
                        )
                await self._runtime.clock.sleep(wait)
                wait = min(2 * wait, _LAST_WAIT)

    async def flush(self) -> None:
        """Write the cost of every request that has ended.

        Raises:
            Exception: the database is away, in its own words; the rows are kept.
        """
        database, unwritten = self._database, self._unwritten
        if database is None:
            return
        async with self._turn:
            while unwritten:
                first = unwritten[0]
                await database.execute(first[0], *first[1])
                if unwritten and unwritten[0] is first:
                    unwritten.popleft()

    async def start(self) -> None:
        """Do nothing: a ledger is ready when it is made."""

    async def aclose(self) -> None:
        """Write what is left, once; may be called more than once."""
        writer, self._writer = self._writer, None
        if writer is not None and not writer.done():
            writer.cancel()
            await asyncio.wait((writer,))
        await self.flush()

    async def check(self) -> CheckResult:
        """Report degraded while rows wait for the database, or when some were lost."""
        details: dict[str, object] = {"unwritten": len(self._unwritten), "lost": self.lost}
        if self.lost or len(self._unwritten) > _BEHIND:
            return CheckResult("degraded", "costs cannot be written to the database", details)
        return CheckResult("up", details=details)

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
                for day, caller, model, requests, *tokens, cost in await self._database.fetch(REPORT, since)
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
        rows = await self._database.fetch(USED, caller, self._today())
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
