"""The test kit, for prodkit's users as much as for prodkit: virtual time, faults, real servers, a Messages API."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prodkit.testing import anthropic as anthropic, servers as servers, trace as trace
    from prodkit.testing.cancel import cancel_everywhere as cancel_everywhere
    from prodkit.testing.loop import VirtualTimeLoop as VirtualTimeLoop, virtual_time as virtual_time
    from prodkit.testing.proxy import Proxy as Proxy
    from prodkit.testing.trace import run_trace as run_trace

_HOME = {
    **dict.fromkeys(("VirtualTimeLoop", "virtual_time"), "loop"),
    "Proxy": "proxy",
    "cancel_everywhere": "cancel",
    "run_trace": "trace",
}
_MODULES = frozenset(("anthropic", "contracts", "events", "faults", "servers", "trace"))

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"prodkit.testing.{name}")
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'prodkit.testing' has no attribute {name!r}")
    value = getattr(import_module(f"prodkit.testing.{home}"), name)
    globals()[name] = value
    return value
