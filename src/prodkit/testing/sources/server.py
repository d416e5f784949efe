"""The HTTP server of one simulated source: asyncio streams, one behaviour a request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from prodkit.testing.anthropic.wire import BrokenError, head, reset
from prodkit.testing.sources.behaviour import Behaviour
from prodkit.testing.sources.reply import Api, Query, Reply
from prodkit.testing.sources.state import Received, State

__all__ = ["Server"]

_HTML: Final = b"<!doctype html><title>Bad gateway</title><h1>The page is not here</h1>"
_NEVER: Final = 3600.0
_MAX_BODY: Final = 2**20
_PIECES: Final = 20


@dataclass(slots=True)
class Server:
    """Serves one API on one port."""

    api: Api
    state: State = field(default_factory=State)
    url: str = ""

    async def start(self, host: str, port: int) -> str:
        """Listen and return the base URL; port 0 takes a free one."""
        listening = await asyncio.start_server(self._connection, host, port, limit=2**20, backlog=256)
        name, number = listening.sockets[0].getsockname()[:2]
        self.url = f"http://[{name}]:{number}" if ":" in name else f"http://{name}:{number}"
        return self.url

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (
            ConnectionError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            ValueError,
            BrokenError,
        ):
            pass  # the client went away, sent nonsense, or the behaviour cut the connection
        finally:
            writer.close()
            with suppress(Exception):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        except asyncio.IncompleteReadError:
            return False
        method, target, _ = first.split(" ", 2)
        headers = {
            name.strip().lower(): value.strip()
            for name, colon, value in (each.partition(":") for each in lines)
            if colon
        }
        length = int(headers.get("content-length", "0"))
        if length > _MAX_BODY:
            raise ValueError("the body is too large")
        content = await reader.readexactly(length)
        parts = urlsplit(target)
        if parts.path.startswith("/_control/"):
            status, result = self._control(parts.path.rpartition("/")[2], content)
            await _send(writer, Reply(status=status, data=result))
            return True
        body: Any = None
        with suppress(ValueError):
            body = json.loads(content) if content else None
        query = Query(
            method=method,
            path=unquote(parts.path),
            parameters=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers=headers,
            body=body,
            base=self.url,
        )
        await self._answer(query, reader, writer)
        return True

    async def _answer(self, query: Query, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behaviour = self.state.next_behaviour()
        entry = self.state.begin(
            query.method, query.path, query.parameters, query.headers, query.body, behaviour.kind
        )
        work = asyncio.ensure_future(self._respond(query, entry, behaviour, writer))
        gone = asyncio.ensure_future(_gone(reader))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self.state.finish(entry, "aborted")
                raise BrokenError
            work.result()
            self.state.finish(entry, "done")
        except ConnectionError:
            self.state.finish(entry, "aborted")
            raise
        finally:
            self.state.finish(entry, "broken")
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _respond(
        self, query: Query, entry: Received, behaviour: Behaviour, writer: asyncio.StreamWriter
    ) -> None:
        if behaviour.seconds and behaviour.kind != "drip":
            await asyncio.sleep(behaviour.seconds)
        match behaviour.kind:
            case "hang":
                await asyncio.sleep(_NEVER)
            case "reset":
                reset(writer)
            case _:
                reply = self._reply(query, behaviour)
                entry.status = reply.status
                headers = {**reply.headers, **behaviour.headers}
                if behaviour.retry_after:
                    headers["retry-after"] = behaviour.retry_after
                await _send(writer, reply, headers, behaviour)

    def _reply(self, query: Query, behaviour: Behaviour) -> Reply:
        match behaviour.kind:
            case "status":
                return self.api.error(behaviour.status)
            case "quota":
                return self.api.quota()
            case "html":
                return Reply(status=behaviour.status, content=_HTML, media_type="text/html")
            case "bad_json":
                return Reply(content=b'{"items": [{"id": ')
            case "body":
                return Reply(content=behaviour.body.encode("utf-8", "surrogatepass"))
            case "other_shape":
                return Reply(data={"unexpected": [1, 2, None]})
        if not self.state.spend(self.api.units(query)):
            return self.api.quota()
        return self.api.answer(query, empty=behaviour.kind == "empty", left=self.state.left)

    def _control(self, command: str, content: bytes) -> tuple[int, dict[str, Any]]:
        try:
            given = json.loads(content) if content else {}
            match command:
                case "script":
                    self.state.script(given["behaviours"])
                case "always":
                    self.state.always(given["behaviour"])
                case "storm":
                    self.state.storm(given["behaviour"], float(given["seconds"]))
                case "quota":
                    self.state.quota = given["units"]
                case "reset":
                    self.state.reset()
                case "state":
                    return 200, self.state.as_json(requests=given.get("requests", True))
                case _:
                    return 404, {"problem": f"no such command: {command}"}
        except (KeyError, TypeError, ValueError) as error:
            return 400, {"problem": str(error)}
        return 200, {}


async def _send(
    writer: asyncio.StreamWriter,
    reply: Reply,
    headers: Mapping[str, str] | None = None,
    behaviour: Behaviour | None = None,
) -> None:
    content = json.dumps(reply.data, ensure_ascii=False).encode() if reply.content is None else reply.content
    kind = "ok" if behaviour is None else behaviour.kind
    claimed = len(content) + (100 if kind == "short_body" else 0)
    fields = {"content-type": reply.media_type, **(headers or reply.headers), "content-length": str(claimed)}
    writer.write(head(reply.status, fields))
    if kind == "drip" and behaviour is not None:
        size = max(1, -(-len(content) // _PIECES))
        for at in range(0, len(content), size):
            writer.write(content[at : at + size])
            await writer.drain()
            await asyncio.sleep(behaviour.seconds)
    elif kind == "mid_reset":
        writer.write(content[: len(content) // 2])
        await writer.drain()
        await asyncio.sleep(0.05)  # the first half arrives before the reset does
        reset(writer)
    else:
        writer.write(content)
    await writer.drain()
    if kind == "short_body":
        raise BrokenError


async def _gone(reader: asyncio.StreamReader) -> None:
    """Return when the client closes; no client pipelines here."""
    while not reader.at_eof() and reader.exception() is None:  # noqa: ASYNC110 - a StreamReader has no event
        await asyncio.sleep(0.02)
