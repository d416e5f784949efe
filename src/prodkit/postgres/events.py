"""Events of a pool. No statement and no argument ever stands in an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from prodkit.core.events import Event, Level, Metric, Metrics

__all__ = [
    "ConnectFailed",
    "ConnectionClosed",
    "ConnectionHeldLong",
    "ConnectionOpened",
    "ConnectionReclaimed",
    "PoolAcquired",
    "PoolDemoted",
    "PoolExhausted",
    "PoolNested",
    "PoolOversized",
    "PoolReleased",
    "PoolWaitCancelled",
    "PurgeBatch",
    "ReplicaSkipped",
    "TransactionRerun",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolAcquired(Event):
    """A caller got a connection after `waited` seconds.

    Args:
        pool: the pool's name.
        waited: seconds in the queue.
    """

    name = "pool.acquired"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = Metric(
        "pool_wait_seconds",
        "histogram",
        ("pool",),
        value="waited",
        unit="seconds",
        help="Time that a caller waited for a connection.",
    )
    pool: str
    waited: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReleased(Event):
    """A caller gave its connection back after `held` seconds.

    Args:
        pool: the pool's name.
        held: seconds in the caller's hands.
    """

    name = "pool.released"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = Metric(
        "pool_use_seconds",
        "histogram",
        ("pool",),
        value="held",
        unit="seconds",
        help="Time that a caller held a connection.",
    )
    pool: str
    held: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolWaitCancelled(Event):
    """A caller was cancelled after `waited` seconds in the queue.

    Args:
        pool: the pool's name.
        waited: seconds in the queue.
    """

    name = "pool.wait_cancelled"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = Metric(
        "pool_waits_cancelled", labels=("pool",), help="Callers cancelled while they waited for a connection."
    )
    pool: str
    waited: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolExhausted(Event):
    """A caller was refused after `waited` seconds: no connection became free in time.

    Args:
        pool: the pool's name.
        waited: seconds in the queue.
        size: open connections.
        waiting: callers in the queue.
    """

    name = "pool.exhausted"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = Metric(
        "pool_exhausted", labels=("pool",), help="Callers refused because no connection became free."
    )
    pool: str
    waited: float
    size: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolNested(Event):
    """A task that holds a connection of the pool waits for another one: under load such tasks block each other.

    Args:
        pool: the pool's name.
        holder: the task that holds a connection.
        site: the line that acquired it, as ``file:line``; empty when it is not known.
    """

    name = "pool.nested"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = Metric(
        "pool_nested", labels=("pool",), help="Waits of tasks that already held a connection."
    )
    pool: str
    holder: str
    site: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOversized(Event):
    """Together, `fleet` pools of `max_size` connections may ask for more than the server has `slots`.

    Args:
        pool: the pool's name.
        max_size: most connections of this pool.
        fleet: pools of this size that share the server.
        slots: connections that the server gives to ordinary users.
        reserved: slots that growing leaves free.
    """

    name = "pool.oversized"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = Metric(
        "pool_oversized", labels=("pool",), help="Pools that may ask for more than the server has."
    )
    pool: str
    max_size: int
    fleet: int
    slots: int
    reserved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectFailed(Event):
    """A connection could not be opened; `error` is the name of a class. The next attempt is in `retry_in` seconds.

    Args:
        pool: the pool's name.
        error: the name of a class.
        retry_in: seconds until the next attempt.
    """

    name = "pool.connect_failed"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = Metric(
        "pool_connect_failures", labels=("pool", "error"), help="Connections that could not be opened."
    )
    pool: str
    error: str
    retry_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOpened(Event):
    """A connection was opened in `took` seconds.

    Args:
        pool: the pool's name.
        took: seconds.
    """

    name = "pool.connection_opened"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = Metric(
        "pool_connect_seconds",
        "histogram",
        ("pool",),
        value="took",
        unit="seconds",
        help="Time to open a connection.",
    )
    pool: str
    took: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionClosed(Event):
    """A connection left the pool after `age` seconds.

    ``unclean`` means that its reset failed.

    Args:
        pool: the pool's name.
        reason: ``lost``, ``expired``, ``lifetime``, ``idle``, ``unclean`` or ``closing``.
        age: seconds since it was opened.
    """

    name = "pool.connection_closed"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = Metric(
        "pool_connections_closed",
        labels=("pool", "reason"),
        help="Connections that left the pool, by reason.",
    )
    pool: str
    reason: str
    age: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionHeldLong(Event):
    """A connection is held for longer than ``leak_threshold``; `site` is the line that acquired it.

    Args:
        pool: the pool's name.
        held: seconds in the caller's hands.
        holder: the task that holds a connection.
        site: the line that acquired it, as ``file:line``; empty when it is not known.
    """

    name = "pool.held_long"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = Metric(
        "pool_held_long", labels=("pool",), help="Connections held longer than leak_threshold."
    )
    pool: str
    held: float
    holder: str
    site: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionReclaimed(Event):
    """A connection was never given back, its handle was dropped, and the pool took it back.

    Args:
        pool: the pool's name.
        held: seconds in the caller's hands.
        site: the line that acquired it, as ``file:line``; empty when it is not known.
    """

    name = "pool.reclaimed"
    level: ClassVar[Level] = "ERROR"
    metric: ClassVar[Metrics] = Metric(
        "pool_reclaimed", labels=("pool",), help="Connections whose handle was dropped."
    )
    pool: str
    held: float
    site: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolDemoted(Event):
    """The server turned read-only; every connection is being replaced.

    Args:
        pool: the pool's name.
    """

    name = "pool.demoted"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = Metric(
        "pool_demotions", labels=("pool",), help="Pools that met a read-only server."
    )
    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSkipped(Event):
    """A read went to the primary: the replica was ``down``, or ``behind`` by more than ``max_lag``.

    Args:
        pool: the pool's name.
        reason: ``down`` or ``behind``.
    """

    name = "pool.replica_skipped"
    level: ClassVar[Level] = "WARNING"
    metric: ClassVar[Metrics] = Metric(
        "pool_replica_skipped", labels=("pool", "reason"), help="Changes from replica to primary."
    )
    pool: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionRerun(Event):
    """A unit of work that committed nothing runs again because of `error`, the name of a class.

    Args:
        pool: the pool's name.
        attempt: the run that failed, from 1.
        error: the name of a class.
    """

    name = "transaction.rerun"
    level: ClassVar[Level] = "INFO"
    metric: ClassVar[Metrics] = Metric(
        "transaction_reruns", labels=("pool", "error"), help="Units of work that ran again."
    )
    pool: str
    attempt: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeBatch(Event):
    """A purge removed `rows` rows of `table` in one statement of `took` seconds.

    Args:
        table: the table.
        rows: rows removed.
        took: seconds.
    """

    name = "purge.batch"
    level: ClassVar[Level] = "DEBUG"
    metric: ClassVar[Metrics] = (
        Metric("purged_rows", labels=("table",), value="rows", help="Rows removed by a purge."),
        Metric(
            "purge_batch_seconds",
            "histogram",
            ("table",),
            value="took",
            unit="seconds",
            help="Time of one statement of a purge.",
        ),
    )
    table: str
    rows: int
    took: float
