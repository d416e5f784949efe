"""One request being answered: errors, whole bodies, streams and files, each with the fault of its behaviour."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from prodkit.testing.anthropic.behaviour import Behaviour
from prodkit.testing.anthropic.providers import AMAZON, AmazonChunks
from prodkit.testing.anthropic.reply import Reply
from prodkit.testing.anthropic.resources import Content
from prodkit.testing.anthropic.state import Received
from prodkit.testing.anthropic.steps import error_body, steps
from prodkit.testing.anthropic.wire import BrokenError, Chunks, head, reset

__all__ = ["Exchange", "send"]

_HTML: Final = b"<!doctype html><title>Bad gateway</title><h1>The page is not here</h1>"
_JSON: Final = "application/json"
_NEVER: Final = 3600.0
_PIECE: Final = 16 * 2**10
_RANGE: Final = re.compile(r"bytes=(\d+)-")


async def send(
    writer: asyncio.StreamWriter,
    status: int,
    content: bytes,
    headers: Mapping[str, str],
    *,
    claimed: int | None = None,
) -> None:
    """Send a whole response; `claimed` is a false ``content-length``."""
    fields = {"content-type": _JSON, **headers, "content-length": str(claimed or len(content))}
    writer.write(head(status, fields) + content)
    await writer.drain()


@dataclass(slots=True)
class Exchange:
    """One request, its behaviour, and the headers of its response; `delay` is the wait between deltas."""

    entry: Received
    behaviour: Behaviour
    writer: asyncio.StreamWriter
    headers: dict[str, str]
    delay: float = 0.0

    async def finish(self, status: int, body: Mapping[str, Any]) -> None:
        """Send `body` as JSON."""
        self.entry.status = status
        await send(self.writer, status, json.dumps(body, ensure_ascii=False).encode(), self.headers)

    async def early(self) -> bool:
        """Handle the behaviours that do not look at the request; return True when the answer is out."""
        behaviour = self.behaviour
        if behaviour.seconds and behaviour.kind != "drip":
            await asyncio.sleep(behaviour.seconds)
        kind = behaviour.kind
        if kind == "hang":
            await asyncio.sleep(_NEVER)
        if kind == "reset":
            reset(self.writer)
        self.headers |= behaviour.headers
        if kind == "status":
            if behaviour.retry_after:
                self.headers["retry-after"] = behaviour.retry_after
            body = error_body(behaviour.status, behaviour.message, behaviour.error_type, behaviour.error_code)
            await self.finish(behaviour.status, body)
        elif kind == "html":
            self.entry.status = behaviour.status
            await send(self.writer, behaviour.status, _HTML, {**self.headers, "content-type": "text/html"})
        elif kind == "bad_json":
            self.entry.status = 200
            await send(self.writer, 200, b'{"id": "msg_sim", "content": [{"ty', self.headers)
        elif kind == "error_200":
            await self.finish(
                200, error_body(529, behaviour.message, behaviour.error_type, behaviour.error_code)
            )
        else:
            return False
        return True

    async def whole(self, reply: Reply) -> None:
        """Send a message as one JSON body."""
        kind, writer = self.behaviour.kind, self.writer
        body: dict[str, Any] = reply.body()
        if kind == "no_usage":
            del body["usage"]
        if kind == "no_content":
            body["content"] = None
        content = json.dumps(body, ensure_ascii=False).encode()
        self.entry.status = 200
        if kind in ("short_body", "mid_reset", "mid_stall"):
            await send(writer, 200, content[: len(content) // 2], self.headers, claimed=len(content))
            await self._break(kind)
        elif kind == "drip":
            fields = {"content-type": _JSON, **self.headers, "content-length": str(len(content))}
            writer.write(head(200, fields))
            for at in range(len(content)):
                writer.write(content[at : at + 1])
                await writer.drain()
                await asyncio.sleep(self.behaviour.seconds)
        else:
            await send(writer, 200, content, self.headers)

    async def stream(self, reply: Reply) -> None:
        """Send a message as Server-Sent Events, or in Amazon's event stream."""
        entry, behaviour, writer = self.entry, self.behaviour, self.writer
        entry.status = 200
        fields = {
            "content-type": AMAZON if entry.binary else "text/event-stream; charset=utf-8",
            "cache-control": "no-cache",
            **self.headers,
        }
        writer.write(head(200, {**fields, "transfer-encoding": "chunked"}))
        await writer.drain()
        delay = self.delay if behaviour.delay is None else behaviour.delay
        sending = AmazonChunks(writer) if entry.binary else Chunks(writer)
        for step, data in steps(reply, behaviour):
            match step:
                case "send":
                    await sending.send(data)
                case "delta":
                    if delay:
                        await asyncio.sleep(delay)
                    await sending.send(data)
                case "drip":
                    for at in range(len(data)):
                        await sending.send(data[at : at + 1])
                        await asyncio.sleep(behaviour.seconds)
                case "silence":
                    await asyncio.sleep(_NEVER)
                case "tick":
                    await sending.send(data)
                    await asyncio.sleep(behaviour.delay or 0.02)
                case "reset":
                    await asyncio.sleep(0.02)  # what was sent before must not be lost to the reset
                    reset(writer)
                case _:
                    raise BrokenError
        await sending.end()

    async def lines(self, lines: list[bytes]) -> None:
        """Send the results of a batch; a fault in mid-body comes after ``after`` lines, or half of them."""
        self.entry.status = 200
        fields = {"content-type": "application/x-jsonl", **self.headers, "transfer-encoding": "chunked"}
        self.writer.write(head(200, fields))
        sending = Chunks(self.writer)
        broken = self.behaviour.kind.startswith("mid_")
        for line in lines[: (self.behaviour.after or len(lines) // 2) if broken else len(lines)]:
            await sending.send(line)
        await self._break(self.behaviour.kind)
        await sending.end()

    async def file(self, content: Content) -> None:
        """Send the bytes of a file, or those of the range that is asked for.

        A fault in mid-body comes after ``after`` bytes, or half of what is sent; ``no_range`` sends everything again,
        ``chunked`` sends no length.
        """
        kind, data, start = self.behaviour.kind, content.data, 0
        asked = _RANGE.fullmatch(self.entry.headers.get("range", ""))
        fields = {**self.headers, "content-type": content.media_type}
        if asked is not None and kind != "no_range":
            start = int(asked[1])
            fields["content-range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.entry.status = 206 if "content-range" in fields else 200
        rest = data[start:]
        broken = kind.startswith("mid_")
        end = min(self.behaviour.after or len(rest) // 2, len(rest)) if broken else len(rest)
        chunked = kind in ("chunked", "mid_eof")  # only then can a body end early without an error
        fields |= {"transfer-encoding": "chunked"} if chunked else {"content-length": str(len(rest))}
        self.writer.write(head(self.entry.status, fields))
        sending = Chunks(self.writer)
        for at in range(0, end, _PIECE):
            piece = rest[at : min(at + _PIECE, end)]
            if chunked:
                await sending.send(piece)
            else:
                self.writer.write(piece)
                await self.writer.drain()
        await self._break(kind)
        if chunked:
            await sending.end()

    async def _break(self, kind: str) -> None:
        if kind == "mid_reset":
            await asyncio.sleep(0.05)  # what was sent before must not be lost to the reset
            reset(self.writer)
        if kind == "mid_stall":
            await asyncio.sleep(_NEVER)
        if kind in ("short_body", "mid_cut"):
            raise BrokenError
