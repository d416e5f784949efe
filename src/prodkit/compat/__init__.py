"""The names of other libraries over prodkit's policies: a migration is one changed import.

::

    from prodkit.compat import tenacity      # was: import tenacity
    from prodkit.compat import pybreaker     # was: import pybreaker

    tenacity.retry  -> tenacity's own engine and strategies, with prodkit's Deadline, rejections, budget and events
    pybreaker       -> prodkit.CircuitBreaker: permits, eras, one probe at a time

``prodkit adopt PATH`` lists what to change in a tree, and what would behave differently.
"""

from __future__ import annotations

__all__: list[str] = []
