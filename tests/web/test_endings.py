"""Streams and sockets end with a reason: the drain, the end of the session, a lifetime, the end of the source."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from prodkit import web
from prodkit.progress import Channel
from prodkit.sessions import MemoryStore, Sessions
from prodkit.testing import virtual_time

SECRET = "made-up-secret-of-more-than-32-characters"


class Served:
    """An app with one stream and one socket, called as a server calls it."""

    def __init__(self, **stream: Any) -> None:
        self.channel = Channel()
        self.drain = web.Drain()
        self.accounts = Sessions(MemoryStore(), secret=SECRET)
        self.codes: list[int] = []

        async def events(request: Request) -> Response:
            after = web.last_event_id(request)
            return web.EventStream(self.channel.subscribe("t", after=after, until={"done"}), **stream)

        async def talk(socket: WebSocket) -> None:
            await socket.accept()
            try:
                while True:
                    await socket.receive_text()
            except WebSocketDisconnect as error:
                self.codes.append(error.code)

        self.app = Starlette(routes=[Route("/events", events), WebSocketRoute("/talk", talk)])
        web.install(self.app, sessions=self.accounts, drain=self.drain)

    async def signed_in(self) -> bytes:
        session = await self.accounts.open([])
        session.login("7")
        return str(await self.accounts.save(session)).split(";")[0].encode()

    def open(self, path: str, cookie: bytes = b"", last: int = 0) -> tuple[asyncio.Task[None], list[Any]]:
        sent: list[Any] = []
        kind = "websocket" if path == "/talk" else "http"
        headers = [(b"host", b"h"), (b"origin", b"https://h"), (b"cookie", cookie)]
        if last:
            headers.append((b"last-event-id", str(last).encode()))
        scope = {
            "type": kind, "method": "GET", "path": path, "headers": headers, "query_string": b"", "root_path": "",
            "scheme": "wss" if kind == "websocket" else "https", "http_version": "1.1", "state": {},
        }  # fmt: skip
        first = [
            {"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request", "body": b""}
        ]

        async def receive() -> Any:
            if first:
                return first.pop()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Any) -> None:
            sent.append(message)

        return asyncio.create_task(self.app(scope, receive, send)), sent


def body(sent: list[Any]) -> str:
    return b"".join(message.get("body", b"") for message in sent).decode()


@virtual_time
async def test_the_end_of_a_session_ends_its_streams_and_sockets_and_no_other() -> None:
    served = Served()
    cookie, other = await served.signed_in(), await served.signed_in()
    stream, sent = served.open("/events", cookie)
    socket, frames = served.open("/talk", cookie)
    staying, _ = served.open("/events", other)
    anonymous, _ = served.open("/events")
    await asyncio.sleep(30)
    kept = await served.accounts.open([other])
    await served.accounts.end_all("7", keep=kept)
    async with asyncio.timeout(1):
        await asyncio.gather(stream, socket)
    assert body(sent).endswith('event: closing\ndata: {"reason":"session_ended"}\n\n')
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert frames[-1] == {"type": "websocket.close", "code": 1008, "reason": "session_ended"}
    assert served.codes == [1008]
    assert not staying.done()
    assert not anonymous.done()
    served.drain.begin()
    await asyncio.gather(staying, anonymous)


@virtual_time
async def test_the_drain_given_to_install_ends_streams_and_sockets() -> None:
    served = Served()
    stream, sent = served.open("/events")
    socket, frames = served.open("/talk")
    await asyncio.sleep(30)
    served.drain.begin()
    async with asyncio.timeout(1):
        await asyncio.gather(stream, socket)
    assert body(sent).endswith('event: closing\ndata: {"reason":"draining"}\n\n')
    assert frames[-1] == {"type": "websocket.close", "code": 1012, "reason": "draining"}
    assert served.codes == [1012]


@virtual_time
async def test_a_stream_may_have_a_lifetime() -> None:
    served = Served(lifetime=60)
    stream, sent = served.open("/events")
    async with asyncio.timeout(61):
        await stream
    assert body(sent).endswith('event: closing\ndata: {"reason":"deadline"}\n\n')


@virtual_time
async def test_a_browser_that_has_the_end_gets_204() -> None:
    served = Served()
    for name in ("step", "step", "done"):
        await served.channel.publish("t", name)
    for last, status in ((0, 200), (2, 200), (3, 204)):
        stream, sent = served.open("/events", last=last)
        async with asyncio.timeout(1):
            await stream
        assert sent[0]["status"] == status
        names = {name for name, _ in sent[0]["headers"]}
        assert (b"content-type" in names) == (status == 200)
        assert ("event: done" in body(sent)) == (status == 200)
