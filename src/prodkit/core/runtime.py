"""The runtime that every part receives: clock, random generator and event stream."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final, Literal

from prodkit.core.clock import Clock, LoopClock
from prodkit.core.events import EventStream
from prodkit.core.validate import Arguments

__all__ = ["SYSTEM", "Runtime"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """Clock, random generator and events of one service. Make one, and give it to every part as ``runtime=``.

    Tests replace one of them: ``Runtime(rng=random.Random(7))``.

    Args:
        clock: source of time; the running loop's by default.
        rng: source of jitter and sampling; seeded by the system by default.
        events: the stream that every part with this runtime emits on; a new one by default.
        policies: ``"off"`` makes every policy with this runtime call its function directly: for tests of the code
            inside.
        environment: the name of the deployment; ``"production"`` refuses fault injection.
    """

    clock: Clock = field(default_factory=LoopClock)
    rng: random.Random = field(default_factory=random.Random)
    events: EventStream = field(default_factory=EventStream)
    policies: Literal["on", "off"] = "on"
    environment: str = "development"

    def __post_init__(self) -> None:
        check = Arguments("Runtime")
        # a test's clock may have the one method that its subject calls
        check.function("clock.monotonic", getattr(self.clock, "monotonic", None))
        check.instance("rng", self.rng, random.Random, "a random.Random")
        check.instance("events", self.events, EventStream, "an EventStream")
        check.one_of("policies", self.policies, ("on", "off"))
        check.text("environment", self.environment)
        check.done()


SYSTEM: Final = Runtime()
"""The default of every ``runtime=``."""
