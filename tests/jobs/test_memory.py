"""The contract of engines on the one in memory, on virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prodkit import jobs
from prodkit.testing import virtual_time
from prodkit.testing.contracts import JobsContract


class TestMemoryEngine(JobsContract):
    @asynccontextmanager
    async def engine(self) -> AsyncIterator[jobs.MemoryEngine]:
        yield jobs.MemoryEngine()


for _name in [name for name in dir(JobsContract) if name.startswith("test_")]:
    setattr(TestMemoryEngine, _name, virtual_time(getattr(JobsContract, _name)))
