"""Notice that a session has ended while a stream or a socket of it is still open."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Collection
from typing import Any

from prodkit.errors import ProdkitError

__all__ = ["EndWatch"]


class EndWatch:
    """Waits for the end of sessions: at once for ends in this process, within `every` seconds for others.

    One statement asks for all watched sessions together, and none is sent while nothing is watched. A store that
    does not answer ends nothing.

    Args:
        store: the session store. Its ``alive(keys)`` answers for all keys at once; without one each is loaded.
        every: seconds between two looks at the store.
    """

    def __init__(self, store: Any, every: float) -> None:
        self._store = store
        self._every = every
        self._waiting: dict[bytes, set[asyncio.Future[None]]] = {}
        self._look = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def wait(self, key: bytes) -> None:
        """Return when the session `key` has ended."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(key, set()).add(future)
        if self._task is None or self._task.done():
            self._look = asyncio.Event()
            # A context of its own: the watch is not bound by the deadline of the request that began it.
            self._task = loop.create_task(self._run(), context=contextvars.Context())
        try:
            await future
        finally:
            waiting = self._waiting.get(key)
            if waiting is not None:
                waiting.discard(future)
                if not waiting:
                    del self._waiting[key]
            if not self._waiting and self._task is not None:
                self._task.cancel()

    def look(self) -> None:
        """Look at the store now: sessions were ended in this process."""
        self._look.set()

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._every):
                    await self._look.wait()
            except TimeoutError:
                pass
            self._look.clear()
            keys = list(self._waiting)
            try:
                alive = await self._alive(keys)
            except (ProdkitError, OSError, TimeoutError):
                continue
            for key in keys:
                if key not in alive:
                    for future in self._waiting.get(key, ()):
                        if not future.done():
                            future.set_result(None)

    async def _alive(self, keys: Collection[bytes]) -> Collection[bytes]:
        ask = getattr(self._store, "alive", None)
        if ask is not None:
            found: Collection[bytes] = await ask(keys)
            return found
        return [key for key in keys if await self._store.load(key) is not None]
