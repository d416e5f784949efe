"""An open page learns that the database is away, and that it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

from advisory.store.listener import Listener
from prodkit.progress import Progress

__all__ = ["AWAY", "with_outages"]

AWAY: Final = "espera"
"""The event's name; its data is ``{"away": true}``, later ``{"away": false}``."""


async def with_outages(
    steps: AsyncGenerator[Progress, None], listener: Listener, after: int
) -> AsyncIterator[Progress]:
    """Yield the steps, and between them the outages of the database, under the number of the step before::

    step 7 ── database lost, 2 s ──► espera(7, away) ── found ──► espera(7, not away) ── step 8 …
    """
    away = False
    loop = asyncio.get_running_loop()
    async with aclosing(steps):
        step = loop.create_task(anext(steps, None))
        change = loop.create_task(listener.away())
        try:
            while True:
                await asyncio.wait((step, change), return_when=asyncio.FIRST_COMPLETED)
                if step.done():
                    found = step.result()
                    if found is None:
                        return
                    after = found.id
                    yield found
                    step = loop.create_task(anext(steps, None))
                else:
                    away = not away
                    yield Progress(after, AWAY, {"away": away})
                    change = loop.create_task(listener.back() if away else listener.away())
        finally:
            for task in (step, change):
                task.cancel()
            await asyncio.wait((step, change))
