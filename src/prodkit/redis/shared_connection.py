"""One connection shared by many callers: commands are written in order, replies are matched in order.

A pooled connection serves one caller at a time, so 50 concurrent reads cost 50 connections or 50 turns. Commands on a
shared connection are written as they come (those of one tick in one write) and Redis answers in the same order, so the
n-th reply belongs to the n-th command:

    caller A  GET a ─┐                        ┌─▶ reply 1 ─▶ A
    caller B  GET b ─┼─▶ one write ─▶ Redis ──┼─▶ reply 2 ─▶ (B was cancelled: dropped)
    caller C  GET c ─┘                        └─▶ reply 3 ─▶ C

A caller that is cancelled or runs out of time leaves a finished future behind: its reply is read and dropped, and the
connection stays in order. Only commands that do not block belong here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from prodkit.core.deadline import Deadline
from prodkit.redis.redis_internals import buffered, close_now, nothing, packer, writer_of

__all__ = ["Command", "LimitReached", "SharedConnection"]

Command = tuple[Any, ...]

_MAX_UNSENT: Final = 16 * 2**20


class LimitReached(Exception):  # noqa: N818 - a signal inside the package, translated by the link
    """No reply within the limit of the call."""


class _Exchange:
    """Commands written together, and the future of their replies."""

    __slots__ = ("commands", "future", "replies")

    def __init__(self, commands: Sequence[Command], future: asyncio.Future[list[Any]]) -> None:
        self.commands = commands
        self.future = future
        self.replies: list[Any] = []

    def expire(self, hops: int = 3) -> None:
        """End with LimitReached, a few loop iterations late.

        After a stall of our own process the timer and the reply become ready in the same iteration, and the timer
        runs first: the reply gets the chance to win.
        """
        if self.future.done():
            return
        if hops:
            self.future.get_loop().call_soon(self.expire, hops - 1)
        else:
            self.future.set_exception(LimitReached())


class SharedConnection:
    """A connection that is opened by its first command and opened again after it was lost.

    Args:
        make: returns a new, unconnected ``redis.asyncio.Connection``.
    """

    __slots__ = (
        "_connection",
        "_in_flight",
        "_make",
        "_opening",
        "_pack",
        "_reader",
        "_scheduled",
        "_unsent",
        "opened",
    )

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._connection: Any = None
        self._opening: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._in_flight: deque[_Exchange] = deque()
        self._unsent: list[_Exchange] = []
        self._scheduled = False
        self._pack: Callable[[Command], list[bytes]] = _unconnected
        self.opened: int = 0  # connections opened so far

    async def execute(self, commands: Sequence[Command], limit: float | None) -> list[Any]:
        """Return the reply to each command; a reply that is an error stands in the list as an exception.

        Args:
            commands: sent together, answered together.
            limit: seconds until LimitReached, connecting included; None for no limit.
        """
        loop = asyncio.get_running_loop()
        exchange = _Exchange(commands, loop.create_future())
        timer = None if limit is None else loop.call_later(limit, exchange.expire)
        self._unsent.append(exchange)
        if not self._in_flight and self._connection is not None:
            self._send()  # nothing to wait for: the first of a tick goes at once
        elif not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._send)
        try:
            return await exchange.future
        finally:
            if timer is not None:
                timer.cancel()

    @property
    def backlog(self) -> int:
        """Commands without a reply."""
        return len(self._in_flight) + len(self._unsent)

    def _send(self) -> None:
        self._scheduled = False
        if self._connection is None:
            if self._opening is None and self._unsent:
                with Deadline.detached():
                    self._opening = asyncio.ensure_future(self._open())
            return
        unsent, self._unsent = self._unsent, []
        packed: list[bytes] = []
        for exchange in unsent:
            if exchange.future.done():
                continue
            try:
                chunks = [chunk for command in exchange.commands for chunk in self._pack(command)]
            except Exception as error:  # noqa: BLE001 - an argument that redis-py does not take is its caller's
                exchange.future.set_exception(error)
                continue
            packed += chunks
            self._in_flight.append(exchange)
        if packed:
            writer = writer_of(self._connection)
            if writer.transport.get_write_buffer_size() > _MAX_UNSENT:
                self._lose(ConnectionError("Redis does not read what is sent to it"))
                return
            writer.writelines(packed)

    async def _open(self) -> None:
        try:
            connection = self._make()
            await connection.connect()
        except BaseException as error:
            self._opening = None
            self._fail(error if isinstance(error, Exception) else ConnectionError("closed while connecting"))
            if not isinstance(error, Exception):
                raise
            return
        self._opening = None
        self._connection = connection
        self._pack = packer(connection)
        self.opened += 1
        with Deadline.detached():
            self._reader = asyncio.ensure_future(self._read(connection))
        self._send()

    async def _read(self, connection: Any) -> None:
        """Match replies with exchanges until the connection is lost."""
        from redis import exceptions

        in_flight, read = self._in_flight, connection.read_response
        take, empty = buffered(connection), nothing()
        reply: Any
        try:
            while True:
                try:
                    reply = await read(disable_decoding=True, disconnect_on_error=False)
                except exceptions.ResponseError as error:
                    reply = error
                while reply is not empty:
                    if isinstance(reply, exceptions.ConnectionError):
                        raise reply  # noqa: TRY301 - such as LOADING: it ends the connection
                    exchange = in_flight[0]  # an IndexError is a reply without a command: the order is lost
                    exchange.replies.append(reply)
                    if len(exchange.replies) == len(exchange.commands):
                        in_flight.popleft()
                        if not exchange.future.done():
                            exchange.future.set_result(exchange.replies)
                    reply = empty if take is None else take()
        except Exception as error:  # noqa: BLE001 - whatever ends the connection ends the commands on it
            if self._connection is connection:
                self._lose(error)

    def _lose(self, error: Exception) -> None:
        connection, self._connection = self._connection, None
        reader, self._reader = self._reader, None
        in_flight = tuple(self._in_flight)
        self._in_flight = deque()
        for exchange in in_flight:
            if not exchange.future.done():
                exchange.future.set_exception(error)
        if connection is not None:
            close_now(connection)
        if reader is not None:
            reader.cancel()
        if self._unsent and not self._scheduled:  # written after the loss: on the next connection
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._send)

    def _fail(self, error: Exception) -> None:
        unsent, self._unsent = self._unsent, []
        for exchange in unsent:
            if not exchange.future.done():
                exchange.future.set_exception(error)

    def drop(self, reason: str) -> None:
        """Close the connection; what is in flight fails, and the next command opens another.

        Args:
            reason: the text of the error that commands in flight end with.
        """
        error = ConnectionError(reason)
        if self._opening is not None:
            self._opening.cancel()
        self._fail(error)
        self._lose(error)

    async def aclose(self) -> None:
        """Close the connection and wait for the tasks behind it."""
        tasks = [task for task in (self._opening, self._reader) if task is not None]
        self.drop("the link to Redis is closed")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _unconnected(_: Command) -> list[bytes]:
    raise ConnectionError("not connected")
