"""The shutdown notice: who waits for it, how a signal is passed on, and what answers say while it runs."""

from __future__ import annotations

import asyncio
import signal
from typing import Any, Self

import pytest

from prodkit import Runtime
from prodkit.testing import virtual_time
from prodkit.testing.events import EventLog
from prodkit.web import Drain, DrainMiddleware
from prodkit.web.drain import DrainStarted


@virtual_time
async def test_everything_that_waits_is_notified_once() -> None:
    runtime = Runtime()
    drain = Drain(runtime=runtime)
    waiting = [asyncio.create_task(drain.wait()) for _ in range(3)]
    gone = asyncio.create_task(drain.wait())
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    with EventLog(runtime.events) as log:
        drain.begin()
        drain.begin()
        await asyncio.gather(*waiting)
    assert log.only(DrainStarted).waiting == 3  # a waiter that was cancelled is none
    await drain.wait()  # afterwards there is nothing to wait for
    assert drain.begun
    assert repr(drain) == "Drain(begun=True, delay=0, waiting=0)"


class Signals:
    """A server's own handler around a drain, and the instants at which it ran."""

    def __init__(self) -> None:
        self.reached: list[float] = []

    def __enter__(self) -> Self:
        self.before = signal.signal(signal.SIGTERM, lambda *_: self.reached.append(loop_time()))
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self.before)


def loop_time() -> float:
    return asyncio.get_running_loop().time()


@virtual_time
async def test_a_signal_begins_it_at_once_and_reaches_the_server_after_the_delay() -> None:
    with Signals() as server:
        drain, began = Drain(delay=10), loop_time()
        with drain.on_signals([signal.SIGTERM]):
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(9)
            assert drain.begun
            assert server.reached == []
            await asyncio.sleep(2)
        assert [at - began for at in server.reached] == [pytest.approx(10, abs=0.1)]


@virtual_time
async def test_a_second_signal_is_passed_on_at_once() -> None:
    with Signals() as server:
        drain = Drain(delay=1000)
        with drain.on_signals([signal.SIGTERM]):
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(1)
            signal.raise_signal(signal.SIGTERM)
            assert len(server.reached) == 1
        await asyncio.sleep(2000)
        assert len(server.reached) == 1  # what was delayed ended with the block


@virtual_time
async def test_without_a_delay_the_server_gets_the_signal_itself() -> None:
    with Signals() as server:
        drain = Drain()
        with drain.on_signals([signal.SIGTERM]) as same:
            assert same is drain
            signal.raise_signal(signal.SIGTERM)
            assert len(server.reached) == 1
            await asyncio.sleep(0)
            assert drain.begun


@virtual_time
async def test_the_handlers_from_before_are_back_afterwards() -> None:
    with Signals():
        before = signal.getsignal(signal.SIGTERM)
        with Drain().on_signals([signal.SIGTERM]):
            assert signal.getsignal(signal.SIGTERM) is not before
        assert signal.getsignal(signal.SIGTERM) is before


@virtual_time
async def test_outside_the_main_thread_the_block_only_runs() -> None:
    before = signal.getsignal(signal.SIGTERM)

    async def block() -> Any:
        with Drain().on_signals():
            return signal.getsignal(signal.SIGTERM)

    assert await asyncio.to_thread(asyncio.run, block()) is before


@pytest.mark.parametrize(
    ("version", "begun", "closes"),
    [("1.1", False, False), ("1.1", True, True), ("1.0", True, True), ("2", True, False)],
)
async def test_answers_close_their_connection_while_it_runs(version: str, begun: bool, closes: bool) -> None:
    drain = Drain()
    if begun:
        drain.begin()
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["prodkit.drain"] is drain
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    await DrainMiddleware(app, drain=drain)({"type": "http", "http_version": version}, send, send)
    assert ((b"connection", b"close") in sent[0]["headers"]) is closes


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), "10"])
def test_a_delay_is_a_number_of_seconds(delay: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="delay"):
        Drain(delay=delay)
