"""The upstream of the fault trace as an HTTP server in a process of its own: ``python -m benchmarks._upstream``.

It reads one line of JSON (the trace, the seed, the instant at which the trace begins on this machine's monotonic
clock, the port), answers until its standard input ends, and prints what it counted. While connections are refused it
does not listen and cuts those that are open.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from typing import Any

from prodkit.testing.trace import Phase, Upstream, UpstreamError

HOST = "127.0.0.1"


class Server:
    def __init__(self, upstream: Upstream, port: int) -> None:
        self.upstream = upstream
        self.port = port
        self.listening: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()

    async def follow(self, began: float) -> None:
        """Listens, save in the phases that refuse."""
        at = began
        loop = asyncio.get_running_loop()
        await self.listen()
        for phase in self.upstream.trace:
            await asyncio.sleep(at - loop.time())
            if phase.fault == "refused":
                self.refuse()
            elif self.listening is None:
                await self.listen()
            at += phase.seconds

    async def listen(self) -> None:
        self.listening = await asyncio.start_server(self.serve, HOST, self.port, backlog=1000)

    def refuse(self) -> None:
        if self.listening is not None:
            self.listening.close()
            self.listening = None
        for writer in self.writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        head = asyncio.ensure_future(reader.readuntil(b"\r\n\r\n"))
        answer: asyncio.Task[bytes] | None = None
        try:
            while True:
                request = await head
                head = asyncio.ensure_future(
                    reader.readuntil(b"\r\n\r\n")
                )  # ends early when the caller leaves
                answer = asyncio.create_task(self.answer(request))
                await asyncio.wait((head, answer), return_when=asyncio.FIRST_COMPLETED)
                if not answer.done():
                    break  # the caller has left; the work goes on
                writer.write(answer.result())
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            for task in (head, answer):
                if task is not None and not task.done():
                    task.cancel()
            if head.done():
                with suppress(BaseException):
                    head.exception()
            self.writers.discard(writer)
            writer.close()

    async def answer(self, request: bytes) -> bytes:
        client = int(request.split(b"x-client: ")[1].split(b"\r\n")[0])
        try:
            await self.upstream.request(client)
        except UpstreamError as error:
            wait = "" if error.retry_after is None else f"retry-after: {error.retry_after:g}\r\n"
            return f"HTTP/1.1 {error.status} X\r\n{wait}content-length: 0\r\n\r\n".encode()
        return b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def main(plan: dict[str, Any]) -> None:
    trace = tuple(Phase(*each) for each in plan["trace"])
    upstream = Upstream(trace, seed=plan["seed"], strict_quota=plan["strict"], began=plan["began"])
    server = Server(upstream, plan["port"])
    following = asyncio.ensure_future(server.follow(plan["began"]))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    following.cancel()
    server.refuse()
    await asyncio.sleep(0)
    print(json.dumps({"wasted": upstream.wasted, "cpu": sum(os.times()[:2])}), flush=True)


if __name__ == "__main__":
    print("ready", flush=True)
    asyncio.run(main(json.loads(sys.stdin.readline())))
