"""The fault theatre: which faults there are now, what becomes of them, and the operator's console beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loguru import logger

from advisory.demo.bad_minute import BadMinute
from advisory.demo.faults import Fault
from prodkit import Deadline, web
from prodkit.core import recording
from prodkit.core.lifespan import Managed

if TYPE_CHECKING:
    from advisory.demo.workers import Workers
    from advisory.services import Services

__all__ = ["Stage", "Theatre"]

_TAIL: Final = 0.5


@dataclass
class Stage:
    """One fault, from its beginning until the moment for which it promised that all is well."""

    fault: Fault
    began: float
    ends: float
    over: bool = False
    problem: str = ""

    def left(self, now: float) -> float:
        """Seconds until the end of the fault itself."""
        return 0.0 if self.over else max(0.0, self.ends - now)

    def back(self, now: float) -> float:
        """Seconds until everything is promised to work again."""
        return max(0.0, self.began + self.fault.back_within - now)


@dataclass
class Theatre(Managed):
    """Begins and ends faults in the background of the demo's web process."""

    faults: Mapping[str, Fault]
    answered: Callable[[], int]
    """Requests that the model answered so far; it waits for the simulator: call it in a thread."""
    workers: Workers | None = None
    lead: float = 1.0
    """Seconds before a fault begins: the page that answers the button is shown first."""
    stages: dict[str, Stage] = field(default_factory=dict[str, Stage])
    minute: BadMinute | None = None
    console: web.Console | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    def begin(self, name: str, *, seconds: float | None = None) -> bool:
        """Begin a fault, for its own length or `seconds`; False while it is on already."""
        if self.active(name):
            return False
        fault = self.faults[name]
        length = fault.seconds if seconds is None else seconds
        now = asyncio.get_running_loop().time() + self.lead
        self.stages[name] = stage = Stage(fault, now, now + length)
        self._spawn(self._play(stage, length))
        return True

    def active(self, name: str) -> bool:
        """Return True between a fault's beginning and its end."""
        return name in self.stages and not self.stages[name].over

    def shown(self) -> list[Stage]:
        """The faults whose promise is still open."""
        now = asyncio.get_running_loop().time()
        return [each for each in self.stages.values() if not each.over or each.back(now) > 0]

    def play_minute(self, app: Services, owner_id: int) -> bool:
        """Begin the sixty bad seconds; False while they are on."""
        if self.minute is not None and not self.minute.over:
            return False
        self.minute = BadMinute(app, self, owner_id)
        self._spawn(self.minute.play())
        return True

    async def start(self) -> None:
        if self.console is not None and self.workers is not None:
            for path in self.workers.events:
                self._spawn(self._tail(path, self.console))

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.workers is not None:  # here, for the server ends this process by the signal that it got
            await asyncio.to_thread(self.workers.stop)
        if self.console is not None:
            self.console.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        with Deadline.detached():  # not the deadline of the request that pressed the button
            task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _play(self, stage: Stage, seconds: float) -> None:
        fault = stage.fault
        try:
            await asyncio.sleep(self.lead)
            await asyncio.to_thread(fault.begin, seconds)
            if stage.ends > (now := asyncio.get_running_loop().time()):
                await asyncio.sleep(stage.ends - now)
        except Exception as error:  # noqa: BLE001 - shown on the panel
            logger.warning("the fault {} could not be caused: {}", fault.name, type(error).__name__)
            stage.problem = "não foi possível causar esta falha"
        finally:
            if fault.end is not None:
                with suppress(Exception):
                    await asyncio.to_thread(fault.end)
            stage.over = True

    async def _tail(self, path: Path, console: web.Console) -> None:
        """Show what a worker recorded: the console itself sees the events of this process only."""
        offset = 0
        while True:
            await asyncio.sleep(_TAIL)
            with suppress(OSError):
                text = await asyncio.to_thread(_read, path, offset)
                whole, _, _ = text.rpartition(b"\n")
                if whole:
                    offset += len(whole) + 1
                    console.replay(recording.read(whole.decode("utf-8", "replace").splitlines()))


def _read(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(4 * 2**20)
