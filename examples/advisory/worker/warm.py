"""Slow imports, off the event loop and not in the way of leaving."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from importlib import import_module

__all__ = ["imported"]


async def imported(module: str) -> None:
    """Import `module` in a daemon thread, which does not delay the end of the process.

    The SDK of the Messages API takes seconds; imported at its first call, it would stop the loop for as long.
    """
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def settle(error: Exception | None) -> None:
        if not done.done():
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

    def work() -> None:
        error: Exception | None = None
        try:
            import_module(module)
        except Exception as problem:  # noqa: BLE001 - reported to the caller
            error = problem
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=work, name=f"import {module}", daemon=True).start()
    await done
