"""A decision in HTTP: status, fields and a problem document.

Fields follow the draft of the IETF's httpapi group (``RateLimit-Policy`` and ``RateLimit``, as structured
fields). Leave them off responses with a 3xx status: a client might follow a redirect that costs nothing.
"""

from __future__ import annotations

import math
from functools import lru_cache

from prodkit.ratelimit.decision import Decision, LimitState
from prodkit.ratelimit.limit import Limit
from prodkit.ratelimit.messages import Language, message, title

__all__ = ["headers", "problem", "status"]


def status(decision: Decision) -> int:
    """Return 200 when allowed, 429 when the caller did too much, 503 when Redis is missing.

    Args:
        decision: the answer of a check.
    """
    if decision.allowed:
        return 200
    return 503 if decision.unavailable else 429


def headers(decision: Decision, *, legacy: bool = False) -> dict[str, str]:
    """Return ``RateLimit-Policy``, ``RateLimit`` with the tightest limit first, and ``Retry-After`` after a refusal.

    ``Retry-After`` is rounded up, so that a client that keeps to it is never early. Limits on trial (``shadow``) are
    left out.

    Args:
        decision: the answer of a check.
        legacy: also the ``X-RateLimit-Limit``, ``-Remaining`` and ``-Reset`` fields of the tightest limit.
    """
    if decision.allowed and not legacy and len(decision._limits) == 1 and not decision._limits[0].shadow:
        # The usual case, on every response: one limit and quota left, said without sorting and without a LimitState.
        ((remaining, _, more, _),) = decision._outlooks
        field = f'"{decision._limits[0].name}";r={remaining}'
        return {
            "RateLimit-Policy": _policy(decision._limits[0]),
            "RateLimit": f"{field};t={max(1, -(-more // 1_000_000))}" if more > 0 else field,
        }
    states = [state for state in decision.states if not state.limit.shadow]
    if not states:
        return {}
    fields = {"RateLimit-Policy": ", ".join(_policy(state.limit) for state in states)}
    if not decision.unavailable:
        ordered = sorted(states, key=lambda each: (-each.retry_after, each.remaining, -each.more_after))
        fields["RateLimit"] = ", ".join(_state(state) for state in ordered)
        if legacy:
            first = ordered[0]
            fields["X-RateLimit-Limit"] = str(first.limit.amount)
            fields["X-RateLimit-Remaining"] = str(first.remaining)
            fields["X-RateLimit-Reset"] = str(_whole(first.retry_after or first.reset_after))
    if not decision.allowed:
        fields["Retry-After"] = str(_whole(decision.retry_after))
    return fields


def problem(decision: Decision, language: Language = "en") -> dict[str, object]:
    """Return the body of a refusal as ``application/problem+json`` (RFC 9457).

    Args:
        decision: a refusal.
        language: of title and detail.
    """
    body: dict[str, object] = {
        "type": "about:blank" if decision.unavailable else _QUOTA_EXCEEDED,
        "title": title(decision, language),
        "status": status(decision),
        "detail": message(decision, language),
        "code": "unavailable" if decision.unavailable else "rate_limited",
        "retry_after": _whole(decision.retry_after),
    }
    if not decision.unavailable:
        body["limit"] = decision.violated[0].name
        body["violated-policies"] = [limit.name for limit in decision.violated]
    return body


_QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"


@lru_cache(maxsize=256)
def _policy(limit: Limit) -> str:
    return f'"{limit.name}";q={limit.amount};w={_whole(limit.window)}'


def _state(state: LimitState) -> str:
    wait = state.retry_after or state.more_after
    field = f'"{state.limit.name}";r={state.remaining}'
    return f"{field};t={_whole(wait)}" if wait > 0 else field


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds))
