"""An open page hears that the database is away, and that it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Self

import pytest

from advisory.routes.outages import with_outages
from advisory.store.listener import Listener
from prodkit.progress import Progress
from prodkit.testing import virtual_time


class Database:
    """Lends a connection that can be lost, unless it is away."""

    def __init__(self) -> None:
        self.away = False
        self.ended: Any = None

    def acquire(self) -> Database:
        return self

    async def __aenter__(self) -> Self:
        if self.away:
            raise ConnectionRefusedError
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def add_listener(self, *_: object) -> None: ...

    async def remove_listener(self, *_: object) -> None: ...

    def add_termination_listener(self, ended: Any) -> None:
        self.ended = ended

    def remove_termination_listener(self, *_: object) -> None: ...

    def restart(self) -> None:
        self.away = True
        self.ended()


@virtual_time
async def test_an_outage_of_more_than_two_seconds_is_shown_with_its_end():
    db = Database()
    listener = Listener(db)  # type: ignore[arg-type]
    stop = listener.listen((), lambda *_: None)
    steps: asyncio.Queue[Progress] = asyncio.Queue()

    async def source() -> AsyncGenerator[Progress, None]:
        while True:
            yield await steps.get()

    seen: list[tuple[float, int, str, Any]] = []
    clock = asyncio.get_running_loop().time
    began = clock()

    async def watch() -> None:
        async with aclosing(with_outages(source(), listener, 3)) as found:
            async for each in found:
                seen.append((round(clock() - began, 1), each.id, each.name, each.data))  # noqa: PERF401

    watching = asyncio.create_task(watch())
    await asyncio.sleep(1)
    steps.put_nowait(Progress(4, "passo", {}))
    await asyncio.sleep(1)
    db.restart()  # short: no word
    await asyncio.sleep(1)
    db.away = False
    await asyncio.sleep(7)
    db.restart()
    await asyncio.sleep(10)
    db.away = False
    await asyncio.sleep(1)
    steps.put_nowait(Progress(5, "passo", {}))
    await asyncio.sleep(0.1)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    stop()
    assert seen == [
        (1.0, 4, "passo", {}),
        (12.0, 4, "espera", {"away": True}),
        (20.0, 4, "espera", {"away": False}),
        (21.0, 5, "passo", {}),
    ]


@virtual_time
async def test_the_steps_end_the_stream_and_their_error_is_its_error():
    listener = Listener(Database())  # type: ignore[arg-type]

    async def two() -> AsyncGenerator[Progress, None]:
        yield Progress(1, "passo", {})
        yield Progress(2, "passo", {})

    assert [each.id async for each in with_outages(two(), listener, 0)] == [1, 2]

    async def broken() -> AsyncGenerator[Progress, None]:
        yield Progress(1, "passo", {})
        raise OSError("a bug")

    with pytest.raises(OSError, match="a bug"):
        assert [each.id async for each in with_outages(broken(), listener, 0)]
