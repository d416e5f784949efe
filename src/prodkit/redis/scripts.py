"""Lua scripts: sent once, then called by their digest."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from prodkit.redis.link import RedisLink

__all__ = ["Script"]

Argument: TypeAlias = str | bytes | int | float


class Script:
    """A Lua script that Redis runs as one atomic step.

    ::

        double = Script("return redis.call('GET', KEYS[1]) * 2")
        await double(link, keys=["answer"])

    It is called by its digest in one round trip. Where Redis does not know it (first use, a restart, ``SCRIPT
    FLUSH``, a new replica), it is sent whole, which costs one round trip more and repeats nothing: the
    refused call did not run.
    """

    __slots__ = ("digest", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(
        self,
        link: RedisLink,
        *,
        keys: Sequence[str | bytes] = (),
        args: Sequence[Argument] = (),
        timeout: float | None = None,
    ) -> Any:
        """Runs the script over `link`, under its limits. Raises what :meth:`RedisLink.run` raises."""

        async def call(client: Redis) -> Any:
            return await self.on(client, keys, args)

        return await link.run(call, timeout=timeout)

    async def on(self, client: Redis, keys: Sequence[str | bytes] = (), args: Sequence[Argument] = ()) -> Any:
        """Runs the script on a client at hand, inside a function given to :meth:`RedisLink.run`."""
        from redis.exceptions import NoScriptError

        send: Callable[..., Awaitable[Any]] = client.execute_command
        try:
            return await send("EVALSHA", self.digest, len(keys), *keys, *args)
        except NoScriptError:
            return await send("EVAL", self.source, len(keys), *keys, *args)

    def __repr__(self) -> str:
        return f"Script({self.digest[:8]}…)"
