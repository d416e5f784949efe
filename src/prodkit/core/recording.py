"""Record events as JSON lines and read them back.

One line an event, in order of emission::

    {"at": 12.5, "time": "2026-11-24T18:00:00+00:00", "event": "breaker.opened", "level": "WARNING",
     "fields": {"breaker": "payments", "hold": 300.0}}

``at`` is the monotonic instant in seconds (only differences mean anything), ``time`` the wall time in UTC. The console,
``prodkit replay`` and tests read this format. Lines that are not of it are skipped and counted.
"""

from __future__ import annotations

import dataclasses
import json
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from prodkit.core.events import Event
from prodkit.core.runtime import Runtime

__all__ = ["Recorded", "Recorder", "from_event", "read", "replay"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded event.

    Args:
        at: monotonic instant in seconds.
        time: wall time, aware UTC.
        event: the event's name, such as ``breaker.opened``.
        level: DEBUG, INFO, WARNING or ERROR.
        fields: the event's fields; values that JSON does not know are their text.
    """

    at: float
    time: datetime
    event: str
    level: str = "DEBUG"
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def line(self) -> str:
        """Return the record as one line of JSON, without the line feed."""
        record = {
            "at": round(self.at, 6),
            "time": self.time.isoformat(),
            "event": self.event,
            "level": self.level,
            "fields": dict(self.fields),
        }
        return json.dumps(record, default=str, ensure_ascii=False, allow_nan=False)

    @classmethod
    def parse(cls, line: str) -> Recorded:
        """Return the record of `line`.

        Raises:
            ValueError: the line is not a record.
        """
        found = json.loads(line)
        try:
            at, time, event = found["at"], datetime.fromisoformat(found["time"]), found["event"]
            level, fields = found.get("level", "DEBUG"), found.get("fields", {})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a recorded event: {line[:80]!r}") from error
        if (
            isinstance(at, bool)
            or not isinstance(at, int | float)
            or not isinstance(event, str)
            or not isinstance(fields, dict)
        ):
            raise ValueError(f"not a recorded event: {line[:80]!r}")  # noqa: TRY004 - one error for every bad line
        return cls(float(at), time, event, str(level), fields)


class Recorder:
    """Subscribes to a runtime's events and hands each record to a sink.

    ::

        with Recorder(runtime, "events.jsonl"):
            ...

    A path is opened for appending, readable by its owner only, and every line is flushed. A line that cannot be
    written (a full disk) is counted in :attr:`lost`; the guarded call never notices.

    Args:
        runtime: whose events are recorded.
        sink: a path, or a function that takes one :class:`Recorded`.
        kinds: event classes to record; all of them when empty.
    """

    def __init__(
        self, runtime: Runtime, sink: str | Path | Callable[[Recorded], object], *kinds: type[Event]
    ) -> None:
        self.lost: int = 0
        self._runtime = runtime
        self._file: IO[str] | None = None
        self._lock = threading.Lock()
        if callable(sink):
            self._sink: Callable[[Recorded], object] = sink
        else:
            path = Path(sink)
            path.touch(mode=0o600, exist_ok=True)
            self._file = path.open("a", encoding="utf-8")
            self._sink = self._write
        self._unsubscribe = runtime.events.subscribe(self._on_event, *kinds)

    def close(self) -> None:
        """Stop recording; may be called more than once."""
        self._unsubscribe()
        with self._lock:
            if self._file is not None:
                with suppress(OSError):  # what could not be written is counted already
                    self._file.close()
                self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _on_event(self, event: Event) -> None:
        clock = self._runtime.clock
        self._sink(from_event(event, at=clock.monotonic(), time=clock.now()))

    def _write(self, record: Recorded) -> None:
        with self._lock:
            if self._file is None:
                return
            try:
                self._file.write(_redacted(record).line() + "\n")
                self._file.flush()
            except (OSError, ValueError):
                self.lost += 1


def _redacted(record: Recorded) -> Recorded:
    """A reason may quote a foreign error, and a file outlives the process. Numbers stay: they are replayed."""
    from prodkit.core.redaction import redact

    fields = {
        name: redact(value) if isinstance(value, str | list | dict) else value
        for name, value in record.fields.items()
    }
    return replace(record, fields=fields)


def from_event(event: Event, *, at: float, time: datetime) -> Recorded:
    """Return the record of `event`.

    Args:
        event: any event of the stream.
        at: monotonic instant in seconds.
        time: wall time, aware UTC.
    """
    fields = {each.name: _plain(getattr(event, each.name)) for each in dataclasses.fields(event)}
    return Recorded(at, time, event.name, event.level, fields)


def read(lines: Iterable[str], skipped: list[str] | None = None) -> Iterator[Recorded]:
    """Yield the records of `lines`, such as an open file.

    Args:
        lines: one record a line; empty lines are ignored.
        skipped: receives the lines that are no records, such as one cut by a crash.
    """
    for line in lines:
        if not line.strip():
            continue
        try:
            yield Recorded.parse(line)
        except ValueError:
            if skipped is not None:
                skipped.append(line)


def replay(records: Iterable[Recorded]) -> Iterator[tuple[float, Recorded]]:
    """Yield each record with the seconds since the first one."""
    first: float | None = None
    for record in records:
        first = record.at if first is None else first
        yield record.at - first, record


def _plain(value: Any) -> Any:
    """Return `value` as JSON can hold it: dataclasses as mappings, tuples as lists, NaN as None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(each) for each in value]
    return str(value)
