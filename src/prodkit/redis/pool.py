"""The connection pool under the link. Imports redis-py, and is imported when the first call needs it."""

from __future__ import annotations

from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from prodkit.redis.address import connection_options

__all__ = ["open_client"]


class _Pool(BlockingConnectionPool):
    """Waits when it is full, and hands out no connection that was cut while it lay idle.

    redis-py looks for an orderly end of file; a reset (a crashed server, a firewall) it would only find on
    the first write, and the call that writes would be lost.
    """

    async def ensure_connection(self, connection: Any) -> None:
        writer = connection._writer
        if writer is not None and writer.is_closing():
            await connection.disconnect(nowait=True)
        await super().ensure_connection(connection)


def open_client(url: str, max_connections: int) -> Redis:
    """A client for `url` without limits and retries of its own: those are the link's.

    One timer a call, ours: redis-py arms none, and a blocking command is not cut by a socket limit. A new
    connection costs one greeting; client names and maintenance messages would be round trips more.
    """
    options = connection_options(url) | {
        "socket_timeout": None,
        "socket_connect_timeout": None,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "decode_responses": False,
        "health_check_interval": 0,
        "driver_info": None,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "max_connections": max_connections,
        "timeout": None,
    }
    client: Redis = Redis.from_pool(_Pool(**options))
    return client
