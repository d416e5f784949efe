"""Switch the policies off for tests of the code inside them.

::

    with policies.off():                # every policy of this process, until the end of the block
        await service.handle(request)   # one attempt, no waits, no open circuits

Nothing is added to the path of a healthy call: policies look here only when they would repeat, wait or refuse. To build
a service without policies, give its parts ``Runtime(policies="off")``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prodkit.core.runtime import Runtime

__all__ = ["OFF", "is_off", "off"]

OFF: Final = [0]
"""The number of open :func:`off` blocks, in a list: hot paths look into it without a call."""


@contextmanager
def off() -> Iterator[None]:
    """Switch the policies off in this process, for tests; blocks may be nested.

    Nothing is repeated, hedged, queued, refused, disturbed or replaced by a fallback; time limits stay.
    """
    OFF[0] += 1
    try:
        yield
    finally:
        OFF[0] -= 1


def is_off(runtime: Runtime | None = None) -> bool:
    """Return True inside :func:`off`, and where `runtime` has its policies switched off."""
    return OFF[0] > 0 or (runtime is not None and runtime.policies == "off")
