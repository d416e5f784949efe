"""A recording of production events becomes a fault trace: which fault, from when to when, with how many calls."""

from datetime import UTC, datetime

import pytest

from prodkit.core.recording import Recorded
from prodkit.testing.trace import Phase
from prodkit.testing.trace_recording import trace_from

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def record(at: float, event: str = "retry.scheduled", **fields: object) -> Recorded:
    return Recorded(1000.0 + at, NOW, event, "INFO", fields)


def started() -> Recorded:
    return record(0, "service.started")


def shapes(*records: Recorded, **options: str) -> list[tuple[str, float]]:
    return [(phase.name, phase.seconds) for phase in trace_from(records, **options)]


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        ("ConnectionRefusedError", "refused"),
        ("ConnectError", "refused"),
        ("ConnectionResetError", "refused"),
        ("gaierror", "refused"),
        ("NetworkUnreachable", "refused"),
        ("BrokenPipeError", "refused"),
        ("NetworkError", "refused"),
        ("RemoteProtocolError", "refused"),
        ("ReadTimeout", "slow"),
        ("ConnectTimeout", "slow"),
        ("DeadlineExceededError", "slow"),
        ("TimedOut", "slow"),
        ("HTTPStatusError", "failing"),
        ("", "failing"),
    ],
)
@pytest.mark.parametrize("event", ["retry.scheduled", "retry.gave_up"])
def test_the_error_names_the_fault(error: str, fault: str, event: str) -> None:
    phases = trace_from([started(), record(30, event, error=error)])
    assert phases == (Phase("normal", 10), Phase(f"{fault} 1", 1, fault), Phase("after", 20))  # type: ignore[arg-type]


@pytest.mark.parametrize("error", ["CircuitOpenError", "BulkheadFullError", "RateLimitedError"])
def test_refusals_by_a_policy_are_no_fault(error: str) -> None:
    with pytest.raises(ValueError, match="holds no fault"):
        trace_from([record(1, error=error)])


@pytest.mark.parametrize("event", ["cache.hit", "breaker.half_opened", "gate.passed"])
def test_other_events_are_no_fault(event: str) -> None:
    with pytest.raises(ValueError, match="holds no fault"):
        trace_from([record(1, event, error="ConnectError", seconds=9)])


def test_gaps_of_five_seconds_do_not_end_a_fault_and_longer_ones_do() -> None:
    assert shapes(started(), record(20), record(26)) == [("normal", 10), ("failing 1", 7), ("after", 20)]
    assert shapes(started(), record(20), record(27)) == [
        ("normal", 10), ("failing 1", 1), ("healthy 1", 6), ("failing 2", 1), ("after", 20),
    ]  # fmt: skip


def test_healthy_stretches_have_bounds() -> None:
    assert shapes(record(0), record(2, error="ReadTimeout")) == [
        ("normal", 10), ("failing 1", 1), ("healthy 1", 1), ("slow 1", 1), ("after", 20),
    ]  # fmt: skip
    assert shapes(record(0), record(500))[2] == ("healthy 1", 60)
    assert shapes(started(), record(3))[0] == ("normal", 10)
    assert shapes(started(), record(12))[0] == ("normal", 10)
    assert shapes(started(), record(3000))[0] == ("normal", 10)


def test_another_fault_at_once_is_another_phase_and_each_kind_is_numbered() -> None:
    assert shapes(record(0), record(1, error="ReadTimeout"), record(2, error="KeyError")) == [
        ("normal", 10), ("failing 1", 1), ("healthy 1", 1), ("slow 1", 1), ("healthy 2", 1), ("failing 2", 1),
        ("after", 20),
    ]  # fmt: skip


def test_the_commonest_fault_of_a_second_counts() -> None:
    phases = trace_from([record(0.1), record(0.2, error="ReadTimeout"), record(0.9, error="ReadTimeout")])
    assert [phase.fault for phase in phases] == ["none", "slow", "none"]


def test_an_open_circuit_lasts_until_it_closes() -> None:
    opened = record(31, "breaker.opened", breaker="b", hold=30)
    found = shapes(
        started(), record(30, error="ConnectError"), opened, record(50.5, "breaker.closed", breaker="b")
    )
    assert found == [("normal", 10), ("refused 1", 21), ("after", 20)]
    again = record(40, "breaker.opened", breaker="b", hold=30)
    assert (
        shapes(
            started(),
            record(30, error="ConnectError"),
            opened,
            again,
            record(50, "breaker.closed", breaker="b"),
        )
        == found
    )
    still = shapes(started(), record(30, error="ConnectError"), opened, record(70, "cache.hit"))
    assert still == [("normal", 10), ("refused 1", 41), ("after", 20)]


def test_an_open_circuit_has_the_fault_that_opened_it() -> None:
    phases = trace_from(
        [
            started(),
            record(20, error="ReadTimeout"),
            record(20, "gate.closed", seconds=0.5),
            record(21, "breaker.opened", breaker="b"),
            record(40, "breaker.closed", breaker="b"),
        ]
    )
    assert [(phase.name, phase.seconds) for phase in phases][1:-1] == [("slow 1", 21)]


