"""An empty engine for each test of the jobs contract, and the waits that its tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

from prodkit import jobs
from prodkit.jobs.engine import Engine

__all__ = ["EngineContract", "note", "raises"]


def raises(kind: type[BaseException], work: Coroutine[Any, Any, Any]) -> Any:
    async def check() -> BaseException:
        try:
            await work
        except kind as error:
            return error
        raise AssertionError(f"{kind.__name__} was not raised")

    return check()


def note(calls: list[str], word: str) -> Callable[[], Coroutine[Any, Any, str]]:
    async def called() -> str:
        calls.append(word)
        return word

    return called


class EngineContract:
    """The engine that a contract is about: :meth:`engine` gives an empty one."""

    wait: float = 20.0
    """Seconds that a test waits for a result."""

    def engine(self) -> AbstractAsyncContextManager[Engine]:
        """Return an empty, prepared engine."""
        raise NotImplementedError

    async def _result(self, engine: Engine, run_id: Any) -> Any:
        return await jobs.Runs(engine).result(run_id, timeout=self.wait)

    async def _idle(self, worker: jobs.Worker) -> None:
        for _ in range(100):
            if worker.in_flight == 0:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the waiting run is still held by its worker")

    async def _until(self, engine: Engine, run_id: Any, status: str, *, takes: int = 0) -> None:
        run = None
        for _ in range(400):
            run = await engine.get(run_id)
            if run is not None and run.status == status and run.takes >= takes:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"the run did not become {status}: {run}")
