"""Clients and connections of redis-py, without its own timeouts and retries: those are the link's.

Imports redis-py, and is imported by the first call that needs it.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from prodkit.redis.address import Address
from prodkit.redis.redis_internals import is_closing, takes_maintenance_options

__all__ = ["connection_options", "open_client"]


class _Pool(BlockingConnectionPool):
    """Waits while it is full, and lends no connection that was cut while it was idle."""

    async def ensure_connection(self, connection: Any) -> None:
        if is_closing(connection):
            await connection.disconnect(nowait=True)
        await super().ensure_connection(connection)


class _SentinelPool(SentinelConnectionPool):
    """Asks the sentinels for the primary whenever it connects, and lends no connection that was cut."""

    async def ensure_connection(self, connection: Any) -> None:
        if is_closing(connection):
            await connection.disconnect(nowait=True)
        await super().ensure_connection(connection)

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        for sentinel in self.sentinel_manager.sentinels:
            await sentinel.connection_pool.disconnect(inuse_connections)


def connection_options(address: Address) -> dict[str, Any]:
    """Return the keyword arguments of one connection.

    One timer a call, the link's: redis-py arms none, and a blocking command is not cut by a socket limit. A new
    connection costs one greeting; client names and maintenance messages would be further round trips.

    Args:
        address: where to connect.
    """
    options = address.options | {
        "socket_timeout": None,
        "socket_connect_timeout": None,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "decode_responses": False,
        "health_check_interval": 0,
        "driver_info": None,
    }
    if takes_maintenance_options():
        options["maint_notifications_config"] = MaintNotificationsConfig(enabled=False)
    return options


def open_client(address: Address, max_connections: int, *, sentinel_timeout: float = 0.5) -> Redis:
    """Return a client for one server, or for the primary of a Sentinel group.

    Args:
        address: where to connect.
        max_connections: the size of its pool; the pool waits while all are in use.
        sentinel_timeout: seconds to wait for one sentinel before the next is asked.
    """
    options = connection_options(address)
    if address.kind != "sentinel":
        client: Redis = Redis.from_pool(_Pool(**options, max_connections=max_connections, timeout=None))
        return client
    tls = {name: options[name] for name in options if name.startswith("ssl_")}
    if "connection_class" in options:
        tls["ssl"] = True
    sentinels = Sentinel(  # type: ignore[no-untyped-call]
        list(address.hosts),
        sentinel_kwargs={
            "socket_timeout": sentinel_timeout,
            "socket_connect_timeout": sentinel_timeout,
            "retry": Retry(NoBackoff(), 0),
            **address.sentinel,
            **tls,
        },
    )
    for name in ("host", "port", "connection_class"):
        options.pop(name, None)
    size = max_connections + 5  # the probe and the listener of a moment do not wait for callers
    pool: Any = _SentinelPool(address.service, sentinels, max_connections=size, **options, **tls)  # type: ignore[no-untyped-call]
    return Redis.from_pool(pool)