OPENED = [record(20, error="ReadTimeout"), record(21, "breaker.opened", breaker="b")]
CLOSED = record(40, "breaker.closed", breaker="b")
END = record(40.5, "cache.hit")


@pytest.mark.parametrize("last", [CLOSED, END])
def test_an_open_circuit_is_one_vote_in_each_of_its_seconds(last: Recorded) -> None:
    def faults(*more: Recorded) -> list[str]:
        found = trace_from(in_order([started(), *OPENED, *more, last]))
        return [phase.fault for phase in found if phase.fault != "none"]

    one, slow = record(30, error="KeyError"), record(30.5, error="ReadTimeout")
    assert faults() == ["slow"]
    assert faults(one) == [
        "slow",
        "failing",
        "slow",
    ]  # a draw goes to the event, which is the more certain one
    assert faults(one, slow) == ["slow"]
    assert faults(
        one, record(21, "breaker.opened", breaker="c"), record(40, "breaker.closed", breaker="c")
    ) == ["slow"]


def test_only_a_gate_names_its_seconds() -> None:
    assert shapes(started(), record(30, error="KeyError", seconds=9))[1] == ("failing 1", 1)


def test_a_circuit_that_closes_without_having_opened_was_ill_for_that_second() -> None:
    assert shapes(started(), record(30, "breaker.closed", breaker="b")) == [
        ("normal", 10),
        ("failing 1", 1),
        ("after", 20),
    ]


@pytest.mark.parametrize(
    ("seconds", "length"), [(4.0, 5), (4, 5), (0.2, 1), (None, 1), ("x", 1), (10_000, 3601)]
)
def test_a_closed_gate_lasts_as_long_as_it_says(seconds: object, length: int) -> None:
    phases = trace_from([started(), record(30, "gate.closed", gate="g", seconds=seconds)])
    assert phases[1] == Phase("throttled 1", length, "throttled")


@pytest.mark.parametrize("field", ["breaker", "gate", "call", "bulkhead", "limiter"])
def test_a_name_selects_the_faults_of_one_dependency(field: str) -> None:
    mine, others = (
        record(30, error="KeyError", **{field: "mine"}),
        record(60, error="KeyError", **{field: "x"}),
    )
    assert shapes(record(0, "x", **{field: "mine"}), mine, others, name="mine") == [
        ("normal", 10),
        ("failing 1", 1),
        ("after", 20),
    ]
    with pytest.raises(ValueError, match="holds no fault"):
        trace_from([record(0, error="KeyError", queue="mine")], name="mine")


def calls(start: float, end: float, rate: int, event: str = "llm.finished") -> list[Recorded]:
    return [record(start + number / rate, event) for number in range(int((end - start) * rate))]


def in_order(records: list[Recorded]) -> list[Recorded]:
    return sorted(records, key=lambda each: each.at)


@pytest.mark.parametrize("event", ["llm.finished", "pool.acquired"])
def test_the_load_of_a_phase_is_in_proportion_to_the_mean(event: str) -> None:
    records = in_order(
        [
            *calls(0, 40, 10, event),
            *calls(40, 60, 40, event),
            *calls(60, 100, 10, event),
            *(record(40 + at) for at in range(20)),
        ]
    )
    assert [(phase.name, phase.load) for phase in trace_from(records)] == [
        ("normal", 0.62), ("failing 1", 2.5), ("after", 0.62),
    ]  # fmt: skip


def test_the_load_begins_with_the_first_call_and_looks_twenty_seconds_ahead() -> None:
    records = in_order([started(), *calls(20, 60, 10), *calls(60, 80, 70), record(39)])
    assert [phase.load for phase in trace_from(records)] == [0.33, 0.33, 0.33]


def test_the_event_that_ends_a_call_can_be_named() -> None:
    records = in_order(
        [*calls(0, 100, 5), *calls(0, 50, 10, "mine"), *calls(50, 100, 30, "mine"), record(80)]
    )
    assert [phase.load for phase in trace_from(records)] == [1, 1, 1]
    assert [phase.load for phase in trace_from(records, calls="mine")] == [1.5, 1.5, 1.5]
    with pytest.raises(ValueError, match=r"no event 'other'"):
        trace_from(records, calls="other")


def test_outside_of_the_recording_the_load_is_the_usual_one() -> None:
    assert [phase.load for phase in trace_from([record(0), *calls(0, 1, 10)])] == [1, 1, 1]
    assert [phase.load for phase in trace_from([record(0), record(400)])] == [1] * 5


def test_a_load_has_a_bound_and_may_be_nothing() -> None:
    records = in_order([*calls(0, 1, 10), record(30), *calls(99, 100, 2000), record(99)])
    loads = {phase.name: phase.load for phase in trace_from(records)}
    assert loads == {"normal": 0.0, "failing 1": 0.0, "healthy 1": 0.0, "failing 2": 10.0, "after": 1}
