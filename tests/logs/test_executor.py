from __future__ import annotations

import asyncio

from prodkit import Deadline, logs
from prodkit.logs import current


async def test_work_in_the_executor_keeps_the_fields_and_the_deadline() -> None:
    loop = asyncio.get_running_loop()

    def work() -> tuple[dict[str, object], bool]:
        return dict(current()), Deadline.current() is not None

    with logs.ContextExecutor(max_workers=1) as executor:
        with logs.context(request_id="r-1"), Deadline.after(5):
            found = await loop.run_in_executor(executor, work)
        assert found == ({"request_id": "r-1"}, True)
        assert await loop.run_in_executor(executor, work) == ({}, False)  # nothing is left in the thread
