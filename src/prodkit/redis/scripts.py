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

    It is called by its digest in one round trip. When Redis does not know it (first use, a restart, ``SCRIPT
    FLUSH``, a new primary), it is sent whole, which costs one more round trip and repeats nothing: the refused call
    did not run.

    Args:
        source: the Lua text.
    """

    __slots__ = ("digest", "source")

    def __init__(self, source: str) -> None:
        self.source: str = source
        self.digest: str = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(
        self,
        link: RedisLink,
        *,
        keys: Sequence[str | bytes] = (),
        args: Sequence[Argument] = (),
        timeout: float | None = None,
    ) -> Any:
        """Run the script over `link`, under its limits. Raises what :meth:`RedisLink.execute` raises.

        Args:
            link: the link to run over.
            keys: the script's KEYS; on a cluster all of one slot.
            args: the script's ARGV.
            timeout: seconds, instead of the link's own limit.
        """
        from redis.exceptions import NoScriptError

        key = keys[0] if keys else None
        try:
            return await link.execute(
                "EVALSHA", self.digest, len(keys), *keys, *args, key=key, timeout=timeout
            )
        except NoScriptError:
            return await link.execute("EVAL", self.source, len(keys), *keys, *args, key=key, timeout=timeout)

    async def on(self, client: Redis, keys: Sequence[str | bytes] = (), args: Sequence[Argument] = ()) -> Any:
        """Run the script on a client at hand, inside a function given to :meth:`RedisLink.run`.

        Args:
            client: the client that the function was given.
            keys: the script's KEYS.
            args: the script's ARGV.
        """
        from redis.exceptions import NoScriptError

        send: Callable[..., Awaitable[Any]] = client.execute_command
        try:
            return await send("EVALSHA", self.digest, len(keys), *keys, *args)
        except NoScriptError:
            return await send("EVAL", self.source, len(keys), *keys, *args)

    def __repr__(self) -> str:
        return f"Script({self.digest[:8]}…)"
