"""A second request when the first content is slow to come: how often it is allowed, and the race."""

from __future__ import annotations

import asyncio

from prodkit.llm.classify import Failure
from prodkit.llm.source import Source
from prodkit.llm.ticket import FaultError
from prodkit.llm.wire import Send

__all__ = ["race"]


async def race(first: Source, send: Send, hedge_after: float) -> Source:
    """Opens `first`, and a second one when it shows no content within `hedge_after` seconds; the sooner one wins.

    The loser is cancelled and its connection closed before this returns. Cancelling this cancels both.

    Raises:
        FaultError: both failed; the one of `first` is not settled yet, the other is.
    """
    call = first.ticket.call
    tasks = {asyncio.ensure_future(first.open(send)): first}
    second: Source | None = None
    fault: FaultError | None = None
    try:
        await asyncio.wait(tasks, timeout=hedge_after)
        if not any(task.done() for task in tasks) and (ticket := call.hedge(first.ticket)) is not None:
            second = Source(ticket)
            tasks[asyncio.ensure_future(second.open(send))] = second
        while tasks:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                source = tasks.pop(task)
                error = task.exception()
                if error is None:
                    return source
                if not isinstance(error, FaultError):
                    raise error
                fault = fault if source is second and fault is not None else error
                if tasks or source is second:
                    await _retire(source, error.failure)
        assert fault is not None
        raise fault
    finally:
        for task, source in tasks.items():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await _retire(source, None)


async def _retire(source: Source, failure: Failure | None) -> None:
    try:
        await source.discard()
    finally:
        source.ticket.settle(failure, source.usage(), cancelled=failure is None)
