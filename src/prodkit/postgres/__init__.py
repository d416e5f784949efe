"""PostgreSQL on asyncpg: a pool that waits when it should, refuses when it must, and says which of the two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

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
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "events": ("ConnectFailed", "PoolAcquired", "PoolDemoted", "PoolExhausted", "TransactionRerun"),
            "failures": ("CommitUnknownError",),
            "lock": ("advisory_lock", "lock_key"),
            "pool": ("Pool",),
            "profiles": ("DEVELOPMENT", "PRODUCTION", "Profile"),
            "softdelete": ("SoftDelete",),
            "stats": ("PoolStats",),
        },
    )
