"""Limit: how many in how long, and which rule holds while Redis is away."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

from prodkit.core.validate import Arguments
from prodkit.ratelimit.algorithms import quantum

__all__ = ["Key", "Limit", "OnOutage", "limits"]

Key: TypeAlias = str | int | bytes | UUID | None
"""The caller to count. None stands for all callers without a key, together."""
OnOutage: TypeAlias = Literal["local", "deny", "allow"]

_RATE: Final = re.compile(r"\s*([0-9]{1,18})\s*(?:/|per)\s*([0-9]{1,18})?\s*([a-z]+)\s*", re.IGNORECASE)
_SEPARATORS: Final = re.compile("[;,|]")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,63}")
_DAY: Final = 86400
_UNITS: Final = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), _DAY),
    **dict.fromkeys(("w", "week", "weeks"), 7 * _DAY),
    **dict.fromkeys(("month", "months"), 30 * _DAY),
    **dict.fromkeys(("y", "year", "years"), 365 * _DAY),
}
_MOST: Final = 1_000_000
_LONGEST: Final = 366 * _DAY


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many in *any* stretch of time of that length.

    ::

        Limit("10/hour", name="upload")
        Limit("5/15 min", name="login", on_outage="local")

    Units are s, min, h, day, week, month (30 days) and year (365 days), also spelled out. Limits with the same name
    and window share their counters, so changing the amount keeps the history.

    Args:
        rate: ``"10/hour"``, ``"5/15 min"``; at most 1 000 000 and at most 366 days.
        name: appears in events, headers and Redis keys; the default is the rate itself.
        on_outage: while Redis is away: ``local`` counts in this process, ``deny`` refuses (503), ``allow`` admits
            every caller and emits :class:`RateLimitUnchecked`.
        replicas: processes that share the limit. Each one alone allows ``ceil(amount / replicas)`` while Redis is
            away.
        count_denied: refused calls count too, so a caller who does not pause stays refused. The default counts
            admitted calls only, and waiting ``retry_after`` is enough.
        shadow: count and emit events, but refuse no call: for trying a limit out in production.
        texts: replaces the first sentence of the message to the user, by language:
            ``{"pt-BR": "…", "en": "…"}``.
    """

    rate: str
    name: str = ""
    on_outage: OnOutage = field(default="local", kw_only=True)
    replicas: int = field(default=1, kw_only=True)
    count_denied: bool = field(default=False, kw_only=True)
    shadow: bool = field(default=False, kw_only=True)
    texts: Mapping[str, str] | None = field(default=None, kw_only=True, hash=False)
    amount: int = field(init=False, repr=False)
    window: float = field(init=False, repr=False)
    window_us: int = field(init=False, repr=False, compare=False)
    quantum_us: int = field(init=False, repr=False, compare=False)
    share: int = field(init=False, repr=False, compare=False)
    series: str = field(init=False, repr=False, compare=False)
    plain: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check = Arguments("Limit")
        amount, window = _parse(self.rate, check)
        name = self.name or "".join(str(self.rate).split())
        if (self.name or amount) and not _NAME.fullmatch(str(name)):
            check.value("name= must be 1 to 64 of A-Z a-z 0-9 _ . / - and begin with a letter or digit", name)
        check.one_of("on_outage=", self.on_outage, ("local", "deny", "allow"))
        check.integer("replicas=", self.replicas, minimum=1)
        check.instance("count_denied=", self.count_denied, bool, "a bool")
        check.instance("shadow=", self.shadow, bool, "a bool")
        check.instance("texts=", self.texts, Mapping, "a mapping of language to text", optional=True)
        check.done()
        settle = object.__setattr__
        settle(self, "name", name)
        settle(self, "amount", amount)
        settle(self, "window", float(window))
        settle(self, "window_us", window * 1_000_000)
        settle(self, "quantum_us", quantum(amount, window * 1_000_000))
        settle(self, "share", -(-amount // self.replicas))
        settle(self, "series", f"{name}:{window}")
        settle(self, "plain", not (self.count_denied or self.shadow))


def limits(rates: str, name: str = "", **options: Any) -> tuple[Limit, ...]:
    """Return one :class:`Limit` for each rate of a text such as ``"10/hour; 100/day"``.

    Args:
        rates: rates separated by ``;``, ``,`` or ``|``.
        name: of all of them; each keeps counters of its own, because its window differs.
        options: further arguments of :class:`Limit`.

    Raises:
        ValueError: a rate cannot be read, or two have the same window.
    """
    if not isinstance(rates, str):
        raise TypeError(f"limits: rates must be a string such as '10/hour; 100/day', got {rates!r}")
    found = tuple(Limit(rate, name, **options) for rate in _SEPARATORS.split(rates))
    if len({each.window for each in found}) < len(found):
        raise ValueError(f"limits: two rates of {rates!r} have the same window")
    return found


def _parse(rate: object, check: Arguments) -> tuple[int, int]:
    match = _RATE.fullmatch(rate) if isinstance(rate, str) else None
    unit = _UNITS.get(match[3].lower()) if match else None
    if match is None or unit is None:
        wanted = (
            "rate= must read like '10/hour', '5/15 min' or '3/day' (units: s, min, h, day, week, month, year)"
        )
        if isinstance(rate, str) and _SEPARATORS.search(rate):
            wanted += "; several rates in one text are for ratelimit.limits()"
        check.value(wanted, rate if not isinstance(rate, str) or len(rate) <= 80 else f"{rate[:80]}…")
        return 0, 1
    amount, window = int(match[1]), int(match[2] or 1) * unit
    if not 1 <= amount <= _MOST:
        check.value(f"rate= must allow 1 to {_MOST}", rate)
    if not 1 <= window <= _LONGEST:
        check.value("rate= must cover 1 second to 366 days", rate)
    return amount, window
