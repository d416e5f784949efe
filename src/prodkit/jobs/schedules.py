"""Schedules: when a job is enqueued by itself. Every worker finds the same ticks, and one of them enqueues the run."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from prodkit.core.validate import Arguments

__all__ = ["Cron", "Every"]

_RANDOM: Final = re.compile(r"(?<![A-Za-z])[Rr](?![A-Za-z])")


@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule in cron's notation: ``Cron("0 3 * * *")`` is every night at 03:00 UTC.

    In a time zone with summer time, a tick in the hour that is left out comes at its end, and a tick at a fixed hour
    in the hour that is repeated comes once::

        Cron("30 2 * * *", timezone="America/New_York")      8 March 2026: 03:00     9 March 2026: 02:30

    Args:
        expression: five fields, or six with seconds last.
        timezone: the zone of the fields, such as ``"America/Sao_Paulo"``.
    """

    expression: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        from croniter import croniter

        check = Arguments("Cron")
        check.text("expression", self.expression)
        check.attempt(self._zone)
        check.done()
        if not croniter.is_valid(self.expression) or _RANDOM.search(self.expression):
            raise ValueError(f"Cron: not a cron expression: {self.expression!r}")
        if self.around(time.time())[1] == math.inf:
            raise ValueError(f"Cron: the expression has no tick in the years to come: {self.expression!r}")

    def around(self, now: float) -> tuple[float, float]:
        """Return the last tick at or before `now`, and the next one, in seconds of the epoch; infinite for none."""
        following = self._tick(now, "get_next")
        last = self._tick(following if following < math.inf else now, "get_prev")
        # Backwards, a tick beside a change of the clock by half an hour can be passed over: forwards decides.
        while -math.inf < last < (between := self._tick(last, "get_next")) <= now:
            last = between
        return last, following

    def _tick(self, moment: float, direction: str) -> float:
        from croniter import CroniterBadDateError, croniter

        zone = self._zone()
        # UTC needs no date objects, and a repeated hour only matters to ticks that name their hour.
        start: Any = moment if zone is UTC else datetime.fromtimestamp(moment, zone)
        ticks = croniter(self.expression, start)
        try:
            found = float(getattr(ticks, direction)(float))
            while self._fixed and datetime.fromtimestamp(found, zone).fold:
                found = float(getattr(ticks, direction)(float))
        except CroniterBadDateError:
            return math.inf if direction == "get_next" else -math.inf
        return found

    @property
    def _fixed(self) -> bool:
        fields = self.expression.split()
        return self.expression.strip().lower() != "@hourly" if len(fields) == 1 else "*" not in fields[1]

    def _zone(self) -> tzinfo:
        if self.timezone == "UTC":
            return UTC
        from zoneinfo import ZoneInfo

        try:
            return ZoneInfo(self.timezone)
        except (LookupError, ValueError, OSError, TypeError, AttributeError):
            raise ValueError(f"timezone must be the name of a time zone, got {self.timezone!r}") from None


@dataclass(frozen=True, slots=True)
class Every:
    """A schedule with a fixed period, aligned to the epoch so that all workers agree on the ticks.

    Args:
        seconds: the period.
    """

    seconds: float

    def __post_init__(self) -> None:
        check = Arguments("Every")
        check.seconds("seconds", self.seconds)
        check.done()

    def around(self, now: float) -> tuple[float, float]:
        """Return the last tick at or before `now`, and the next one, in seconds of the epoch."""
        number = now // self.seconds
        return number * self.seconds, (number + 1) * self.seconds
