import io
import json
import math
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from prodkit import Event, Runtime
from prodkit.core.recording import Recorded, Recorder, from_event, read, replay


@dataclass(frozen=True)
class Usage:
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Event):
    name = "thing.measured"
    level = "INFO"
    size: int
    ratio: float = 0.5
    usage: Usage = Usage(3)
    codes: tuple[str, ...] = ("a",)


NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def test_a_record_comes_back_as_it_was() -> None:
    record = from_event(Measured(size=4), at=1.25, time=NOON)
    assert Recorded.parse(record.line()) == record
    assert json.loads(record.line()) == {
        "at": 1.25,
        "time": "2026-01-02T12:00:00+00:00",
        "event": "thing.measured",
        "level": "INFO",
        "fields": {"size": 4, "ratio": 0.5, "usage": {"tokens": 3}, "codes": ["a"]},
    }


def test_lines_are_strict_json_and_single() -> None:
    line = from_event(Measured(size=1, ratio=math.nan, codes=("a\nb",)), at=0, time=NOON).line()
    assert "\n" not in line
    assert json.loads(line, parse_constant=pytest.fail)["fields"]["ratio"] is None


def test_a_file_is_written_private_and_line_by_line(tmp_path: Path) -> None:
    runtime, path = Runtime(), tmp_path / "events.jsonl"
    with Recorder(runtime, path) as recorder:
        runtime.events.emit(Measured(size=1))
        assert len(path.read_text().splitlines()) == 1
        runtime.events.emit(Measured(size=2))
    runtime.events.emit(Measured(size=3))
    with path.open() as lines:
        assert [record.fields["size"] for record in read(lines)] == [1, 2]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert recorder.lost == 0


def test_a_full_disk_is_counted_and_breaks_nothing(tmp_path: Path) -> None:
    runtime = Runtime()
    with Recorder(runtime, "/dev/full") as recorder:
        runtime.events.emit(Measured(size=1))
    assert recorder.lost == 1
    assert runtime.events.failures == 0


def test_a_function_receives_records() -> None:
    runtime, seen = Runtime(), []
    with Recorder(runtime, seen.append, Measured):
        runtime.events.emit(Measured(size=9))
    assert [record.event for record in seen] == ["thing.measured"]


def test_lines_that_are_no_records_are_skipped_and_kept_aside() -> None:
    good = from_event(Measured(size=1), at=5, time=NOON).line()
    bad = ["{", "[]", "null", '{"at": true, "time": "2026-01-02", "event": "x"}', '{"event": "x"}', good[:-9]]
    skipped: list[str] = []
    assert len(list(read(io.StringIO("\n".join([*bad, "", good])), skipped))) == 1
    assert len(skipped) == len(bad)


def test_replay_counts_from_the_first_record() -> None:
    records = [from_event(Measured(size=n), at=100 + n, time=NOON) for n in range(3)]
    assert [offset for offset, _ in replay(records)] == [0, 1, 2]


def test_a_file_holds_no_secret(tmp_path: Path) -> None:
    runtime, path = Runtime(), tmp_path / "events.jsonl"
    with Recorder(runtime, path):
        runtime.events.emit(Measured(size=4111111111111111, codes=("password=hunter2",)))
    with path.open() as lines:
        (found,) = read(lines)
    assert found.fields["codes"] == ["password=***"]
    assert found.fields["size"] == 4111111111111111  # numbers are replayed
