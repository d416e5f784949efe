"""The contract of engines on PgQueuer and a real PostgreSQL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from prodkit import jobs, postgres
from prodkit.testing.contracts import JobsContract

pytestmark = pytest.mark.integration


class TestPostgresEngine(JobsContract):
    @pytest.fixture(autouse=True)
    def _database(self, postgres_url):
        self.url = postgres_url

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[jobs.PostgresEngine]:
        async with postgres.Pool(self.url, min_size=1, max_size=10) as db:
            await jobs.install(db)
            yield jobs.PostgresEngine(db)
