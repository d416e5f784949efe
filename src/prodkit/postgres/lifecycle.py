"""The start and the end of a pool, and the pause between."""

from __future__ import annotations

import asyncio

from prodkit.core.deadline import Deadline
from prodkit.errors import MissingExtraError
from prodkit.postgres.checkout import misused
from prodkit.postgres.connect import Connector
from prodkit.postgres.health import Probe
from prodkit.postgres.inventory import Inventory
from prodkit.postgres.replicas import Replicas
from prodkit.postgres.statements import Statements
from prodkit.postgres.upkeep import Upkeep, watch_forks

__all__ = ["Lifecycle"]


class Lifecycle(Statements):
    """The methods of :class:`~prodkit.postgres.Pool` that open and close it."""

    _acquire_timeout: float
    _close_timeout: float
    _connector: Connector
    _inventory: Inventory
    _probe: Probe
    _replicas: Replicas | None
    _upkeep: Upkeep
    _starting: tuple[asyncio.Timeout, asyncio.Event] | None = None

    @property
    def running(self) -> bool:
        """True between :meth:`start` and :meth:`aclose`."""
        return self._desk.state in ("running", "suspended")

    async def start(self) -> None:
        """Open `min_size` connections; wait `acquire_timeout` for a server that is still starting.

        Raises:
            DatabaseError: the server cannot be reached or refuses us.
            MissingExtraError: asyncpg is not installed.
        """
        desk, inventory = self._desk, self._inventory
        if desk.state == "starting":
            raise misused(f"the pool is being initialized in another task: {self._name!r}")
        if desk.state in ("running", "suspended", "closing"):
            raise misused(f"the pool {self._name!r} has already been started")
        try:
            import asyncpg  # noqa: F401
        except ModuleNotFoundError as error:
            if error.name != "asyncpg":
                raise
            raise MissingExtraError.named("asyncpg", "postgres") from None
        desk.state = "starting"
        desk.loop = asyncio.get_running_loop()
        inventory.begin()
        self._probe = Probe(self._connector)
        budget = Deadline.sooner(self._acquire_timeout)
        limit, over = asyncio.timeout(budget), asyncio.Event()
        self._starting = limit, over
        try:
            async with limit:
                await self._connector.detect_pooler()
                inventory.growing = True
                await self._fill()
                if self._replicas is not None:
                    await self._replicas.start()
        except TimeoutError:
            self._refuse_closing()
            self._undo_start()
            if not limit.expired():
                raise
            raise self._connector.unreachable(budget or 0.0) from None
        except BaseException:
            self._undo_start()
            raise
        finally:
            self._starting = None
            over.set()
        self._refuse_closing()
        inventory.lending = True
        desk.state = "running"
        watch_forks(desk)
        self._upkeep.start()

    async def _fill(self) -> None:
        inventory = self._inventory
        inventory.consider()
        while inventory.size < min(inventory.min_size, inventory.limit()):
            await inventory.changed()
            if inventory.refusal is not None:
                raise inventory.refusal

    def _refuse_closing(self) -> None:
        """End a start during which :meth:`aclose` was called."""
        if self._desk.state == "closing":
            self._undo_start()
            raise self._desk.draining() from None

    def _undo_start(self) -> None:
        self._inventory.stop()
        self._inventory.cut()
        self._desk.state = "new"

    async def aclose(self) -> None:
        """End all waits, wait `close_timeout` seconds for the borrowers, and close every connection."""
        desk, inventory = self._desk, self._inventory
        if desk.state == "starting" and self._starting is not None:
            limit, over = self._starting
            desk.state = "closing"
            if not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())  # start() ends with a DrainingError
            await over.wait()
            return
        if desk.state not in ("running", "suspended"):
            return
        desk.state = "closing"
        inventory.stop()
        inventory.fail_queue(desk.draining())
        try:
            if self._replicas is not None:
                await self._replicas.aclose()
            await self._upkeep.stop()
            await self._probe.aclose()
            async with asyncio.timeout(self._close_timeout):
                await inventory.drained()
        except TimeoutError:
            pass
        finally:
            inventory.cut()
            desk.state = "closed"

    def suspend(self) -> None:
        """Lend nothing until :meth:`resume`: callers wait within their limits, borrowers finish. For a switchover."""
        if self._desk.state == "running":
            self._desk.state = "suspended"
            self._inventory.lending = False

    def resume(self) -> None:
        """Lend again after :meth:`suspend`."""
        if self._desk.state == "suspended":
            self._desk.state = "running"
            self._inventory.lending = True
            self._inventory.feed()
            self._inventory.consider()
