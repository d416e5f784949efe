"""The time of a request: the limit, the shorter wish of a trusted peer, and whose cancellation it was."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from prodkit.core.deadline import Deadline
from prodkit.errors import DeadlineExceededError
from prodkit.testing import virtual_time
from prodkit.web import DeadlineMiddleware
from prodkit.web.proxy import ProxyMiddleware

Work = Callable[[Any], Awaitable[None]]


async def serve(
    work: Work,
    seconds: float | None = 5,
    *,
    wish: str = "",
    trusted: bool = True,
    path: str = "/",
    layer: Any = None,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await work(send)

    async def send(message: Any) -> None:
        return None

    scope = {
        "type": "http",
        "path": path,
        "client": ("10.0.0.1", 1),
        "headers": [(b"x-deadline-ms", wish.encode())] if wish else [],
    }
    guarded = layer or DeadlineMiddleware(app, seconds=seconds, skip=["/slow"])
    await ProxyMiddleware(guarded, trusted=["10.0.0.1"] if trusted else [])(scope, send, send)


async def remaining(**options: Any) -> float | None:
    """Return the time that a handler sees."""
    found: list[Deadline | None] = []

    async def work(send: Any) -> None:
        found.append(Deadline.current())

    await serve(work, **options)
    return None if found[0] is None else round(found[0].remaining(), 3)


@virtual_time
async def test_the_time_that_a_handler_has() -> None:
    assert await remaining() == 5
    assert await remaining(seconds=None) is None
    assert await remaining(path="/slow/report") is None
    assert await remaining(wish="1500") == 1.5  # milliseconds
    assert await remaining(wish="90000") == 5  # a wish only shortens
    assert await remaining(seconds=None, wish="90000") == 90
    assert await remaining(wish="-3") == 0.001
    assert await remaining(wish="1500", trusted=False) == 5


@pytest.mark.parametrize("wish", ["nan", "inf", "-inf", "soon", "1e999"])
def test_a_wish_that_is_no_number_is_ignored(wish: str) -> None:
    assert virtual_time(remaining(wish=wish)) == 5


@virtual_time
async def test_a_handler_is_cancelled_at_its_deadline() -> None:
    began = asyncio.get_running_loop().time()
    with pytest.raises(DeadlineExceededError, match="5 s"):
        await serve(lambda send: asyncio.sleep(60))
    assert asyncio.get_running_loop().time() - began == pytest.approx(5, abs=0.1)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@virtual_time
async def test_a_response_that_has_begun_is_not_cut() -> None:
    async def streams(send: Any) -> None:
        await send({"type": "http.response.start"})
        await asyncio.sleep(60)

    await serve(streams)


@virtual_time
async def test_the_cancellation_of_another_stays_a_cancellation() -> None:
    serving = asyncio.create_task(serve(lambda send: asyncio.sleep(60)))
    await asyncio.sleep(1)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


@virtual_time
async def test_a_handler_that_swallows_the_cancellation_leaves_no_trace() -> None:
    async def stubborn(send: Any) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return

    await serve(stubborn)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@virtual_time
async def test_requests_that_overlap_each_have_their_whole_time() -> None:
    """One timer serves all of them: it has to be set again after the first one."""
    ended: dict[str, float] = {}
    sleeps = {"a": 60.0, "b": 1.0, "c": 60.0}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(sleeps[scope["path"]])

    shared = DeadlineMiddleware(app, seconds=5)

    async def request(name: str, start: float) -> None:
        await asyncio.sleep(start)
        began = asyncio.get_running_loop().time()
        with contextlib.suppress(DeadlineExceededError):
            await serve(lambda send: asyncio.sleep(0), path=name, layer=shared)
        ended[name] = round(asyncio.get_running_loop().time() - began, 1)

    await asyncio.gather(request("a", 0), request("b", 1), request("c", 3))
    assert ended == {"a": 5.0, "b": 1.0, "c": 5.0}


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), "5"])
def test_a_deadline_is_a_positive_number_of_seconds(seconds: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="seconds"):
        DeadlineMiddleware(lambda *_: asyncio.sleep(0), seconds=seconds)
