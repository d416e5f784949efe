"""The HTTP server of the simulator: asyncio streams, one behaviour a request."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from prodkit.testing.anthropic.answers import AnswerFunction, words
from prodkit.testing.anthropic.behaviour import Behaviour
from prodkit.testing.anthropic.control import control
from prodkit.testing.anthropic.exchange import Exchange, send
from prodkit.testing.anthropic.providers import translated
from prodkit.testing.anthropic.reply import ReplyError, compose, count_input, validate
from prodkit.testing.anthropic.resources import Content, Resources
from prodkit.testing.anthropic.state import Received, State
from prodkit.testing.anthropic.steps import error_body
from prodkit.testing.anthropic.wire import BrokenError, Request

__all__ = ["Server"]

_MAX_BODY: Final = 32 * 2**20


@dataclass(slots=True)
class Server:
    """Serves the Messages API; `delay` is the wait between deltas, `continuation` the way to continue a cut answer."""

    answers: AnswerFunction = words
    delay: float = 0.0
    continuation: str = "anchor"
    seed: int = 0
    state: State = field(default_factory=State)
    resources: Resources = field(init=False)

    def __post_init__(self) -> None:
        self.resources = Resources(self._batched)

    def _batched(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return compose(
            params, Behaviour(), self.answers, number=0, continuation=self.continuation, seed=self.seed
        ).body()

    async def start(self, host: str, port: int) -> asyncio.Server:
        """Listen; port 0 takes a free one."""
        return await asyncio.start_server(self._connection, host, port, limit=2**20, backlog=1024)

    # ------------------------------------------------------------------ HTTP

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counted = False  # connections of the control endpoint are not the client's
        with suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while (request := await self._read(reader)) is not None:
                if not counted and not request.path.startswith("/_control/"):
                    counted = True
                    self.state.socket(+1)
                await self._answer(request, reader, writer)
        except (
            ConnectionError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            ValueError,
            BrokenError,
        ):
            pass  # the client went away, sent nonsense, or the behaviour cut the line
        finally:
            if counted:
                self.state.socket(-1)
            writer.close()
            with suppress(Exception):
                await writer.wait_closed()

    async def _read(self, reader: asyncio.StreamReader) -> Request | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if colon:
                headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        if length > _MAX_BODY:
            raise ValueError("the body is too large")
        parts = urlsplit(target)
        return Request(method, parts.path, headers, await reader.readexactly(length), parts.query)

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if request.path.startswith("/_control/"):
            status, result = control(self, request)
            await send(writer, status, json.dumps(result).encode(), {})
            return
        body: Any = None
        with suppress(ValueError):
            body = json.loads(request.content) if request.content else {}
        request, body, binary = translated(request, body)
        model = str(body.get("model", "")) if isinstance(body, dict) else ""
        scripted = request.method == "POST" or request.path.endswith(("/results", "/content"))
        behaviour = self.state.next_behaviour(model) if scripted else Behaviour()
        entry = self.state.begin(request.path, request.headers, body, behaviour.kind)
        entry.binary = binary
        headers = {"request-id": f"req_sim_{entry.number:08d}", "anthropic-organization-id": "org-sim"}
        exchange = Exchange(entry, behaviour, writer, headers, self.delay)
        work = asyncio.ensure_future(self._respond(request, exchange))
        gone = asyncio.ensure_future(self._gone(reader))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                self.state.finish(entry, "done")
                return
            self.state.finish(entry, "aborted")
        except BrokenError:
            self.state.finish(entry, "broken")
            raise
        except ConnectionError:
            self.state.finish(entry, "aborted")
            raise
        finally:
            self.state.finish(entry, "broken")
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        raise BrokenError

    @staticmethod
    async def _gone(reader: asyncio.StreamReader) -> None:
        """Return when the client closes. No client pipelines here, so no byte may come before the answer is out."""
        while not reader.at_eof() and reader.exception() is None:  # noqa: ASYNC110 - a StreamReader has no event
            await asyncio.sleep(0.02)

    # ------------------------------------------------------------- behaviours

    async def _respond(self, request: Request, exchange: Exchange) -> None:
        entry, behaviour = exchange.entry, exchange.behaviour
        exchange.headers |= self._limit_headers()
        try:
            self._authorise(request)
            if (found := self.resources.answer(request, entry.body)) is not None:
                await self._resource(exchange, *found)
                return
            counting = request.path == "/v1/messages/count_tokens"
            if request.method != "POST" or not (counting or request.path == "/v1/messages"):
                raise ReplyError(404, f"Not found: {request.method} {request.path}")  # noqa: TRY301
            if await exchange.early():
                return
            validate(entry.body, counting=counting)
            self._check_model(entry)
            if counting:
                await exchange.finish(200, {"input_tokens": count_input(entry.body)})
                return
            if wait := self._throttled():
                exchange.headers |= {"retry-after": str(max(1, round(wait + 0.5))), **self._limit_headers()}
                await exchange.finish(429, error_body(429, "This request would exceed your rate limit"))
                return
            exchange.headers |= self._limit_headers()
            reply = compose(
                entry.body,
                behaviour,
                self.answers,
                number=entry.number,
                continuation=self.continuation,
                seed=self.seed,
            )
        except ReplyError as error:
            await exchange.finish(error.status, error_body(error.status, str(error)))
            return
        if entry.stream and behaviour.kind != "json_stream":
            await exchange.stream(reply)
        else:
            await exchange.whole(reply)

    @staticmethod
    async def _resource(exchange: Exchange, status: int, body: Any) -> None:
        if await exchange.early():
            return
        if isinstance(body, str):
            raise ReplyError(status, body)
        if isinstance(body, list):
            await exchange.lines(body)
        elif isinstance(body, Content):
            await exchange.file(body)
        else:
            await exchange.finish(status, body)

    @staticmethod
    def _authorise(request: Request) -> None:
        if not (request.headers.get("x-api-key") or request.headers.get("authorization", "").strip()):
            raise ReplyError(401, "x-api-key header is required")

    def _check_model(self, entry: Received) -> None:
        if entry.model in self.state.unknown_models:
            raise ReplyError(404, f"model: {entry.model}")
        for name in self.state.rejected_fields.get(entry.model, ()):
            if name in entry.body:
                raise ReplyError(400, f"{name}: this model does not support this parameter")

    def _throttled(self) -> float:
        bucket = self.state.requests_limit
        return bucket.take(time.monotonic(), 1.0) if bucket else 0.0

    def _limit_headers(self) -> dict[str, str]:
        bucket = self.state.requests_limit
        if bucket is None:
            return {}
        now = time.monotonic()
        bucket.take(now, 0.0)
        full = datetime.now(UTC) + timedelta(
            seconds=(bucket.per_minute - bucket.level) * 60 / bucket.per_minute
        )
        return {
            "anthropic-ratelimit-requests-limit": str(int(bucket.per_minute)),
            "anthropic-ratelimit-requests-remaining": str(int(bucket.level)),
            "anthropic-ratelimit-requests-reset": full.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
