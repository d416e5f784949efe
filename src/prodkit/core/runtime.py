"""The three things that every part is handed: time, chance and the event stream."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from prodkit.core.clock import Clock, LoopClock
from prodkit.core.events import EventStream

__all__ = ["SYSTEM", "Runtime"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """Clock, random generator and events of one service. Make one, and give it to every part as ``runtime=``.

    Tests replace one of the three: ``Runtime(rng=random.Random(7))``.
    """

    clock: Clock = field(default_factory=LoopClock)
    rng: random.Random = field(default_factory=random.Random)
    events: EventStream = field(default_factory=EventStream)


SYSTEM: Final = Runtime()
"""The default of every ``runtime=``."""
