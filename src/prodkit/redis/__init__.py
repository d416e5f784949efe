"""One guarded link to Redis, used by whatever shares state between processes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prodkit.redis.breaker_state import SharedBreakers as SharedBreakers
    from prodkit.redis.events import RedisLost as RedisLost, RedisRecovered as RedisRecovered
    from prodkit.redis.link import RedisLink as RedisLink
    from prodkit.redis.scripts import Script as Script

_HOME = {
    "RedisLink": "link",
    "SharedBreakers": "breaker_state",
    "RedisLost": "events",
    "RedisRecovered": "events",
    "Script": "scripts",
}

__all__ = ["RedisLink", "RedisLost", "RedisRecovered", "Script", "SharedBreakers"]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'prodkit.redis' has no attribute {name!r}")
    value = getattr(import_module(f"prodkit.redis.{home}"), name)
    globals()[name] = value
    return value
