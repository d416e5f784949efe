"""WebSockets at the drain: the code, the order of messages, and what the handler sees."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prodkit.testing import virtual_time
from prodkit.web import Drain, SocketMiddleware


class Socket:
    """A client that sends nothing, and a handler that does."""

    def __init__(self, drain: Drain | None) -> None:
        self.sent: list[Any] = []
        self.seen: list[Any] = []
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.layer = SocketMiddleware(self.app, drain=drain)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            self.seen.append(message)
            if message["type"] == "websocket.disconnect":
                return

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def run(self, kind: str = "websocket") -> None:
        await self.layer({"type": kind}, self.incoming.get, self.send)


@virtual_time
async def test_the_drain_closes_an_open_socket_with_1012() -> None:
    drain = Drain()
    socket = Socket(drain)
    serving = asyncio.create_task(socket.run())
    await asyncio.sleep(1)
    drain.begin()
    await asyncio.wait_for(serving, 1)
    close = {"type": "websocket.close", "code": 1012, "reason": "draining"}
    assert socket.sent == [{"type": "websocket.accept"}, close]
    assert socket.seen == [{"type": "websocket.disconnect", "code": 1012, "reason": ""}]
    assert len(asyncio.all_tasks()) == 1  # no watcher is left


@virtual_time
async def test_a_socket_opened_while_draining_is_accepted_before_it_is_closed() -> None:
    class Late(Socket):
        async def app(self, scope: Any, receive: Any, send: Any) -> None:
            await asyncio.sleep(1)  # looks the visitor up first
            await super().app(scope, receive, send)

    drain = Drain()
    drain.begin()
    socket = Late(drain)
    await asyncio.wait_for(socket.run(), 5)
    assert [message["type"] for message in socket.sent] == ["websocket.accept", "websocket.close"]


@virtual_time
async def test_messages_pass_and_a_client_that_leaves_ends_the_watchers() -> None:
    socket = Socket(Drain())
    text = {"type": "websocket.receive", "text": "hello"}
    gone = {"type": "websocket.disconnect", "code": 1001}
    socket.incoming.put_nowait(text)
    socket.incoming.put_nowait(gone)
    await asyncio.wait_for(socket.run(), 1)
    assert socket.seen == [text, gone]
    assert len(asyncio.all_tasks()) == 1


@virtual_time
async def test_sending_to_a_closed_socket_is_an_os_error_as_servers_raise_it() -> None:
    drain = Drain()

    class Talker(Socket):
        async def app(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.accept"})
            while True:
                await send({"type": "websocket.send", "text": "tick"})
                await asyncio.sleep(1)

    socket = Talker(drain)
    serving = asyncio.create_task(socket.run())
    await asyncio.sleep(2.5)
    drain.begin()
    with pytest.raises(OSError, match="closed"):
        await asyncio.wait_for(serving, 5)
    assert socket.sent[-1]["code"] == 1012


@virtual_time
async def test_a_socket_that_the_handler_closed_is_not_closed_again() -> None:
    drain = Drain()

    class Closer(Socket):
        async def app(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 4000})
            await asyncio.sleep(5)

    socket = Closer(drain)
    serving = asyncio.create_task(socket.run())
    await asyncio.sleep(1)
    drain.begin()
    await serving
    assert [message.get("code") for message in socket.sent] == [None, 4000]


@virtual_time
async def test_without_a_drain_and_without_a_session_nothing_stands_between() -> None:
    socket = Socket(None)
    passed: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append((receive, send))

    receive, send = socket.incoming.get, socket.send
    await SocketMiddleware(app)({"type": "websocket"}, receive, send)
    await SocketMiddleware(app, drain=Drain())({"type": "http"}, receive, send)
    assert passed == [(receive, send), (receive, send)]
