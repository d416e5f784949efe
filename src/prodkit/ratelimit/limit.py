"""Limit: how many in how long, and what holds while Redis is away."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from uuid import UUID

from prodkit.ratelimit.algorithms import quantum

__all__ = ["Key", "Limit", "OnOutage"]

Key: TypeAlias = str | int | bytes | UUID | None
"""Whom to count. None stands for everybody without a key, together."""
OnOutage: TypeAlias = Literal["local", "deny", "allow"]

_RATE: Final = re.compile(r"\s*(\d+)\s*(?:/|per)\s*(\d+)?\s*([a-z]+)\s*", re.IGNORECASE)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,63}")
_UNITS: Final = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
}
_MOST: Final = 1_000_000
_LONGEST: Final = 366 * 86400


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many in *any* stretch of time of that length.

    ::

        Limit("10/hour", name="upload")
        Limit("5/15 min", name="login", on_outage="local")

    Units are s, min, h and day, also spelled out. Limits with the same name and window share their
    counters, so changing the amount keeps the history.

    Args:
        rate: ``"10/hour"``, ``"5/15 min"``; at most 1 000 000 and at most 366 days.
        name: appears in events, headers and Redis keys; the rate itself when it is not given.
        on_outage: while Redis is away: ``local`` counts in this process, ``deny`` refuses (503), ``allow``
            lets everybody through and emits :class:`RateLimitUnchecked`.
        replicas: processes that share the limit. Each one alone allows ``ceil(amount / replicas)``.
        texts: replaces the first sentence of the message to the user, by language: ``{"pt-BR": "…", "en":
            "…"}``.
    """

    rate: str
    name: str = ""
    on_outage: OnOutage = field(default="local", kw_only=True)
    replicas: int = field(default=1, kw_only=True)
    texts: Mapping[str, str] | None = field(default=None, kw_only=True, hash=False)
    amount: int = field(init=False, repr=False)
    window: float = field(init=False, repr=False)
    window_us: int = field(init=False, repr=False, compare=False)
    quantum_us: int = field(init=False, repr=False, compare=False)
    share: int = field(init=False, repr=False, compare=False)
    series: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        problems: list[str] = []
        amount, window = _parse(self.rate, problems)
        name = self.name or "".join(str(self.rate).split())
        if not _NAME.fullmatch(name):
            problems.append(
                f"name={name!r} must be 1 to 64 of A-Z a-z 0-9 _ . / - and begin with a letter or digit"
            )
        if self.on_outage not in ("local", "deny", "allow"):
            problems.append(f"on_outage={self.on_outage!r} must be 'local', 'deny' or 'allow'")
        if self.replicas < 1:
            problems.append(f"replicas={self.replicas!r} must be at least 1")
        if problems:
            raise ValueError("; ".join(problems))
        settle = object.__setattr__
        settle(self, "name", name)
        settle(self, "amount", amount)
        settle(self, "window", float(window))
        settle(self, "window_us", window * 1_000_000)
        settle(self, "quantum_us", quantum(amount, window * 1_000_000))
        settle(self, "share", -(-amount // self.replicas))
        settle(self, "series", f"{name}:{window}")


def _parse(rate: str, problems: list[str]) -> tuple[int, int]:
    match = _RATE.fullmatch(rate)
    unit = _UNITS.get(match[3].lower()) if match else None
    if match is None or unit is None:
        problems.append(
            f"rate={rate!r} must read like '10/hour', '5/15 min' or '3/day' (units: s, min, h, day)"
        )
        return 1, 1
    amount, window = int(match[1]), int(match[2] or 1) * unit
    if not 1 <= amount <= _MOST:
        problems.append(f"rate={rate!r} must allow 1 to {_MOST}")
    if not 1 <= window <= _LONGEST:
        problems.append(f"rate={rate!r} must cover 1 second to 366 days")
    return amount, window
