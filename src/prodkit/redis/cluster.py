"""The connections of a Redis Cluster: one shared connection to each primary, and the table of slots.

::

    key ─▶ slot ─▶ primary ─▶ its shared connection
                     MOVED: read the table again, send again     ASK: send ASKING and again, to the other node
                     a primary is lost: the link is down until every slot has a primary that answers

A lost command is not sent again: it may have taken effect. The failover of a primary is an outage of the link, like
that of a single server: its users work in memory and catch up afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from redis import exceptions
from redis.asyncio.connection import Connection
from redis.crc import key_slot

from prodkit.redis.address import Address
from prodkit.redis.pool import connection_options, open_client
from prodkit.redis.shared_connection import Command, LimitReached, SharedConnection

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["Cluster"]

Node: TypeAlias = tuple[str, int]

_SLOTS: Final = 16384
_REDIRECTS: Final = 5
_PAUSE: Final = 0.02


class Cluster:
    """The nodes of one cluster.

    Args:
        address: its URL; any of its nodes is enough.
        max_connections: concurrent calls on pooled connections.
        timeout: seconds for one step of discovery.
    """

    def __init__(self, address: Address, max_connections: int, timeout: float) -> None:
        self._address = address
        self._max_connections = max_connections
        self._timeout = timeout
        options = connection_options(address)
        self._kind: Any = options.pop("connection_class", Connection)
        self._options = {name: each for name, each in options.items() if name not in ("host", "port", "db")}
        self._nodes: dict[Node, SharedConnection] = {}
        self._slots: list[Node] = []
        self._reading: asyncio.Task[None] | None = None
        self._client: Any = None

    @property
    def client(self) -> Any:
        """redis-py's cluster client, made when it is first used."""
        if self._client is None:
            from redis.asyncio.cluster import ClusterNode, RedisCluster
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff

            options = {
                name: each
                for name, each in self._options.items()
                if name in ("username", "password", "protocol") or name.startswith("ssl_")
            }
            self._client = RedisCluster(
                startup_nodes=[ClusterNode(host, port) for host, port in self._address.hosts],
                max_connections=self._max_connections,
                retry=Retry(NoBackoff(), 0),
                ssl=self._kind is not Connection,
                **options,
            )
        return self._client

    @property
    def opened(self) -> int:
        return sum(node.opened for node in self._nodes.values())

    def _node(self, node: Node) -> SharedConnection:
        found = self._nodes.get(node)
        if found is None:
            host, port = node
            found = self._nodes[node] = SharedConnection(
                lambda: self._kind(host=host, port=port, **self._options)
            )
        return found

    async def execute(
        self, commands: Sequence[Command], key: str | bytes | None, limit: float | None
    ) -> list[Any]:
        loop = asyncio.get_running_loop()
        ends = None if limit is None else loop.time() + limit
        slot = (
            0
            if key is None
            else key_slot(key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key)
        )
        target: Node | None = None
        asking = False
        for _ in range(_REDIRECTS):
            left = None if ends is None else ends - loop.time()
            if left is not None and left <= 0:
                raise LimitReached
            if not self._slots:
                try:
                    async with asyncio.timeout(left):
                        await self._read_slots()
                except TimeoutError:
                    raise LimitReached from None
                continue
            node = self._node(target or self._slots[slot])
            sent = [each for command in commands for each in (("ASKING",), command)] if asking else commands
            replies = await node.execute(sent, left)
            if asking:
                replies = replies[1::2]
            target, asking = None, False
            redirect = next((reply for reply in replies if isinstance(reply, exceptions.AskError)), None)
            if isinstance(redirect, exceptions.MovedError):
                target = (redirect.host, redirect.port)
                self._slots[slot] = target
                self._read_slots()
            elif redirect is not None:
                target, asking = (redirect.host, redirect.port), True
            elif any(isinstance(reply, exceptions.TryAgainError) for reply in replies):
                await asyncio.sleep(_PAUSE)
            else:
                return replies
        raise ConnectionError("the cluster is moving slots and redirected the command too often")

    # --- the table of slots -----------------------------------------------------------------------------------------

    def _read_slots(self) -> asyncio.Task[None]:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._read_slots_once())
            self._reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._reading

    async def _read_slots_once(self) -> None:
        """Ask the nodes, one after the other, until one has a table that covers every slot."""
        problem: Exception = ConnectionError("no node of the cluster answers")
        known = list(dict.fromkeys((*self._nodes, *self._address.hosts)))
        for host, port in known:
            connection = self._kind(host=host, port=port, **self._options)
            try:
                async with asyncio.timeout(self._timeout):
                    await connection.connect()
                    await connection.send_command("CLUSTER", "SLOTS")
                    reply = await connection.read_response(disable_decoding=True)
                slots = _table(reply, host)
            except Exception as error:  # noqa: BLE001 - the next node may know
                problem = error
                continue
            finally:
                with suppress(Exception):
                    await connection.disconnect(nowait=True)
            self._slots = slots
            for node in set(self._nodes) - set(slots):
                self._nodes.pop(node).drop("this node is no primary any more")
            return
        raise problem

    async def probe(self) -> None:
        self._slots = []
        await self._read_slots()
        primaries = sorted(set(self._slots))
        replies = await asyncio.gather(
            *(self._node(node).execute((("ROLE",), ("CLUSTER", "INFO")), self._timeout) for node in primaries)
        )
        for role, info in replies:
            if isinstance(role, Exception):
                raise role
            if role[0] != b"master" or not isinstance(info, bytes) or b"cluster_state:ok" not in info:
                raise ConnectionError("the cluster has slots without a primary")

    async def disconnect(self) -> None:
        for node in self._nodes.values():
            node.drop("Redis is down")
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def aclose(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        for node in self._nodes.values():
            await node.aclose()
        if self._client is not None:
            await self._client.aclose()

    async def primaries(self) -> tuple[Node, ...]:
        """Read the table of slots again and return the nodes in it."""
        async with asyncio.timeout(self._timeout * (len(self._address.hosts) + 1)):
            await asyncio.shield(self._read_slots())
        return tuple(sorted(set(self._slots)))

    def dedicated(self, node: Node | None = None) -> Redis:
        host, port = node or (self._slots[0] if self._slots else self._address.hosts[0])
        options = self._address.options | {"host": host, "port": port}
        one = Address("single", ((host, port),), options, {}, "", self._address.shown)
        return open_client(one, 1)


def _table(reply: Any, asked: str) -> list[Node]:
    """Return the primary of each slot from the reply to CLUSTER SLOTS; an empty host means the node that was asked."""
    slots: list[Node | None] = [None] * _SLOTS
    for first, last, primary, *_ in reply:
        node = ((primary[0] or asked.encode()).decode(), int(primary[1]))
        slots[int(first) : int(last) + 1] = [node] * (int(last) + 1 - int(first))
    if any(each is None for each in slots):
        raise ConnectionError("the cluster has slots without a primary")
    return [each for each in slots if each is not None]
