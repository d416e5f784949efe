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
from prodkit.testing.anthropic.providers import AMAZON, AmazonChunks, translated
from prodkit.testing.anthropic.reply import Reply, ReplyError, compose, count_input, validate
from prodkit.testing.anthropic.resources import Resources
from prodkit.testing.anthropic.state import Received, State
from prodkit.testing.anthropic.steps import error_body, steps
from prodkit.testing.anthropic.wire import BrokenError, Chunks, Request, head, reset

__all__ = ["Server"]

_HTML: Final = b"<!doctype html><title>Bad gateway</title><h1>The page is not here</h1>"
_JSON: Final = "application/json"
_NEVER: Final = 3600.0
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
        return Request(method, urlsplit(target).path, headers, await reader.readexactly(length))

    async def _send(
        self,
        writer: asyncio.StreamWriter,
        status: int,
        content: bytes,
        headers: Mapping[str, str],
        *,
        claimed: int | None = None,
    ) -> None:
        fields = {"content-type": _JSON, **headers, "content-length": str(claimed or len(content))}
        writer.write(head(status, fields) + content)
        await writer.drain()

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if request.path.startswith("/_control/"):
            status, result = self._control(request)
            await self._send(writer, status, json.dumps(result).encode(), {})
            return
        body: Any = None
        with suppress(ValueError):
            body = json.loads(request.content) if request.content else {}
        request, body, binary = translated(request, body)
        model = str(body.get("model", "")) if isinstance(body, dict) else ""
        scripted = request.method == "POST" or request.path.endswith("/results")
        behaviour = self.state.next_behaviour(model) if scripted else Behaviour()
        entry = self.state.begin(request.path, request.headers, body, behaviour.kind)
        entry.binary = binary
        work = asyncio.ensure_future(self._respond(request, entry, behaviour, writer))
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

    async def _respond(
        self, request: Request, entry: Received, behaviour: Behaviour, writer: asyncio.StreamWriter
    ) -> None:
        headers = {"request-id": f"req_sim_{entry.number:08d}", "anthropic-organization-id": "org-sim"}
        headers |= self._limit_headers()
        try:
            self._authorise(request)
            host = request.headers.get("host", "")
            found = self.resources.answer(request.method, request.path, host, entry.body, request.content)
            if found is not None:
                await self._resource(found, behaviour, entry, writer, headers)
                return
            counting = request.path == "/v1/messages/count_tokens"
            if request.method != "POST" or not (counting or request.path == "/v1/messages"):
                raise ReplyError(404, f"Not found: {request.method} {request.path}")  # noqa: TRY301
            if await self._early(behaviour, entry, writer, headers):
                return
            validate(entry.body, counting=counting)
            self._check_model(entry)
            if counting:
                await self._finish(writer, entry, 200, {"input_tokens": count_input(entry.body)}, headers)
                return
            if wait := self._throttled():
                headers |= {"retry-after": str(max(1, round(wait + 0.5))), **self._limit_headers()}
                await self._finish(
                    writer, entry, 429, error_body(429, "This request would exceed your rate limit"), headers
                )
                return
            headers |= self._limit_headers()
            reply = compose(
                entry.body,
                behaviour,
                self.answers,
                number=entry.number,
                continuation=self.continuation,
                seed=self.seed,
            )
        except ReplyError as error:
            await self._finish(writer, entry, error.status, error_body(error.status, str(error)), headers)
            return
        if entry.stream and behaviour.kind != "json_stream":
            await self._stream(reply, entry, behaviour, writer, headers)
        else:
            await self._whole(reply, entry, behaviour, writer, headers)

    async def _resource(
        self,
        found: tuple[int, Any],
        behaviour: Behaviour,
        entry: Received,
        writer: asyncio.StreamWriter,
        headers: dict[str, str],
    ) -> None:
        if await self._early(behaviour, entry, writer, headers):
            return
        status, body = found
        if isinstance(body, str):
            raise ReplyError(status, body)
        if not isinstance(body, list):
            await self._finish(writer, entry, status, body, headers)
            return
        entry.status = status
        fields = {"content-type": "application/x-jsonl", **headers, "transfer-encoding": "chunked"}
        writer.write(head(status, fields))
        sending = Chunks(writer)
        broken = behaviour.kind.startswith("mid_")
        for line in body[: (behaviour.after or len(body) // 2) if broken else len(body)]:
            await sending.send(line)
        if behaviour.kind == "mid_reset":
            await asyncio.sleep(0.05)
            reset(writer)
        if behaviour.kind == "mid_cut":
            raise BrokenError
        await sending.end()

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

    async def _finish(
        self,
        writer: asyncio.StreamWriter,
        entry: Received,
        status: int,
        body: Mapping[str, Any],
        headers: Mapping[str, str],
    ) -> None:
        entry.status = status
        await self._send(writer, status, json.dumps(body, ensure_ascii=False).encode(), headers)

    async def _early(
        self, behaviour: Behaviour, entry: Received, writer: asyncio.StreamWriter, headers: dict[str, str]
    ) -> bool:
        """Handle the behaviours that do not look at the request; return True when the answer is out."""
        if behaviour.seconds and behaviour.kind != "drip":
            await asyncio.sleep(behaviour.seconds)
        kind = behaviour.kind
        if kind == "hang":
            await asyncio.sleep(_NEVER)
        if kind == "reset":
            reset(writer)
        headers |= behaviour.headers
        if kind == "status":
            entry.status = behaviour.status
            if behaviour.retry_after:
                headers["retry-after"] = behaviour.retry_after
            body = error_body(behaviour.status, behaviour.message, behaviour.error_type, behaviour.error_code)
            await self._finish(writer, entry, behaviour.status, body, headers)
        elif kind == "html":
            entry.status = behaviour.status
            await self._send(writer, behaviour.status, _HTML, {**headers, "content-type": "text/html"})
        elif kind == "bad_json":
            entry.status = 200
            await self._send(writer, 200, b'{"id": "msg_sim", "content": [{"ty', headers)
        elif kind == "error_200":
            body = error_body(529, behaviour.message, behaviour.error_type, behaviour.error_code)
            await self._finish(writer, entry, 200, body, headers)
        else:
            return False
        return True

    async def _whole(
        self,
        reply: Reply,
        entry: Received,
        behaviour: Behaviour,
        writer: asyncio.StreamWriter,
        headers: Mapping[str, str],
    ) -> None:
        body: dict[str, Any] = reply.body()
        if behaviour.kind == "no_usage":
            del body["usage"]
        if behaviour.kind == "no_content":
            body["content"] = None
        content = json.dumps(body, ensure_ascii=False).encode()
        entry.status = 200
        if behaviour.kind == "short_body":
            await self._send(writer, 200, content[: len(content) // 2], headers, claimed=len(content))
            raise BrokenError
        if behaviour.kind == "mid_reset":
            await self._send(writer, 200, content[: len(content) // 2], headers, claimed=len(content))
            await asyncio.sleep(0.05)
            reset(writer)
        if behaviour.kind == "mid_stall":
            await self._send(writer, 200, content[: len(content) // 2], headers, claimed=len(content))
            await asyncio.sleep(_NEVER)
        if behaviour.kind == "drip":
            writer.write(head(200, {"content-type": _JSON, **headers, "content-length": str(len(content))}))
            for at in range(len(content)):
                writer.write(content[at : at + 1])
                await writer.drain()
                await asyncio.sleep(behaviour.seconds)
            return
        await self._send(writer, 200, content, headers)

    async def _stream(
        self,
        reply: Reply,
        entry: Received,
        behaviour: Behaviour,
        writer: asyncio.StreamWriter,
        headers: Mapping[str, str],
    ) -> None:
        entry.status = 200
        fields = {
            "content-type": AMAZON if entry.binary else "text/event-stream; charset=utf-8",
            "cache-control": "no-cache",
            **headers,
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

    # ---------------------------------------------------------------- control

    def _control(self, request: Request) -> tuple[int, dict[str, Any]]:
        given = json.loads(request.content or b"{}")
        try:
            match request.path.removeprefix("/_control/"):
                case "state":
                    return 200, self.state.as_json(**given)
                case "script":
                    self.state.script(given["behaviours"], given.get("model"))
                case "always":
                    self.state.always(given["behaviour"], given.get("model"))
                case "storm":
                    self.state.storm(given["behaviour"], given["seconds"], given.get("model"))
                case "model":
                    self.state.configure(given["model"], given["rejects"], given["unknown"])
                case "limit":
                    self.state.limit(given["per_minute"], given.get("burst"))
                case "continuation":
                    self.continuation, self.seed = given["continuation"], given["seed"]
                case "reset":
                    self.state.reset()
                case _:
                    return 404, {"problem": "unknown control"}
        except (KeyError, TypeError, ValueError) as error:
            return 400, {"problem": str(error)}
        return 200, {}
