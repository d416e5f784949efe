"""What a pool tells. No statement and no argument ever stands in an event."""

from __future__ import annotations

from dataclasses import dataclass

from prodkit.core.events import Event, Metric

__all__ = ["ConnectFailed", "PoolAcquired", "PoolDemoted", "PoolExhausted", "TransactionRerun"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolAcquired(Event):
    """Somebody got a connection after `waited` seconds."""

    name = "pool.acquired"
    level = "DEBUG"
    metric = Metric(
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
class PoolExhausted(Event):
    """Nobody gave a connection back in time."""

    name = "pool.exhausted"
    level = "WARNING"
    metric = Metric(
        "pool_exhausted", labels=("pool",), help="Callers refused because no connection became free."
    )
    pool: str
    waited: float
    size: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectFailed(Event):
    """A connection could not be opened; `error` is the name of its class. It is tried again in `retry_in` seconds."""

    name = "pool.connect_failed"
    level = "WARNING"
    metric = Metric(
        "pool_connect_failures", labels=("pool", "error"), help="Connections that could not be opened."
    )
    pool: str
    error: str
    retry_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolDemoted(Event):
    """The server turned read-only under us; every connection is being replaced."""

    name = "pool.demoted"
    level = "WARNING"
    metric = Metric("pool_demotions", labels=("pool",), help="Pools that met a read-only server.")
    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionRerun(Event):
    """A unit of work that committed nothing is run again because of `error`, the name of a class."""

    name = "transaction.rerun"
    level = "INFO"
    metric = Metric("transaction_reruns", labels=("pool", "error"), help="Units of work that ran again.")
    pool: str
    attempt: int
    error: str
