"""Show on the page that an attempt waits: "nova tentativa 2 de 3", with the time of the next try."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar

from loguru import logger

from prodkit.core.events import EventStream
from prodkit.llm import LlmScheduled

__all__ = ["announced", "listen"]

Heard = Callable[[LlmScheduled], None]
_HEARD: ContextVar[Heard | None] = ContextVar("advisory_heard", default=None)


def listen(events: EventStream) -> Callable[[], None]:
    """Hand each scheduled attempt to the step that waits for it. Returns the function that ends this."""

    def heard(event: LlmScheduled) -> None:
        step = _HEARD.get()  # events are emitted in the task of the call
        if step is not None:
            step(event)

    return events.subscribe(heard, LlmScheduled)


@asynccontextmanager
async def announced(report: Callable[[LlmScheduled], Awaitable[None]]) -> AsyncIterator[None]:
    """Call `report` with each attempt that is scheduled within the block; the block ends after the last report.

    A report that fails is logged and lost.
    """
    reports: set[asyncio.Task[None]] = set()

    async def quietly(event: LlmScheduled) -> None:
        try:
            await report(event)
        except Exception as error:  # noqa: BLE001 - the answer matters more than the note about its delay
            logger.warning("a waiting attempt was not shown ({})", type(error).__name__)

    def heard(event: LlmScheduled) -> None:
        reports.add(asyncio.get_running_loop().create_task(quietly(event)))

    token = _HEARD.set(heard)
    try:
        yield
    finally:
        _HEARD.reset(token)
        await asyncio.gather(*reports, return_exceptions=True)
