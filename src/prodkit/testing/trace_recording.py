"""Make a fault trace from events that were recorded in production, so that a configuration can be tried on it.

::

    events.jsonl    10:00:03 retry.scheduled ConnectionRefusedError     -> refused
                    10:00:04 breaker.opened hold=30                     -> the fault lasts while the circuit is open
                    10:00:36 breaker.closed
                    10:05:10 gate.closed seconds=1.0                    -> throttled

The number of calls follows an event that ends each call, where the recording holds one: a stretch with twice as many as
the mean is replayed with twice the calls of the built-in trace, whose upstream is at 70 % of its capacity then::

    llm.finished    ▂▂▂▂▂▂▂▂▂▂▂▂█████████▂▂▂▂▂▂▂▂▂       load 0.7, 2.4, 0.7
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from prodkit.core.recording import Recorded
from prodkit.testing.trace_upstream import Fault, Phase

__all__ = ["trace_from"]

_REFUSED: Final = (
    "Connect",
    "Refused",
    "Reset",
    "gaierror",
    "Unreachable",
    "BrokenPipe",
    "Network",
    "Protocol",
)
_SLOW: Final = ("Timeout", "DeadlineExceeded", "TimedOut")
_CALLS: Final = ("llm.finished", "pool.acquired")
_MOST: Final = 10.0  # times the usual number of calls
_GAP: Final = 5  # healthy seconds that do not end a fault
_EDGE: Final = 10  # healthy seconds before the first fault and after each
_LONGEST: Final = (
    60  # healthy seconds between two faults; longer ones are cut, because nothing happens in them
)


def trace_from(records: Iterable[Recorded], *, name: str = "", calls: str = "") -> tuple[Phase, ...]:
    """Return the phases that `records` tell of: faults and the healthy stretches between them.

    Args:
        records: of :mod:`prodkit.core.recording`, in order of time.
        name: only faults of this breaker, gate or call; empty for all.
        calls: name of the event that ends each call; by default ``llm.finished`` or ``pool.acquired``, where the
            recording holds them, else every phase has the usual number of calls.

    Raises:
        ValueError: the records hold no fault, or no event named `calls`.
    """
    every = list(records)
    about = [each for each in every if not name or _about(each, name)]
    faults = _faults(about)
    if not faults:
        raise ValueError("the recording holds no fault: no failed attempt, no opened breaker, no closed gate")
    volume = _Volume(every, about[0].at, calls)
    phases: list[Phase] = []
    at = 0
    runs: Counter[str] = Counter()
    for healthy, (start, end, fault) in enumerate(_stretches(faults)):
        quiet = min(_LONGEST, max(1, start - at)) if phases else _EDGE
        title = "normal" if not phases else f"healthy {healthy}"
        phases.append(Phase(title, quiet, load=volume.load(start - quiet, start)))
        runs[fault] += 1
        phases.append(Phase(f"{fault} {runs[fault]}", end - start, fault, load=volume.load(start, end)))
        at = end
    phases.append(Phase("after", 2 * _EDGE, load=volume.load(at, at + 2 * _EDGE)))
    return tuple(phases)


class _Volume:
    """The calls of each second, counted by the event that ends one."""

    def __init__(self, records: list[Recorded], first: float, calls: str) -> None:
        ends = [each for each in records if each.event == calls]
        if calls and not ends:
            raise ValueError(f"the recording holds no event {calls!r}")
        for known in _CALLS:
            ends = ends or [each for each in records if each.event == known]
        self._seconds = Counter(int(each.at - first) for each in ends)
        self._first, self._end = (min(self._seconds), max(self._seconds) + 1) if ends else (0, 0)

    def load(self, start: int, end: int) -> float:
        """Return the calls from `start` to `end` in proportion to the mean; 1 where nothing is known."""
        start, end = max(start, self._first), min(end, self._end)
        if end <= start:
            return 1.0  # outside of the recording
        count = sum(self._seconds[second] for second in range(start, end))
        usual = sum(self._seconds.values()) / (self._end - self._first)
        return round(min(_MOST, count / (end - start) / usual), 2)


def _about(record: Recorded, name: str) -> bool:
    return name in (record.fields.get(key) for key in ("breaker", "gate", "call", "bulkhead", "limiter"))


def _faults(records: list[Recorded]) -> dict[int, Fault]:
    """Return the fault of each second, since the first record."""
    if not records:
        return {}
    first = records[0].at
    votes: dict[int, Counter[Fault]] = {}
    opened: dict[str, tuple[float, Fault]] = {}
    latest: Fault = "failing"
    for record in records:
        at = record.at - first
        found = _fault_of(record)
        if record.event == "breaker.opened":
            opened.setdefault(str(record.fields.get("breaker")), (at, latest))
        elif record.event == "breaker.closed":
            began, fault = opened.pop(str(record.fields.get("breaker")), (at, latest))
            for second in range(int(began), int(at) + 1):
                votes.setdefault(second, Counter())[fault] += 1
        if found is None:
            continue
        if found != "throttled":
            latest = found
        seconds = record.fields.get("seconds") if record.event == "gate.closed" else 0
        length = int(seconds) if isinstance(seconds, int | float) else 0
        for second in range(int(at), int(at) + min(length, 3600) + 1):
            votes.setdefault(second, Counter())[found] += 1
    end = records[-1].at - first
    for began, fault in opened.values():  # still open at the end of the recording
        for second in range(int(began), int(end) + 1):
            votes.setdefault(second, Counter())[fault] += 1
    return {second: counter.most_common(1)[0][0] for second, counter in votes.items()}


def _fault_of(record: Recorded) -> Fault | None:
    if record.event == "gate.closed":
        return "throttled"
    if record.event not in ("retry.scheduled", "retry.gave_up"):
        return None
    error = str(record.fields.get("error", ""))
    if any(part in error for part in _SLOW):
        return "slow"
    if any(part in error for part in _REFUSED):
        return "refused"
    if any(part in error for part in ("CircuitOpen", "BulkheadFull", "RateLimited")):
        return None  # a refusal by a policy, not a fault of the dependency
    return "failing"


def _stretches(faults: dict[int, Fault]) -> list[tuple[int, int, Fault]]:
    """Return start, end and fault of each stretch; short healthy gaps within one fault do not end it."""
    found: list[tuple[int, int, Fault]] = []
    for second in sorted(faults):
        fault = faults[second]
        if found and found[-1][2] == fault and second - found[-1][1] <= _GAP:
            found[-1] = (found[-1][0], second + 1, fault)
        else:
            found.append((second, second + 1, fault))
    return found
