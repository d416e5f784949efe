"""A tap in front of the real Redis: it lets through, refuses, or swallows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Literal
from urllib.parse import urlsplit

import pytest


class Tap:
    """A TCP proxy on loopback. `mode`: open (pass on), closed (refuse), dead (accept and never answer)."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._to = (parts.hostname, parts.port)
        self._login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        self._server: asyncio.Server | None = None
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._flow = asyncio.Event()
        self.connections = 0

    @property
    def url(self) -> str:
        return f"redis://{self._login}127.0.0.1:{self._port}/0"

    async def set(self, mode: Literal["open", "closed", "dead"]) -> None:
        if mode == "dead":
            self._flow.clear()
            return
        for writer in tuple(self._writers):
            writer.transport.abort()
        if mode == "closed":
            if self._server is not None:
                self._server.close()
                self._server = None
            return
        self._flow.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there_reader, there_writer = await asyncio.open_connection(*self._to)
        self._writers |= {writer, there_writer}
        pumps = [
            asyncio.ensure_future(self._pump(reader, there_writer)),
            asyncio.ensure_future(self._pump(there_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for each in (writer, there_writer):
                self._writers.discard(each)
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._flow.wait()
            writer.write(data)
            await writer.drain()

    async def aclose(self) -> None:
        await self.set("closed")
        for _ in range(100):
            if not self._writers:
                break
            await asyncio.sleep(0.01)


@pytest.fixture
async def tap(redis_url: str) -> AsyncIterator[Tap]:
    tap = Tap(redis_url)
    await tap.set("open")
    yield tap
    await tap.aclose()
