"""The edges that the model of tests/models leaves out: exact instants, reasons, rules."""

import math
import random
from typing import Any

import pytest

from prodkit.policies.circuit import Change, Circuit, Lease, Rules
from prodkit.policies.window import CallWindow, TimeWindow


def made(**options: Any) -> Circuit:
    return Circuit(
        Rules(**{"failures": 2, "failure_rate": None, "open_for": 10.0, **options}), random.Random(1)
    )


def admitted(circuit: Circuit, now: float) -> Lease:
    lease, _ = circuit.admit(now)
    assert lease is not None
    return lease


def failed(circuit: Circuit, now: float, times: int = 1) -> Change | None:
    change = None
    for _ in range(times):
        change = circuit.fail(admitted(circuit, now), now)
    return change


def test_every_change_says_from_where_to_where_and_why() -> None:
    circuit = made(open_growth=2.0)
    assert failed(circuit, 5.0) is None
    assert failed(circuit, 5.0) == Change("closed", "open", "2 failures in a row", 10.0)
    assert circuit.reason == "2 failures in a row"
    assert circuit.admit(14.999) == (None, None)
    lease, change = circuit.admit(15.0)
    assert change == Change("open", "half_open", "open for 10 s")
    assert lease is not None
    assert circuit.fail(lease, 16.0) == Change("half_open", "open", "a probe failed", 20.0)
    lease, _ = circuit.admit(36.0)
    assert lease is not None
    assert circuit.succeed(lease, 37.0) == Change("half_open", "closed", "probes succeeded")
    assert failed(circuit, 40.0, 2) == Change("closed", "open", "2 failures in a row", 10.0)
    assert circuit.isolate() == Change("open", "isolated", "isolated by hand")
    assert circuit.isolate() is None
    assert circuit.reset() == Change("isolated", "closed", "reset by hand")
    assert circuit.reset() is None
    assert circuit.disable() == Change("closed", "disabled", "disabled by hand")
    assert circuit.disable() is None


def test_rates_open_it_and_say_so() -> None:
    circuit = made(failures=None, failure_rate=0.5, window_calls=10, min_calls=4)
    assert failed(circuit, 1.0, 3) is None
    assert failed(circuit, 1.0) == Change("closed", "open", "4 of 4 calls failed", 10.0)
    circuit = made(failures=None, slow_after=2.0, slow_call_rate=0.5, window_calls=10, min_calls=2)
    assert circuit.succeed(admitted(circuit, 0.0), 1.999) is None
    assert circuit.succeed(admitted(circuit, 0.0), 2.0) == Change(
        "closed", "open", "1 of 2 calls were slow", 10.0
    )


def test_a_slow_success_ends_a_run_of_failures() -> None:
    circuit = made(failures=2, slow_after=2.0, slow_call_rate=1.0, window_calls=10, min_calls=10)
    assert failed(circuit, 0.0) is None
    circuit.succeed(admitted(circuit, 0.0), 3.0)
    assert failed(circuit, 4.0) is None
    assert failed(circuit, 4.0) is not None


def test_a_slow_probe_opens_it_again() -> None:
    circuit = made(slow_after=2.0, slow_call_rate=0.5)
    failed(circuit, 0.0, 2)
    probe = admitted(circuit, 10.0)
    assert circuit.succeed(probe, 12.0) == Change("half_open", "open", "a probe was slow", 10.0)


def test_a_slow_failure_counts_as_both() -> None:
    circuit = made(failures=None, slow_after=2.0, slow_call_rate=1.0, window_calls=10, min_calls=2)
    lease = admitted(circuit, 0.0)
    assert circuit.fail(lease, 2.0) is None
    assert circuit.fail(admitted(circuit, 0.0), 2.0) == Change(
        "closed", "open", "2 of 2 calls were slow", 10.0
    )


def test_successes_are_looked_at_where_a_window_ends() -> None:
    """A slice that is over closes the short way, so that time moves on by successes too."""
    circuit = made(failures=None, failure_rate=0.5, window_seconds=10.0, min_calls=3)
    assert circuit.boundary == -math.inf
    circuit.succeed(admitted(circuit, 0.0), 0.0)
    assert circuit.boundary == 1.0
    assert circuit.ok == 0
    circuit.succeed(admitted(circuit, 0.5), 0.5)
    assert circuit.ok == 1
    circuit.succeed(admitted(circuit, 1.0), 1.0)
    assert circuit.ok == 0
    assert circuit.boundary == 2.0
    assert failed(circuit, 1.5, 2) is None
    assert failed(circuit, 1.5) == Change("closed", "open", "3 of 6 calls failed", 10.0)


