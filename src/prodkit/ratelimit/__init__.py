"""Rate limits that are exact in every window, for one process or for many.

::

    limiter.check((limit, key), …, cost=1)
      ├─ a recent refusal of the same asks: repeated from memory
      ├─ Redis up: merging.prepare (what Redis does not know of these callers) ─▶ redis_store: one script a tick
      ├─ Redis away: on_outage: deny, allow, or memory_store.take with the share of this process
      └─ Decision ─▶ headers, message, problem, raise_if_denied
"""

from __future__ import annotations

from prodkit.ratelimit.decision import Decision as Decision, LimitState as LimitState
from prodkit.ratelimit.events import (
    RateLimitCaughtUp as RateLimitCaughtUp,
    RateLimitDenied as RateLimitDenied,
    RateLimitUnchecked as RateLimitUnchecked,
)
from prodkit.ratelimit.headers import headers as headers, problem as problem, status as status
from prodkit.ratelimit.keys import account_key as account_key, client_ip as client_ip
from prodkit.ratelimit.limit import Limit as Limit, limits as limits
from prodkit.ratelimit.limiter import RateLimiter as RateLimiter
from prodkit.ratelimit.messages import message as message
from prodkit.ratelimit.presets import (
    LOGIN as LOGIN,
    LOGIN_IP as LOGIN_IP,
    REGISTER as REGISTER,
    UPLOAD as UPLOAD,
)

__all__ = [
    "LOGIN",
    "LOGIN_IP",
    "REGISTER",
    "UPLOAD",
    "Decision",
    "Limit",
    "LimitState",
    "RateLimitCaughtUp",
    "RateLimitDenied",
    "RateLimitUnchecked",
    "RateLimiter",
    "account_key",
    "client_ip",
    "headers",
    "limits",
    "message",
    "problem",
    "status",
]
