"""Rate limits that are exact in every window, for one process or for many."""

from __future__ import annotations

from prodkit.ratelimit.decision import Decision as Decision, LimitState as LimitState
from prodkit.ratelimit.events import (
    RateLimitDenied as RateLimitDenied,
    RateLimitUnchecked as RateLimitUnchecked,
)
from prodkit.ratelimit.headers import headers as headers, problem as problem, status as status
from prodkit.ratelimit.keys import account_key as account_key, client_ip as client_ip
from prodkit.ratelimit.limit import Limit as Limit
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
    "RateLimitDenied",
    "RateLimitUnchecked",
    "RateLimiter",
    "account_key",
    "client_ip",
    "headers",
    "message",
    "problem",
    "status",
]