def test_a_success_alone_opens_nothing() -> None:
    circuit = made(failures=None, failure_rate=0.5, window_seconds=10.0, min_calls=2)
    assert failed(circuit, 0.0) is None
    assert circuit.succeed(admitted(circuit, 5.0), 5.0) is None
    assert failed(circuit, 5.0) is not None


def test_retry_after_counts_down() -> None:
    circuit = made(probe_timeout=4.0)
    assert circuit.retry_after(0.0) is None
    failed(circuit, 0.0, 2)
    assert circuit.retry_after(4.0) == 6.0
    assert circuit.retry_after(11.0) == 0.0
    admitted(circuit, 11.0)
    assert circuit.retry_after(12.0) == 3.0
    assert circuit.retry_after(16.0) == 0.0
    circuit.isolate()
    assert circuit.retry_after(12.0) is None


def test_until_is_when_refusals_end() -> None:
    circuit = made()
    assert circuit.until == -math.inf
    failed(circuit, 1.0, 2)
    assert circuit.until == 11.0
    admitted(circuit, 11.0)
    assert circuit.until == -math.inf
    circuit.isolate()
    assert circuit.until == math.inf
    circuit.reset()
    assert circuit.until == -math.inf


def test_word_from_elsewhere_only_lengthens_a_hold() -> None:
    circuit = made()
    assert circuit.hold_open(0.0, 5.0, "elsewhere") == Change("closed", "open", "elsewhere", 5.0)
    assert circuit.hold_open(1.0, 2.0, "elsewhere") is None
    assert circuit.until == 5.0
    assert circuit.hold_open(1.0, 8.0, "elsewhere") is None
    assert circuit.until == 9.0
    circuit.isolate()
    assert circuit.hold_open(1.0, 8.0, "elsewhere") is None
    assert circuit.state(1.0) == "isolated"
    circuit.reset()
    circuit.disable()
    assert circuit.hold_open(1.0, 8.0, "elsewhere") is None


def test_disabled_it_admits_and_counts_nothing() -> None:
    circuit = made()
    circuit.disable()
    assert failed(circuit, 0.0, 50) is None
    assert circuit.succeed(admitted(circuit, 0.0), 0.0) is None
    assert circuit.state(0.0) == "disabled"
    assert circuit.ok == 0


def test_the_growth_of_the_hold_ends_with_a_recovery_or_a_hand() -> None:
    circuit = made(open_growth=3.0, max_open_for=50.0)
    failed(circuit, 0.0, 2)
    now, holds = 10.0, []
    for _ in range(3):
        change = circuit.fail(admitted(circuit, now), now)
        assert change is not None
        assert change.hold is not None
        holds.append(change.hold)
        now += change.hold
    assert holds == [30.0, 50.0, 50.0]
    circuit.isolate()
    circuit.reset()
    change = failed(circuit, now, 2)
    assert change is not None
    assert change.hold == 10.0


def test_a_recovery_forgets_what_was_counted_before() -> None:
    circuit = made(failures=None, failure_rate=0.5, window_calls=10, min_calls=2)
    assert failed(circuit, 0.0, 2) is not None
    circuit.succeed(admitted(circuit, 10.0), 10.0)
    assert circuit.state(10.0) == "closed"
    assert failed(circuit, 11.0) is None
    assert failed(circuit, 11.0) is not None
    circuit = made(failures=None, failure_rate=0.5, window_seconds=10.0)
    circuit.succeed(admitted(circuit, 0.0), 0.0)
    assert circuit.boundary == 1.0
    circuit.reset()
    assert circuit.boundary == -math.inf


def test_as_many_probes_as_asked_for_have_to_come_back() -> None:
    circuit = made(successes=2)
    failed(circuit, 0.0, 2)
    assert circuit.succeed(admitted(circuit, 10.0), 11.0) is None
    assert circuit.state(11.0) == "half_open"
    assert circuit.succeed(admitted(circuit, 11.0), 12.0) is not None
    circuit = made(successes=2)
    failed(circuit, 0.0, 2)
    circuit.succeed(admitted(circuit, 10.0), 10.0)
    circuit.fail(admitted(circuit, 10.0), 10.0)
    circuit.succeed(admitted(circuit, 20.0), 20.0)
    assert circuit.state(20.0) == "half_open"  # what the last half-open phase had proven is gone


