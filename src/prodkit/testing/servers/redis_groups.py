"""Several real Redis servers: a cluster with replicas, and a primary with replicas under Sentinel."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prodkit.testing.servers.base import free_port
from prodkit.testing.servers.errors import ServerError
from prodkit.testing.servers.redis import Redis

__all__ = ["RedisCluster", "RedisSentinel"]


class _Group:
    """Servers that start and stop together."""

    def __init__(self, binary: Path | None) -> None:
        self._binary = binary
        self._stack = ExitStack()
        self._password = secrets.token_hex(16)
        self.servers: list[Redis] = []

    def _server(self, *config: str, port: int | None = None) -> Redis:
        login = (f"requirepass {self._password}", f"masterauth {self._password}")
        server = Redis(port=port, binary=self._binary, config=(*login, *config), password=self._password)
        self._stack.enter_context(server)
        self.servers.append(server)
        return server

    def client(self, server: Redis) -> Any:
        """Return a synchronous client of one server.

        Args:
            server: one of `servers`.
        """
        from redis import Redis as Client

        return Client(port=server.port, password=self._password, decode_responses=True, socket_timeout=5)

    def stop(self) -> None:
        """Stop every server."""
        self.servers.clear()
        self._stack.close()

    def start(self) -> Self:
        """Start the servers, wait until they work together and return self."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class RedisCluster(_Group):
    """A Redis Cluster on loopback: `primaries` with one replica each.

    ::

        with RedisCluster() as cluster:
            link = RedisLink(cluster.url)
            cluster.primary_of("key").kill()

    Args:
        primaries: three at least, so that a majority elects a replica.
        node_timeout: seconds until a silent node counts as failed.
        binary: the program to run; None for the one found first.
    """

    def __init__(self, primaries: int = 3, *, node_timeout: float = 1.0, binary: Path | None = None) -> None:
        super().__init__(binary)
        self._primaries = primaries
        self._node_timeout = node_timeout

    @property
    def url(self) -> str:
        """The URL for :class:`~prodkit.redis.RedisLink`, with every node in it."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"redis://:{self._password}@{hosts}?cluster=true"

    def start(self) -> Self:
        """Start the servers, join them, and wait until every slot is served and every primary has its replica."""
        for _ in range(2 * self._primaries):
            self._server(
                "cluster-enabled yes",
                f"cluster-node-timeout {int(self._node_timeout * 1000)}",
                "cluster-announce-ip 127.0.0.1",
                "repl-diskless-sync-delay 0",
                port=_port_with_bus(),
            )
        clients = [self.client(server) for server in self.servers]
        for nth, client in enumerate(clients):
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", nth + 1)
            client.execute_command("CLUSTER MEET", "127.0.0.1", self.servers[0].port)
        step = -(-16384 // self._primaries)
        for nth, client in enumerate(clients[: self._primaries]):
            first, last = nth * step, min(16384, (nth + 1) * step) - 1
            client.execute_command("CLUSTER ADDSLOTS", *range(first, last + 1))
        names = [client.execute_command("CLUSTER MYID") for client in clients]
        for nth in range(self._primaries):
            replica = clients[self._primaries + nth]
            _until(partial(_knows, replica, names[nth]), "nodes to meet")
            replica.execute_command("CLUSTER REPLICATE", names[nth])
        _until(lambda: all(_cluster_ok(client) for client in clients), "the cluster to be complete")
        _until(
            lambda: all(_replicas(client) == 1 for client in clients[: self._primaries]),
            "replicas to connect",
        )
        for client in clients:
            client.close()
        return self

    def primary_of(self, key: str) -> Redis:
        """Return the server that is the primary of `key` now.

        Args:
            key: a key.
        """
        from redis.crc import key_slot

        slot = key_slot(key.encode())
        for server in self.servers:
            if not server.running:
                continue
            with self.client(server) as client:
                for first, last, (_, port, *_), *_ in client.execute_command("CLUSTER SLOTS"):
                    if first <= slot <= last:
                        return next(each for each in self.servers if each.port == port)
        raise ServerError("no node of the cluster answers")


class RedisSentinel(_Group):
    """A primary with replicas on loopback, watched by sentinels.

    ::

        with RedisSentinel() as group:
            link = RedisLink(group.url)
            group.primary.kill()

    Args:
        replicas: servers that follow the primary.
        sentinels: processes that watch it; two of three decide.
        down_after: seconds until a silent primary counts as down.
        binary: the program to run; None for the one found first.
    """

    def __init__(
        self, replicas: int = 1, *, sentinels: int = 3, down_after: float = 1.0, binary: Path | None = None
    ) -> None:
        super().__init__(binary)
        self._replicas = replicas
        self._count = sentinels
        self._down_after = down_after
        self.sentinels: list[Redis] = []

    @property
    def url(self) -> str:
        """The URL for :class:`~prodkit.redis.RedisLink`, with every sentinel in it."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.sentinels)
        return f"redis://:{self._password}@{hosts}/0?sentinel=group&sentinel_password={self._password}"

    @property
    def primary(self) -> Redis:
        """The server that the sentinels name as the primary."""
        for sentinel in self.sentinels:
            with self.client(sentinel) as client:
                _, port = client.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", "group")
                return next(each for each in self.servers if each.port == int(port))
        raise ServerError("no sentinel answers")

    def start(self) -> Self:
        """Start the servers, and wait until the sentinels know each other and the replicas."""
        first = self._server("repl-diskless-sync-delay 0")
        for _ in range(self._replicas):
            self._server("repl-diskless-sync-delay 0", f"replicaof 127.0.0.1 {first.port}")
        with self.client(first) as client:
            _until(
                lambda: client.info("replication")["connected_slaves"] == self._replicas,
                "replicas to connect",
            )
        for _ in range(self._count):
            self.sentinels.append(self._stack.enter_context(self._sentinel(first)))
        for sentinel in self.sentinels:
            with self.client(sentinel) as client:
                _until(partial(self._settled, client), "the sentinels to meet")
        return self

    def _settled(self, client: Any) -> bool:
        facts = client.execute_command("SENTINEL MASTER", "group")
        if isinstance(facts, list):
            facts = dict(zip(facts[::2], facts[1::2], strict=True))
        return (
            int(facts["num-slaves"]) == self._replicas
            and int(facts["num-other-sentinels"]) == self._count - 1
        )

    def _sentinel(self, primary: Redis) -> Redis:
        quorum = self._count // 2 + 1
        lines = (
            f"requirepass {self._password}",
            f"sentinel sentinel-pass {self._password}",
            f"sentinel monitor group 127.0.0.1 {primary.port} {quorum}",
            f"sentinel auth-pass group {self._password}",
            f"sentinel down-after-milliseconds group {int(self._down_after * 1000)}",
            "sentinel failover-timeout group 5000",
        )
        return Redis(binary=self._binary, config=lines, password=self._password, sentinel=True)

    def stop(self) -> None:
        """Stop every server and sentinel."""
        self.sentinels.clear()
        super().stop()


def _cluster_ok(client: Any) -> bool:
    info = client.execute_command("CLUSTER INFO")
    text = info if isinstance(info, dict) else dict(line.split(":") for line in info.split() if ":" in line)
    return text.get("cluster_state") == "ok"


def _replicas(client: Any) -> object:
    return client.info("replication").get("connected_slaves")


def _knows(client: Any, name: str) -> bool:
    return name in str(client.execute_command("CLUSTER NODES"))


def _port_with_bus() -> int:
    """Return a free port whose cluster bus, 10 000 above, is a port as well."""
    while True:
        port = free_port()
        if port < 55_000:
            return port


def _until(condition: Callable[[], object], what: str, limit: float = 20.0) -> None:
    ends = time.monotonic() + limit
    while True:
        try:
            if condition():
                return
        except Exception as error:  # noqa: BLE001 - it may still be starting
            problem: Exception | None = error
        else:
            problem = None
        if time.monotonic() > ends:
            raise ServerError(f"waited {limit:g} s for {what}: {problem!r}")
        time.sleep(0.05)
