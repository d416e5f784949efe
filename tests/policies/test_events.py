"""The events of the policies: which class speaks of which change, and what each of them measures."""

import dataclasses
import logging

import pytest

import prodkit as pk
from prodkit.core.events import Event, Metric
from prodkit.policies import events
from prodkit.policies.circuit import Change
from prodkit.policies.events import change_event

KINDS = [
    kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
]


@pytest.mark.parametrize(
    ("change", "name", "level"),
    [
        (Change("closed", "open", "5 failures in a row", 30.0), "breaker.opened", "WARNING"),
        (Change("open", "half_open", "open for 30 s"), "breaker.half_opened", "INFO"),
        (Change("half_open", "closed", "probes succeeded"), "breaker.closed", "INFO"),
        (Change("closed", "isolated", "isolated by hand"), "breaker.isolated", "WARNING"),
        (Change("closed", "disabled", "by hand"), "breaker.changed", "WARNING"),
    ],
)
def test_each_change_of_a_breaker_has_its_event(change: Change, name: str, level: str) -> None:
    event = change_event("payments", change)
    assert (event.name, event.level) == (name, level)
    assert (event.breaker, event.before, event.after) == ("payments", change.before, change.after)
    assert event.reason == change.reason
    assert getattr(event, "hold", None) == change.hold


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_metric_names_fields_that_its_event_has(kind: type[Event]) -> None:
    fields = {field.name for field in dataclasses.fields(kind)}
    assert isinstance(kind.metric, Metric)
    assert {*kind.metric.labels, *filter(None, [kind.metric.value])} <= fields
    assert hasattr(logging, kind.level)
    assert kind.__name__ in events.__all__


async def test_a_subscriber_to_all_changes_gets_every_kind_of_them() -> None:
    runtime = pk.Runtime()
    seen: list[str] = []
    runtime.events.subscribe(lambda event: seen.append(event.name), events.BreakerChanged)
    breaker = pk.CircuitBreaker("b", runtime=runtime)
    breaker.trip(0)
    breaker.acquire().succeed()
    breaker.isolate()
    assert seen == ["breaker.opened", "breaker.half_opened", "breaker.closed", "breaker.isolated"]
