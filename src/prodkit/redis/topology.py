"""The connections of a link: to one server, or to the primary of a Sentinel group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from prodkit.redis.address import Address
from prodkit.redis.pool import open_client
from prodkit.redis.shared_connection import Command, SharedConnection

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["OneServer", "Topology", "open_topology"]


class Topology(Protocol):
    """The connections of a link, as the link uses them."""

    @property
    def client(self) -> Any:
        """The client that :meth:`RedisLink.run` hands out."""
        ...

    @property
    def opened(self) -> int:
        """Shared connections opened so far."""
        ...

    async def execute(
        self, commands: Sequence[Command], key: str | bytes | None, limit: float | None
    ) -> list[Any]:
        """Send `commands` together to the node of `key`."""
        ...

    async def probe(self) -> None:
        """Return when Redis answers and accepts writes, raise otherwise."""
        ...

    async def disconnect(self) -> None:
        """Close idle connections, so that nothing of the time before an outage is used after it."""
        ...

    async def aclose(self) -> None:
        """Close everything."""
        ...

    async def primaries(self) -> tuple[tuple[str, int], ...]:
        """Return the primaries of a cluster; nothing for one server."""
        ...

    def dedicated(self, node: tuple[str, int] | None = None) -> Redis:
        """Return a client with a connection of its own, on a cluster to `node`."""
        ...


class OneServer:
    """One server, or the primary of a Sentinel group, which is looked up whenever a connection is made.

    Args:
        address: where to connect.
        max_connections: the size of the pool behind `client`.
        sentinel_timeout: seconds to wait for one sentinel before the next is asked.
    """

    def __init__(self, address: Address, max_connections: int, sentinel_timeout: float) -> None:
        self._address = address
        self._sentinel_timeout = sentinel_timeout
        self.client: Redis = open_client(address, max_connections, sentinel_timeout=sentinel_timeout)
        self._shared = SharedConnection(self.client.connection_pool.make_connection)

    @property
    def opened(self) -> int:
        return self._shared.opened

    async def execute(
        self, commands: Sequence[Command], key: str | bytes | None, limit: float | None
    ) -> list[Any]:
        return await self._shared.execute(commands, limit)

    async def probe(self) -> None:
        if self._address.kind == "single":
            await self.client.execute_command("PING")  # type: ignore[no-untyped-call]
            return
        # A primary that was demoted still answers PING; only a primary of now may end an outage.
        role: Any = await self.client.execute_command("ROLE")  # type: ignore[no-untyped-call]
        if role[0] != b"master":
            raise ConnectionError("the Sentinel group has no primary yet")

    async def disconnect(self) -> None:
        self._shared.drop("Redis is down")
        await self.client.connection_pool.disconnect(inuse_connections=False)

    async def aclose(self) -> None:
        await self._shared.aclose()
        await self.client.aclose()

    async def primaries(self) -> tuple[tuple[str, int], ...]:
        return ()

    def dedicated(self, node: tuple[str, int] | None = None) -> Redis:
        return open_client(self._address, 1, sentinel_timeout=self._sentinel_timeout)


def open_topology(address: Address, max_connections: int, timeout: float) -> Topology:
    """Return the connections for `address`, none of them open yet.

    Args:
        address: where to connect.
        max_connections: concurrent calls on pooled connections.
        timeout: seconds for one step of discovery.
    """
    if address.kind == "cluster":
        from prodkit.redis.cluster import Cluster

        return Cluster(address, max_connections, timeout)
    return OneServer(address, max_connections, timeout)
