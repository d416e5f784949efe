"""Real PostgreSQL and Redis, started by us and never left behind."""

from __future__ import annotations

from prodkit.testing.servers.binaries import postgres_binary, postgres_installations
from prodkit.testing.servers.errors import DirectoryInUseError, ServerError
from prodkit.testing.servers.postgres import Postgres
from prodkit.testing.servers.redis import Redis, redis_binaries
from prodkit.testing.servers.redis_groups import RedisCluster, RedisSentinel

__all__ = [
    "DirectoryInUseError",
    "Postgres",
    "Redis",
    "RedisCluster",
    "RedisSentinel",
    "ServerError",
    "postgres_binary",
    "postgres_installations",
    "redis_binaries",
]
