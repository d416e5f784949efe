"""The SharedState contract on a real Redis."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from prodkit.policies import SharedState
from prodkit.redis import RedisLink, SharedBreakers
from prodkit.testing.contracts import SharedStateContract

pytestmark = pytest.mark.integration


class TestSharedBreakers(SharedStateContract):
    url = ""

    @pytest.fixture(autouse=True)
    def _server(self, redis_server: Any) -> None:
        self.url = redis_server.url

    @asynccontextmanager
    async def two_processes(self) -> AsyncIterator[tuple[SharedState, SharedState]]:
        namespace = secrets.token_hex(4)
        async with RedisLink(self.url, timeout=1) as one, RedisLink(self.url, timeout=1) as other:
            here, there = (SharedBreakers(link, namespace=namespace) for link in (one, other))
            async with here, there:
                async with asyncio.timeout(5):
                    while not (here._listening and there._listening):
                        await asyncio.sleep(0.01)
                yield here, there
