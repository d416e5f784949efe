"""A TCP proxy that misbehaves on command: it passes, refuses, stalls, delays and cuts.

It stands between a client and a real server, so a test sees what an outage looks like from the client's side
without stopping the server. It runs on a thread with a loop of its own: switches are ordinary calls that return
when they are in force, and work from synchronous tests, from asyncio and while the tested loop is blocked.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import struct
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

__all__ = ["Cut", "Proxy"]

Cut = Literal["rst", "fin"]
T = TypeVar("T")

_CHUNK = 65536
_DEFAULT_PORTS = {"postgresql": 5432, "postgres": 5432, "redis": 6379, "http": 80, "https": 443}


class Proxy:
    """Listens on 127.0.0.1 and forwards to `target`.

    Use it as a context manager, and connect through :meth:`url_for`::

        with Proxy(server.url) as proxy:
            db = postgres.Pool(proxy.url_for(server.url))
            proxy.stall()  # the network goes silent
            ...
            proxy.heal()

    Each switch replaces the one before. ``connections`` counts the connections accepted, ``bytes_up`` and
    ``bytes_down`` the bytes forwarded to the server and to the client.

    Args:
        target: ``"host:port"``, a URL with a host (``server.url``), or the path of a unix socket.
        port: the port to listen on; a free one by default.
    """

    def __init__(self, target: str | os.PathLike[str], *, port: int | None = None) -> None:
        self._target = _target(target)
        self._wanted_port = port or 0
        self._port = 0
        self.connections: int = 0
        self.bytes_up: int = 0
        self.bytes_down: int = 0
        self._links: set[_Link] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.delay_by: float = 0.0
        self.cut_after: int | None = None
        self.cut_how: Cut = "rst"

    # Addresses.

    @property
    def port(self) -> int:
        """The port on 127.0.0.1, the same for the proxy's whole life."""
        if self._loop is None:
            raise RuntimeError("the proxy was not started: use it as a context manager")
        return self._port

    @property
    def open_connections(self) -> int:
        """The number of connections that are open now."""
        return len(self._links)

    def url_for(self, url: str) -> str:
        """Return `url` with its host and port, or its unix socket, replaced by the proxy's."""
        parts = urlsplit(url)
        user, at, _ = parts.netloc.rpartition("@")
        query = [(key, value) for key, value in parse_qsl(parts.query) if key not in {"host", "port"}]
        scheme, path = parts.scheme, parts.path
        if scheme == "unix":  # redis-py: the path is the socket's, the database stands in the query
            number = dict(query).get("db", "0")
            scheme, path = "redis", f"/{number}"
            query = [(key, value) for key, value in query if key != "db"]
        return urlunsplit(
            (scheme, f"{user}{at}127.0.0.1:{self.port}", path, urlencode(query), parts.fragment)
        )

    # Switches.

    def heal(self) -> None:
        """Pass everything. Connections that stalled continue; those that were cut stay cut."""
        self._on_loop(self._switch())

    def refuse(self) -> None:
        """Refuse new connections, as a stopped server does, and cut the open ones."""
        self._on_loop(self._switch(listen=False))
        self.drop()

    def stall(self) -> None:
        """Go silent: connections are accepted and stay open, nothing is forwarded. A black hole."""
        self._on_loop(self._switch(flow=False))

    def delay(self, seconds: float) -> None:
        """Forward everything `seconds` late, in each direction."""
        if seconds < 0:
            raise ValueError(f"seconds must not be negative, got {seconds!r}")
        self._on_loop(self._switch(delay=seconds))

    def cut(self, how: Cut = "rst", *, after: int = 0) -> None:
        """Cut every connection, new ones too.

        Args:
            how: ``"rst"`` is a crash or a firewall (ConnectionResetError), ``"fin"`` an orderly end of file.
            after: cut once the client has received so many more bytes.
        """
        if how not in ("rst", "fin"):
            raise ValueError(f'how must be "rst" or "fin", got {how!r}')
        if after < 0:
            raise ValueError(f"after must not be negative, got {after!r}")
        self._on_loop(self._switch(cut=(how, after)))

    def drop(self, how: Cut = "rst") -> None:
        """Cut the connections that are open now, once; the switch in force stays. `how` is that of :meth:`cut`."""
        self._on_loop(self._drop(how))

    async def _switch(
        self,
        *,
        listen: bool = True,
        flow: bool = True,
        delay: float = 0.0,
        cut: tuple[Cut, int] | None = None,
    ) -> None:
        self.delay_by = delay
        self.cut_how, self.cut_after = cut if cut is not None else ("rst", None)
        if listen:
            await self._listen()
        elif self._server is not None:
            self._server.close()
            self._server = None
        for link in self._links:
            link.sent_since_switch = 0
        if flow:
            self._flowing.set()
        else:
            self._flowing.clear()
        if cut is not None and cut[1] == 0:
            await self._drop(cut[0])

    async def _drop(self, how: Cut) -> None:
        links = tuple(self._links)
        for link in links:
            link.cut(how)
        await asyncio.gather(*(link.task for link in links), return_exceptions=True)

    # Life.

    def start(self) -> Self:
        """Start listening, unless it listens already."""
        if self._loop is not None:
            return self
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="prodkit-proxy", daemon=True)
        self._thread.start()
        try:
            self._on_loop(self._listen())
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Cut every connection and stop listening; may be called more than once."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        try:
            self._on_loop(self._switch(listen=False))
            self.drop()
            self._on_loop(_settle())
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
            self._loop = self._thread = None

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise RuntimeError("the proxy was not started: use it as a context manager")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10.0)

    async def _listen(self) -> None:
        if self._server is None:
            port = self._port or self._wanted_port
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, reuse_address=True)
            self._port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.cut_after == 0:
            _close(writer, self.cut_how)
            return
        link = _Link(self, writer)
        self._links.add(link)
        link.task = asyncio.ensure_future(link.run(reader))

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Wait until the stall is over, then connect to the target."""
        await self._flowing.wait()
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection(*self._target)

    async def flowing(self) -> None:
        """Wait while the proxy stalls."""
        await self._flowing.wait()

    def _forget(self, link: _Link) -> None:
        """Drop `link` at its end."""
        self._links.discard(link)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Proxy(to={self._target}, port={self._port or None}, open={len(self._links)})"


class _Link:
    """One client's connection and the one behind it."""

    task: asyncio.Future[None]

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        self.how: Cut = "fin"
        self.sent_since_switch = 0

    def cut(self, how: Cut) -> None:
        self.how = how
        self.task.cancel()

    async def run(self, reader: asyncio.StreamReader) -> None:
        try:
            answers, self.server = await self.proxy.dial()
            await asyncio.gather(
                self._pump(reader, self.server, up=True), self._pump(answers, self.client, up=False)
            )
        except OSError:
            self.how = "rst"
        except asyncio.CancelledError:
            pass  # cut: the one who cut waits for our end only
        finally:
            self.proxy._forget(self)
            _close(self.client, self.how)
            if self.server is not None:
                _close(self.server, self.how)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, up: bool) -> None:
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(256)
        reading = asyncio.ensure_future(self._read(source, late))
        try:
            while True:
                due, data = await late.get()
                if (wait := due - asyncio.get_running_loop().time()) > 0:
                    await asyncio.sleep(wait)
                await self.proxy.flowing()
                if not data:
                    break
                await self._forward(data, sink, up=up)
            await reading
            if sink.can_write_eof():
                sink.write_eof()
        finally:
            reading.cancel()

    async def _read(self, source: asyncio.StreamReader, late: asyncio.Queue[tuple[float, bytes]]) -> None:
        data = b"?"
        while data:
            try:
                data = await source.read(_CHUNK)
            except OSError:
                self.cut("rst")
                return
            await late.put((asyncio.get_running_loop().time() + self.proxy.delay_by, data))

    async def _forward(self, data: bytes, sink: asyncio.StreamWriter, *, up: bool) -> None:
        limit = None if up else self.proxy.cut_after
        if limit is not None:
            data = data[: max(0, limit - self.sent_since_switch)]
        sink.write(data)
        await sink.drain()
        if up:
            self.proxy.bytes_up += len(data)
            return
        self.proxy.bytes_down += len(data)
        self.sent_since_switch += len(data)
        if limit is not None and self.sent_since_switch >= limit:
            self.cut(self.proxy.cut_how)
            await asyncio.sleep(0)


def _close(writer: asyncio.StreamWriter, how: Cut) -> None:
    link = writer.get_extra_info("socket")
    if how == "rst":
        if link is not None and link.fileno() >= 0 and link.family != socket.AF_UNIX:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()


async def _settle() -> None:
    """Let the transports that were just closed or aborted release their sockets, which takes a few iterations."""
    for _ in range(5):
        await asyncio.sleep(0)


def _target(target: str | os.PathLike[str]) -> Path | tuple[str, int]:
    if isinstance(target, os.PathLike):
        return Path(target)
    if target.startswith("/"):
        return Path(target)
    if "://" in target:
        parts = urlsplit(target)
        if parts.scheme == "unix":
            return Path(parts.path)
        query = dict(parse_qsl(parts.query))
        if query.get("host", "").startswith("/"):
            return Path(query["host"]) / f".s.PGSQL.{query.get('port', '5432')}"
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
        if parts.hostname and port:
            return (parts.hostname, port)
    elif match := re.fullmatch(r"\[?([^\[\]/@\s]+)\]?:(\d{1,5})", target):
        return (match[1], int(match[2]))
    raise ValueError("target must be host:port, a URL with a host, or the path of a unix socket")
