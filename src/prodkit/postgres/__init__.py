"""PostgreSQL on asyncpg: a pool that waits when it should and refuses when it must, with an error that says which.

The path of ``await db.fetch(…)``::

    Pool.fetch            pool.py          one statement on a connection of its own
      Desk.take           checkout.py      deadline, queue, errors
        Inventory.take    inventory.py     the idle list (stock.py); in the background: resets, pings, growing.py
          Connector.open  connect.py       asyncpg.connect, hosts, codecs, init=
      GuardedConnection   asyncpg_internals.py  asyncpg's connection, and its reset
        GuardedProtocol   protocol_internals.py  limits of each statement (time_limits.py), its errors (operation.py)
      Desk.give_back                       the reset is a task of the pool

``Upkeep`` (upkeep.py) keeps idle connections alive and reports long borrowers, ``Transaction`` (transaction.py) knows
what became of a COMMIT, ``Probe`` (health.py) asks the server without taking a slot, ``Replicas`` (replicas.py) serve
``db.read``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

if TYPE_CHECKING:
    from prodkit.postgres.events import (
        ConnectFailed as ConnectFailed,
        ConnectionClosed as ConnectionClosed,
        ConnectionHeldLong as ConnectionHeldLong,
        ConnectionOpened as ConnectionOpened,
        ConnectionReclaimed as ConnectionReclaimed,
        PoolAcquired as PoolAcquired,
        PoolDemoted as PoolDemoted,
        PoolExhausted as PoolExhausted,
        PoolNested as PoolNested,
        PoolOversized as PoolOversized,
        PoolReleased as PoolReleased,
        PoolWaitCancelled as PoolWaitCancelled,
        PurgeBatch as PurgeBatch,
        ReplicaSkipped as ReplicaSkipped,
        TransactionRerun as TransactionRerun,
    )
    from prodkit.postgres.lock import advisory_lock as advisory_lock, lock_key as lock_key
    from prodkit.postgres.outcome import (
        CommitOutcome as CommitOutcome,
        CommitUnknownError as CommitUnknownError,
    )
    from prodkit.postgres.pool import Pool as Pool
    from prodkit.postgres.profiles import (
        DEVELOPMENT as DEVELOPMENT,
        PRODUCTION as PRODUCTION,
        Profile as Profile,
    )
    from prodkit.postgres.purge import Purge as Purge, PurgeReport as PurgeReport
    from prodkit.postgres.replicas import Reader as Reader
    from prodkit.postgres.softdelete import (
        DELETIONS_SCHEMA as DELETIONS_SCHEMA,
        Deletion as Deletion,
        RestoreConflictError as RestoreConflictError,
        SoftDelete as SoftDelete,
    )
    from prodkit.postgres.stats import PoolStats as PoolStats
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "events": (
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
            ),
            "outcome": ("CommitOutcome", "CommitUnknownError"),
            "lock": ("advisory_lock", "lock_key"),
            "pool": ("Pool",),
            "profiles": ("DEVELOPMENT", "PRODUCTION", "Profile"),
            "purge": ("Purge", "PurgeReport"),
            "replicas": ("Reader",),
            "softdelete": ("DELETIONS_SCHEMA", "Deletion", "RestoreConflictError", "SoftDelete"),
            "stats": ("PoolStats",),
        },
    )
