from __future__ import annotations

from prodkit.core.events import Event, Metric
from prodkit.llm import LlmFinished
from prodkit.telemetry.catalogue import BUCKETS, PREFIX, Entry, entries, label, metrics_of


def test_each_metric_is_listed_once_with_the_events_that_feed_it() -> None:
    found = entries()
    names = [entry.name for entry in found]
    assert names == sorted(set(names))
    assert all(name.startswith(PREFIX) for name in names)
    assert any("llm.finished" in entry.events for entry in found)


def test_the_series_of_a_counter_ends_in_total() -> None:
    for kind, series in (("counter", "a_total"), ("gauge", "a"), ("histogram", "a")):
        assert Entry("a", Metric("a", kind), ()).series == series  # type: ignore[arg-type]


def test_an_event_class_feeds_none_one_or_several_metrics() -> None:
    assert metrics_of(Event) == ()
    assert all(isinstance(metric, Metric) for metric in metrics_of(LlmFinished))


def test_buckets_grow_in_every_unit() -> None:
    assert {"seconds", "bytes", "tokens", "dollars", ""} == set(BUCKETS)
    for bounds in BUCKETS.values():
        assert list(bounds) == sorted(set(bounds))


def test_a_label_is_short_and_holds_no_secret() -> None:
    assert (label(None), label(True), label(False), label(7)) == ("", "true", "false", "7")
    assert len(label("x" * 1000)) == 120
    assert label("redis://:horse@cache/0") == "redis://:***@cache/0"
