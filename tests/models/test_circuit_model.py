"""The breaker's state machine against a naive model of it; outcomes arrive late and in any order."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from hypothesis import HealthCheck, event, settings, strategies as st, target
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from prodkit.policies.circuit import Change, Circuit, Lease, Rules


@dataclass
class Model:
    """The specified behaviour, written for reading: lists of everything, no totals, no eras but a list."""

    rules: Rules
    state: str = "closed"
    era: int = 0
    log: list[tuple[bool, bool]] = field(default_factory=list)
    until: float = 0.0
    openings: int = 0
    probes: list[Lease] = field(default_factory=list)
    proven: int = 0
    eras: dict[Lease, int] = field(default_factory=dict)
    """The era in which the outcome of a call counts."""
    latencies: dict[Lease, float] = field(default_factory=dict)
    """The wait for the first item, of streams."""
    settled: set[Lease] = field(default_factory=set)
    """Probes that their first item has settled."""

    def enter(self, state: str, until: float = 0.0) -> None:
        self.state, self.until = state, until
        self.era += 1
        self.log, self.probes, self.proven = [], [], 0
        if state in ("closed", "disabled"):
            self.openings = 0

    def open(self, now: float) -> None:
        self.openings += 1
        hold = min(
            self.rules.max_open_for, self.rules.open_for * self.rules.open_growth ** (self.openings - 1)
        )
        self.enter("open", now + hold)

    def admits(self, now: float) -> bool:
        """Return whether a call is admitted, after applying what the clock has changed."""
        if self.state == "open" and now >= self.until:
            self.enter("half_open")
        if self.state == "half_open":
            if len(self.probes) < self.rules.probes:
                return True
            if now - self.probes[0].since >= self.rules.probe_limit:
                self.probes.pop(0)
                return True
            return False
        return self.state in ("closed", "disabled")

    def first_item(self, lease: Lease, now: float) -> None:
        self.latencies[lease] = now - lease.since
        if self.eras[lease] == self.era and self.state == "half_open":
            self.settles(lease, now, failed=False)
            self.eras[lease] = self.era
            self.settled.add(lease)

    def settles(self, lease: Lease, now: float, failed: bool) -> None:
        slow = self.latencies.get(lease, now - lease.since) >= (self.rules.slow_after or math.inf)
        if self.eras[lease] != self.era or (lease in self.settled and not failed and not slow):
            return
        if self.state == "half_open":
            self.probes = [probe for probe in self.probes if probe is not lease]
            if failed or slow:
                self.open(now)
            else:
                self.proven += 1
                if self.proven >= self.rules.successes:
                    self.enter("closed")
        elif self.state == "closed":
            self.log.append((failed, slow))
            if failed or slow:
                self.judge(now, failed)

    def judge(self, now: float, failed: bool) -> None:
        window = self.log[-self.rules.window_calls :]
        failures, slow = sum(f for f, _ in window), sum(s for _, s in window)
        row = 0
        for was_failure, _ in reversed(self.log):
            if not was_failure:
                break
            row += 1
        enough = len(window) >= self.rules.min_calls
        rates = self.rules.failure_rate or math.inf, self.rules.slow_call_rate or math.inf
        by_rate = enough and (failures >= rates[0] * len(window) or slow >= rates[1] * len(window))
        if by_rate or (failed and row >= (self.rules.failures or math.inf)):
            self.open(now)


rules_of_all_kinds = st.builds(
    Rules,
    failures=st.sampled_from([None, 1, 2, 3, 5]),
    failure_rate=st.sampled_from([0.3, 0.5, 0.75, 1.0]),
    slow_after=st.just(4.0),
    slow_call_rate=st.sampled_from([0.5, 1.0]),
    window_calls=st.integers(4, 8),
    min_calls=st.integers(1, 4),
    open_for=st.sampled_from([5.0, 10.0]),
    open_growth=st.sampled_from([1.0, 2.0]),
    max_open_for=st.just(15.0),
    probes=st.integers(1, 3),
    successes=st.integers(1, 3),
    probe_timeout=st.sampled_from([None, 3.0]),
)


class CircuitMachine(RuleBasedStateMachine):
    @initialize(rules=rules_of_all_kinds)
    def start(self, rules: Rules) -> None:
        self.circuit = Circuit(rules, random.Random(1))
        self.model = Model(rules)
        self.now = 100.0
        self.recoveries = 0
        self.leases: list[Lease] = []
        self.changes: list[Change] = []

    def told(self, change: Change | None) -> None:
        if change is not None:
            self.changes.append(change)
            self.recoveries += change.before == "half_open" and change.after == "closed"

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 5.0, 15.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.model.state == "open")
    @rule()
    def the_hold_ends(self) -> None:
        self.now = max(self.now, self.model.until)

    @rule(times=st.integers(1, 4))
    def calls_arrive(self, times: int) -> None:
        for _ in range(times):
            expected = self.model.admits(self.now)
            lease, change = self.circuit.admit(self.now)
            self.told(change)
            assert (lease is not None) == expected
            if lease is not None:
                self.leases.append(lease)
                self.model.eras[lease] = self.model.era
                if self.model.state == "half_open":
                    self.model.probes.append(lease)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def a_first_item_comes(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        if lease in self.model.latencies:
            return
        event("first item of a probe" if self.model.state == "half_open" else "first item")
        self.model.first_item(lease, self.now)
        lease.took = self.now - lease.since
        self.told(self.circuit.prove(lease, self.now))

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), outcome=st.sampled_from(["failed", "failed", "well", "well", "nothing"]))
    def one_comes_back(self, data: st.DataObject, outcome: str) -> None:
        lease = self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
        event("late" if lease.era != self.circuit.era else "in time")
        if outcome == "nothing":
            self.model.probes = [probe for probe in self.model.probes if probe is not lease]
            self.circuit.forget(lease)
            return
        self.model.settles(lease, self.now, outcome == "failed")
        settle = self.circuit.fail if outcome == "failed" else self.circuit.succeed
        self.told(settle(lease, self.now))

    @precondition(lambda self: len(self.leases) > 2)
    @rule(failed=st.booleans())
    def all_come_back(self, failed: bool) -> None:
        leases, self.leases = self.leases, []
        for lease in leases:
            self.model.settles(lease, self.now, failed)
            self.told((self.circuit.fail if failed else self.circuit.succeed)(lease, self.now))

    @precondition(lambda self: not self.circuit.guarding)
    @rule(count=st.integers(1, 12))
    def healthy_calls_take_the_short_way(self, count: int) -> None:
        for _ in range(count):
            self.circuit.ok += 1
            lease = Lease(self.model.era, self.now)
            self.model.eras[lease] = self.model.era
            self.model.settles(lease, self.now, failed=False)

    @rule(hold=st.sampled_from([2.0, 8.0, None, None, None, None]))
    def somebody_else_opens_it(self, hold: float | None) -> None:
        if hold is None:
            return
        if self.model.state == "open":
            self.model.until = max(self.model.until, self.now + hold)
        elif self.model.state in ("closed", "half_open"):
            self.model.enter("open", self.now + hold)
        self.told(self.circuit.hold_open(self.now, hold, "elsewhere"))

    @rule(action=st.sampled_from(["isolate", "disable", "reset", *["leave it"] * 9]))
    def by_hand(self, action: str) -> None:
        if action == "leave it":
            return
        state = {"isolate": "isolated", "disable": "disabled", "reset": "closed"}[action]
        change = getattr(self.circuit, action)()
        assert (change is None) == (self.model.state == state)
        if action == "reset" or self.model.state != state:
            self.model.enter(state)
        self.told(change)

    @invariant()
    def both_agree(self) -> None:
        if not hasattr(self, "model"):
            return
        due = self.model.state == "open" and self.now >= self.model.until
        assert self.circuit.state(self.now) == ("half_open" if due else self.model.state)
        assert self.circuit.era == self.model.era
        assert self.circuit.guarding == (self.model.state != "closed")
        assert list(self.circuit._probes) == self.model.probes
        assert len(self.model.probes) <= self.model.rules.probes
        if self.model.state in ("open", "isolated"):
            refused = self.now < self.circuit.until
            assert refused == (self.model.state == "isolated" or self.now < self.model.until)

    def teardown(self) -> None:
        if hasattr(self, "model"):
            target(float(self.recoveries), label="recoveries")
            if any(change.after == "half_open" for change in self.changes):
                event("was half open")


CircuitMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestCircuit = CircuitMachine.TestCase
