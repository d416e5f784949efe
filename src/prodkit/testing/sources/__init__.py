"""Perplexity, YouTube and Unsplash on loopback, each following a fault script, in one process of its own.

::

    with Simulator() as web:
        web.youtube.script("quota", "slow-3")       # the next two requests; then all is well
        web.unsplash.storm("503", 20)               # every request of 20 s
        httpx.get(f"{web.youtube.url}/youtube/v3/search", params={"q": "pão", "part": "snippet", "key": "any"})

    request -> server          one port a source, so that each has its own address
      Source.next_behaviour    storm, script, default
        perplexity | youtube | unsplash    pure: the answer of the real API, or its error in its own shape

``python -m prodkit.testing.sources --port 8101`` serves them by hand, on three ports.
"""

from __future__ import annotations

from prodkit.testing.sources.behaviour import Behaviour, BehaviourLike
from prodkit.testing.sources.simulator import Simulator, Source
from prodkit.testing.sources.state import Counters, Received

__all__ = ["Behaviour", "BehaviourLike", "Counters", "Received", "Simulator", "Source"]
