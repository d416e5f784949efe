"""A Messages API on loopback that follows a fault script, in a process of its own.

::

    with Simulator() as claude:
        claude.script("overloaded", "midrst")            # the next two requests; then all is well
        client = llm.Client("any key", base_url=claude.url)

``python -m prodkit.testing.anthropic --port 8099 --answers council`` serves one by hand.
"""

from __future__ import annotations

from prodkit.testing.anthropic.behaviour import Behaviour, BehaviourLike
from prodkit.testing.anthropic.simulator import Simulator
from prodkit.testing.anthropic.state import Counters, Received

__all__ = ["Behaviour", "BehaviourLike", "Counters", "Received", "Simulator"]
