from __future__ import annotations

from prodkit.core.events import Metric
from prodkit.files.events import FileAccepted, FileRejected


def test_each_event_has_a_name_a_level_and_a_histogram_of_its_duration() -> None:
    for event, name, level in (
        (FileAccepted, "files.accepted", "DEBUG"),
        (FileRejected, "files.rejected", "INFO"),
    ):
        assert (event.name, event.level) == (name, level)
        metric = event.metric
        assert isinstance(metric, Metric)
        assert (metric.kind, metric.value, metric.unit) == ("histogram", "duration", "seconds")


def test_the_labels_of_a_metric_are_few() -> None:
    accepted = FileAccepted(kind="jpeg", size=10, duration=0.5, sanitised=True)
    assert accepted.repairs == ()
    metric = FileAccepted.metric
    assert isinstance(metric, Metric)
    assert metric.labels == ("kind",)  # a code or a size as a label would make series without end