def test_a_half_open_circuit_without_probes_promises_nothing() -> None:
    circuit = made()
    assert circuit.reason == ""
    failed(circuit, 0.0, 2)
    circuit.forget(admitted(circuit, 10.0))
    assert circuit.state(10.0) == "half_open"
    assert circuit.retry_after(10.0) is None


def test_successes_between_failures_count_without_a_window_too() -> None:
    circuit = made(failures=2)
    for _ in range(3):
        assert circuit.succeed(admitted(circuit, 0.0), 0.0) is None
        assert circuit.ok == 1
        assert failed(circuit, 0.0) is None
        assert circuit.ok == 0
    assert failed(circuit, 0.0) is not None


class TestRules:
    def test_defaults(self) -> None:
        rules = Rules()
        assert (rules.max_open_for, rules.open_growth, rules.open_jitter) == (3600.0, 1.0, 0.0)
        assert (rules.failures, rules.open_for, rules.failure_rate) == (5, 300.0, 0.6)
        assert (rules.window_calls, rules.min_calls, rules.probes, rules.successes) == (100, 20, 1, 1)
        assert rules.probe_limit == 300.0
        assert Rules(probe_timeout=7.0).probe_limit == 7.0

    def test_the_hold_grows_to_its_limit_and_jitters_upwards(self) -> None:
        rng = random.Random(3)
        rules = Rules(open_for=10, open_growth=2.0, max_open_for=35)
        assert [rules.hold(n, rng) for n in (1, 2, 3, 4, 5000)] == [10, 20, 35, 35, 35]
        assert Rules(open_for=10, max_open_for=5).hold(3, rng) == 10
        rules = Rules(open_for=10, open_jitter=0.5)
        holds = [rules.hold(1, rng) for _ in range(200)]
        assert min(holds) >= 10
        assert 14 < max(holds) <= 15

    def test_windows(self) -> None:
        assert Rules(failure_rate=None).window() is None
        assert isinstance(Rules().window(), CallWindow)
        assert isinstance(Rules(failure_rate=None, slow_after=1, slow_call_rate=1).window(), CallWindow)
        assert isinstance(Rules(window_seconds=5).window(), TimeWindow)

    @pytest.mark.parametrize(
        ("option", "wrong"),
        [
            ("failures", (0, -1)),
            ("failure_rate", (0.0, -0.1, 1.1, math.nan)),
            ("window_calls", (0,)),
            ("window_seconds", (0.0, -1.0, math.inf, math.nan)),
            ("min_calls", (0, 101)),
            ("open_for", (0.0, -1.0, math.inf, math.nan)),
            ("open_growth", (0.9, math.inf, math.nan)),
            ("max_open_for", (0.0, math.nan)),
            ("open_jitter", (-0.1, 1.1)),
            ("probes", (0,)),
            ("successes", (0,)),
            ("probe_timeout", (0.0, math.inf)),
        ],
    )
    def test_nonsense_is_refused_with_the_value_seen(self, option: str, wrong: tuple[float, ...]) -> None:
        for value in wrong:
            with pytest.raises(ValueError, match=f"^CircuitBreaker: {option} must be .*got {value!r}"):
                Rules(**{option: value})  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "options",
        [
            {"failures": 1},
            {"failures": None},
            {"failure_rate": 1.0},
            {"failure_rate": None},
            {"window_calls": 20},
            {"window_calls": 1, "min_calls": 1},
            {"min_calls": 100},
            {"min_calls": 500, "window_seconds": 60.0},
            {"open_growth": 1.0},
            {"open_jitter": 0.0},
            {"open_jitter": 1.0},
            {"max_open_for": math.inf},
            {"max_open_for": 0.5},
            {"slow_after": 0.1, "slow_call_rate": 1.0},
        ],
    )
    def test_sense_is_accepted_up_to_its_edges(self, options: dict[str, Any]) -> None:
        Rules(**options)

    def test_all_problems_at_once(self) -> None:
        with pytest.raises(
            ValueError,
            match=r"failures must .* got 0; open_for must .* got -1; slow_call_rate and",
        ):
            Rules(failures=0, open_for=-1, slow_after=2.0)
        with pytest.raises(ValueError, match=r"slow_call_rate must .* 2; slow_after must .*, got -1"):
            Rules(slow_call_rate=2, slow_after=-1)
        with pytest.raises(ValueError, match=r"slow_call_rate and slow_after belong together"):
            Rules(slow_call_rate=0.5)
        with pytest.raises(
            ValueError, match=r"one of failures, failure_rate and slow_call_rate must be given"
        ):
            Rules(failures=None, failure_rate=None)


