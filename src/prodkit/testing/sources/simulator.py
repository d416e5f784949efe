"""The handle of the simulated sources: starts the process, writes their scripts, reads their counters."""

from __future__ import annotations

import time
from typing import Any, Final

from prodkit.core.validate import Arguments
from prodkit.testing.process import SimulatorProcess, ask
from prodkit.testing.sources.behaviour import Behaviour, BehaviourLike
from prodkit.testing.sources.state import Counters, Received

__all__ = ["SOURCES", "Simulator", "Source"]

SOURCES: Final = ("perplexity", "youtube", "unsplash")


class Source:
    """One of the simulated sources. Made by :class:`Simulator`.

    Its methods wait for the answer of a process on this machine: some milliseconds, fit for tests.

    Args:
        simulator: the process.
        name: "perplexity", "youtube" or "unsplash".
    """

    def __init__(self, simulator: Simulator, name: str) -> None:
        self._simulator = simulator
        self.name: str = name

    @property
    def url(self) -> str:
        """The base URL for a client, ``http://127.0.0.1:port``."""
        return self._simulator._address(self.name)

    def script(self, *behaviours: BehaviourLike) -> None:
        """Queue `behaviours`, one for each of the next requests."""
        self._ask("script", {"behaviours": [Behaviour.of(each).as_json() for each in behaviours]})

    def always(self, behaviour: BehaviourLike = "ok") -> None:
        """Set the `behaviour` towards requests for an empty queue."""
        self._ask("always", {"behaviour": Behaviour.of(behaviour).as_json()})

    def storm(self, behaviour: BehaviourLike, seconds: float) -> None:
        """Answer every request with `behaviour` for `seconds`, ahead of the script."""
        self._ask("storm", {"behaviour": Behaviour.of(behaviour).as_json(), "seconds": seconds})

    def quota(self, units: int | None) -> None:
        """Refuse what goes beyond `units`, in the source's own way; None lifts the quota.

        A call of Perplexity or Unsplash is one unit; YouTube counts 100 for a search, 1 for videos, 50 for captions.
        """
        if units is not None and units < 0:
            raise ValueError(f"units must not be negative, got {units!r}")
        self._ask("quota", {"units": units})

    def reset(self) -> None:
        """Forget script, storm, quota, counters and requests."""
        self._ask("reset", {})

    @property
    def counters(self) -> Counters:
        """Totals since the start or the last reset."""
        return Counters(**self._ask("state", {"requests": False})["counters"])

    @property
    def requests(self) -> list[Received]:
        """Every request since the start or the last reset, oldest first (the last 20,000 are kept)."""
        return [Received(**each) for each in self._ask("state", {})["requests"]]

    def wait_until_idle(self, timeout: float = 5.0) -> Counters:
        """Wait until no request is open and return the counters.

        Args:
            timeout: seconds.

        Raises:
            TimeoutError: requests are still open.
        """
        end = time.monotonic() + timeout
        while (now := self.counters).open_requests:
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name} is not idle after {timeout} s: {now}")
            time.sleep(0.02)
        return now

    def _ask(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return ask(self.url, command, arguments)

    def __repr__(self) -> str:
        return f"Source({self.name!r})"


class Simulator(SimulatorProcess):
    """Perplexity, YouTube and Unsplash in one process, each on a port of its own; it ends with this process.

    Args:
        host: the address to listen on.
        port: the port of Perplexity; the other two take the following ones. 0 takes free ports.
        start_timeout: seconds within which the process has to listen.
    """

    perplexity: Source
    youtube: Source
    unsplash: Source

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, start_timeout: float = 20.0) -> None:
        check = Arguments("Simulator")
        check.integer("port", port, minimum=0, maximum=65533)
        check.done()
        super().__init__("prodkit.testing.sources", {"host": host, "port": port}, start_timeout=start_timeout)
        self.perplexity = Source(self, "perplexity")
        self.youtube = Source(self, "youtube")
        self.unsplash = Source(self, "unsplash")

    @property
    def sources(self) -> tuple[Source, ...]:
        """All three."""
        return (self.perplexity, self.youtube, self.unsplash)

    def reset(self) -> None:
        """Forget script, storms, quotas, counters and requests of all three."""
        for each in self.sources:
            each.reset()

    def __repr__(self) -> str:
        return f"Simulator({'running' if self._process else 'stopped'})"
