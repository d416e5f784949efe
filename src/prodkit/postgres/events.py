"""What a pool tells. No statement and no argument ever stands in an event."""

from __future__ import annotations

from dataclasses import dataclass

from prodkit.core.events import Event

__all__ = ["ConnectFailed", "PoolAcquired", "PoolDemoted", "PoolExhausted", "TransactionRerun"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolAcquired(Event):
    """Somebody got a connection after `waited` seconds."""

    name = "pool.acquired"
    pool: str
    waited: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolExhausted(Event):
    """Nobody gave a connection back in time."""

    name = "pool.exhausted"
    pool: str
    waited: float
    size: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectFailed(Event):
    """A connection could not be opened; `error` is the name of its class. It is tried again in `retry_in` seconds."""

    name = "pool.connect_failed"
    pool: str
    error: str
    retry_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolDemoted(Event):
    """The server turned read-only under us; every connection is being replaced."""

    name = "pool.demoted"
    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionRerun(Event):
    """A unit of work that committed nothing is run again because of `error`, the name of a class."""

    name = "transaction.rerun"
    pool: str
    attempt: int
    error: str
