"""The private attributes of redis-py that prodkit reads, in one place.

Read from redis-py 8.1.0. ``tests/redis/test_redis_internals.py`` fails when a version moves one of them.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, cast

__all__ = [
    "buffered",
    "close_now",
    "is_closing",
    "nothing",
    "on_invalidation",
    "packer",
    "takes_maintenance_options",
    "writer_of",
]


def close_now(connection: Any) -> None:
    """Close `connection` without waiting; what is unsent is thrown away.

    Args:
        connection: a ``redis.asyncio.Connection``, connected or not.
    """
    if connection._writer is not None:
        connection._writer.transport.abort()
    connection._close()


def writer_of(connection: Any) -> asyncio.StreamWriter:
    """Return the stream below an open connection; redis-py only offers writing and waiting in one step.

    Args:
        connection: a connected ``redis.asyncio.Connection``.
    """
    writer: asyncio.StreamWriter = connection._writer
    return writer


def packer(connection: Any) -> Callable[[tuple[Any, ...]], list[bytes]]:
    """Return a function that writes a command in Redis' protocol.

    redis-py's asyncio connections pack in Python even where hiredis is installed, which takes ten times as long. A
    text with a lone surrogate, such as JSON from outside may hold, becomes bytes like any other.

    Args:
        connection: a ``redis.asyncio.Connection``.
    """
    try:
        from hiredis import pack_command as fast
    except ImportError:
        fast = cast("Any", None)

    def pack(command: tuple[Any, ...]) -> list[bytes]:
        try:
            if fast is not None:
                return [fast(command)]
        except UnicodeEncodeError:
            pass
        except TypeError:
            pass  # redis-py names the argument that it does not take
        return list(
            connection.pack_command(
                *(
                    each.encode("utf-8", "surrogatepass") if isinstance(each, str) else each
                    for each in command
                )
            )
        )

    return pack


def buffered(connection: Any) -> Callable[[], Any] | None:
    """Return a function that takes one reply from what was read already, and :func:`nothing` when none is complete.

    redis-py awaits each reply, which costs more than parsing it. None when hiredis is not the parser.

    Args:
        connection: a connected ``redis.asyncio.Connection``.
    """
    reader = getattr(connection._parser, "_reader", None)
    if reader is None or not hasattr(reader, "gets"):
        return None
    gets: Callable[[bool], Any] = reader.gets
    return lambda: gets(False)


def nothing() -> object:
    """Return the object with which hiredis says that no reply is complete."""
    from redis._parsers.hiredis import NOT_ENOUGH_DATA

    found: object = NOT_ENOUGH_DATA
    return found


def takes_maintenance_options() -> bool:
    """Return True when an asyncio connection asks for maintenance messages (redis 8.1) and can be kept from it."""
    from redis.asyncio.connection import AbstractConnection

    return "maint_notifications_config" in inspect.signature(AbstractConnection.__init__).parameters


def is_closing(connection: Any) -> bool:
    """Return True when the socket of `connection` was lost while it was idle.

    redis-py notices an orderly end of file; a reset (a crashed server, a firewall) it would find only on the first
    write, and the command written would be lost.

    Args:
        connection: a ``redis.asyncio.Connection``, connected or not.
    """
    writer = connection._writer
    return writer is not None and writer.is_closing()


def on_invalidation(connection: Any, handler: Callable[[list[Any]], Awaitable[None]]) -> None:
    """Call `handler` with each invalidation message of a tracking connection.

    Args:
        connection: a connected ``redis.asyncio.Connection``.
        handler: a coroutine function that takes the message.
    """
    connection._parser.set_invalidation_push_handler(handler)
