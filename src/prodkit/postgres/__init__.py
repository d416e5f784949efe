"""PostgreSQL on asyncpg: a pool that waits when it should, refuses when it must, and says which of the two."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prodkit.postgres.events import (
        ConnectFailed as ConnectFailed,
        PoolAcquired as PoolAcquired,
        PoolDemoted as PoolDemoted,
        PoolExhausted as PoolExhausted,
        TransactionRerun as TransactionRerun,
    )
    from prodkit.postgres.failures import CommitUnknownError as CommitUnknownError
    from prodkit.postgres.lock import advisory_lock as advisory_lock, lock_key as lock_key
    from prodkit.postgres.pool import Pool as Pool
    from prodkit.postgres.profiles import (
        DEVELOPMENT as DEVELOPMENT,
        PRODUCTION as PRODUCTION,
        Profile as Profile,
    )
    from prodkit.postgres.softdelete import SoftDelete as SoftDelete
    from prodkit.postgres.stats import PoolStats as PoolStats

_HOME = {
    **dict.fromkeys(
        ("ConnectFailed", "PoolAcquired", "PoolDemoted", "PoolExhausted", "TransactionRerun"), "events"
    ),
    **dict.fromkeys(("advisory_lock", "lock_key"), "lock"),
    "Pool": "pool",
    **dict.fromkeys(("DEVELOPMENT", "PRODUCTION", "Profile"), "profiles"),
    "SoftDelete": "softdelete",
    "PoolStats": "stats",
    "CommitUnknownError": "failures",
}

__all__ = [
    "DEVELOPMENT",
    "PRODUCTION",
    "CommitUnknownError",
    "ConnectFailed",
    "Pool",
    "PoolAcquired",
    "PoolDemoted",
    "PoolExhausted",
    "PoolStats",
    "Profile",
    "SoftDelete",
    "TransactionRerun",
    "advisory_lock",
    "lock_key",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'prodkit.postgres' has no attribute {name!r}")
    value = getattr(import_module(f"prodkit.postgres.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
