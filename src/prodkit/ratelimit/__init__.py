"""Rate limits that are exact in every window, for one process or for many."""

from __future__ import annotations

from prodkit.ratelimit.decision import Decision as Decision
from prodkit.ratelimit.decision import LimitState as LimitState
from prodkit.ratelimit.events import (
    RateLimitDenied as RateLimitDenied,
)
from prodkit.ratelimit.events import (
    RateLimitUnchecked as RateLimitUnchecked,
)
from prodkit.ratelimit.headers import headers as headers
from prodkit.ratelimit.headers import problem as problem
from prodkit.ratelimit.headers import status as status
from prodkit.ratelimit.keys import account_key as account_key
from prodkit.ratelimit.keys import client_ip as client_ip
from prodkit.ratelimit.limit import Limit as Limit
from prodkit.ratelimit.limiter import RateLimiter as RateLimiter
from prodkit.ratelimit.messages import message as message
from prodkit.ratelimit.presets import (
    AUTO_CLONE as AUTO_CLONE,
)
from prodkit.ratelimit.presets import (
    COUNCIL as COUNCIL,
)
from prodkit.ratelimit.presets import (
    ENRICHMENT as ENRICHMENT,
)
from prodkit.ratelimit.presets import (
    LOGIN as LOGIN,
)
from prodkit.ratelimit.presets import (
    LOGIN_IP as LOGIN_IP,
)
from prodkit.ratelimit.presets import (
    REGISTER as REGISTER,
)
from prodkit.ratelimit.presets import (
    UPLOAD as UPLOAD,
)

__all__ = [
    "AUTO_CLONE",
    "COUNCIL",
    "ENRICHMENT",
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