def test_a_quick_failure_is_not_slow() -> None:
    circuit = made(failures=None, slow_after=2.0, slow_call_rate=1.0, window_calls=10, min_calls=2)
    assert failed(circuit, 1.0, 5) is None


class TestConfigure:
    def test_the_totals_count_what_was_collected(self) -> None:
        circuit = Circuit(
            Rules(failures=None, slow_after=1.0, slow_call_rate=1.0, min_calls=9), random.Random(1)
        )
        assert circuit.slow_after == 1.0
        circuit.ok += 3
        lease, _ = circuit.admit(0.0)
        assert lease is not None
        circuit.fail(lease, 0.5)
        lease, _ = circuit.admit(1.0)
        assert lease is not None
        circuit.succeed(lease, 3.0)
        assert circuit.totals() == (5, 1, 1)
        assert Circuit(Rules(failure_rate=None), random.Random(1)).totals() == (0, 0, 0)
        assert Circuit(Rules(), random.Random(1)).slow_after == math.inf

    def test_a_lease_may_have_a_latency_of_its_own(self) -> None:
        circuit = Circuit(Rules(slow_after=1.0, slow_call_rate=1.0, min_calls=1), random.Random(1))
        lease, _ = circuit.admit(0.0)
        assert lease is not None
        lease.took = 0.5
        assert circuit.succeed(lease, 100.0) is None
        lease, _ = circuit.admit(100.0)
        assert lease is not None
        lease.took = 1.0
        assert circuit.totals() == (1, 0, 0)

    def test_new_rules_keep_the_state_and_the_window_of_the_same_size(self) -> None:
        circuit = Circuit(Rules(failures=5), random.Random(1))
        for _ in range(3):
            lease, _ = circuit.admit(0.0)
            assert lease is not None
            circuit.fail(lease, 0.0)
        circuit.configure(Rules(failures=4, slow_after=2.0, slow_call_rate=0.5))
        assert circuit.totals() == (3, 3, 0)
        assert circuit.slow_after == 2.0
        lease, _ = circuit.admit(0.0)
        assert lease is not None
        change = circuit.fail(lease, 0.0)
        assert change is not None
        assert change.reason == "4 failures in a row"
        circuit.configure(Rules(open_for=7))
        assert circuit.state(0.0) == "open"
        assert circuit.slow_after == math.inf

    @pytest.mark.parametrize(
        "rules", [Rules(window_calls=50), Rules(window_seconds=10), Rules(failure_rate=None)]
    )
    def test_a_window_of_another_size_begins_again(self, rules: Rules) -> None:
        circuit = Circuit(Rules(), random.Random(1))
        circuit.ok += 4
        circuit.configure(rules)
        assert circuit.totals() == (0, 0, 0)
        assert circuit.boundary == (math.inf if rules.window_seconds is None else -math.inf)
        lease, _ = circuit.admit(0.0)
        assert lease is not None
        circuit.fail(lease, 1.0)
        assert circuit.totals()[0] == (0 if rules.failure_rate is None else 1)
        circuit.configure(Rules())
        assert circuit.boundary == math.inf
        assert circuit.totals() == (0, 0, 0)

    def test_a_first_item_settles_a_probe_and_leaves_everything_else_as_it_is(self) -> None:
        circuit = Circuit(Rules(successes=2, failures=2), random.Random(1))
        lease, _ = circuit.admit(0.0)
        assert lease is not None
        assert circuit.prove(lease, 0.0) is None  # a closed circuit counts the end
        assert not lease.proven
        circuit.hold_open(0.0, 5.0, "by hand")
        probe, _ = circuit.admit(5.0)
        assert probe is not None
        assert circuit.prove(lease, 5.0) is None  # of another era
        assert circuit.admit(5.0)[0] is None
        assert circuit.prove(probe, 6.0) is None
        assert probe.proven
        second, _ = circuit.admit(6.0)
        assert second is not None
        change = circuit.prove(second, 7.0)
        assert change is not None
        assert (change.after, change.reason) == ("closed", "probes succeeded")
        assert (second.era, probe.era) == (circuit.era, circuit.era - 1)
        assert circuit.succeed(second, 9.0) is None
        assert circuit.totals() == (0, 0, 0)
        assert circuit.fail(probe, 9.0) is None
        assert circuit.totals() == (0, 0, 0)
        assert circuit.fail(second, 9.0) is None
        assert circuit.totals() == (1, 1, 0)
