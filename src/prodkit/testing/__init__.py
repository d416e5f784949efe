"""The test kit, for prodkit's users as much as for prodkit: virtual time, faults, real servers, a Messages API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodkit.core.lazy import attach

if TYPE_CHECKING:
    from prodkit.testing import anthropic as anthropic, servers as servers, trace as trace
    from prodkit.testing.cancel import cancel_everywhere as cancel_everywhere
    from prodkit.testing.loop import VirtualTimeLoop as VirtualTimeLoop, virtual_time as virtual_time
    from prodkit.testing.proxy import Proxy as Proxy
    from prodkit.testing.trace import run_trace as run_trace
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "cancel": ("cancel_everywhere",),
            "loop": ("VirtualTimeLoop", "virtual_time"),
            "proxy": ("Proxy",),
            "trace": ("run_trace",),
        },
    )
