"""What users may rely on: every public name and every event. A diff here is a decision, and a changelog line.

To accept a change: ``PRODKIT_GOLDEN=write python3 noxfile.py tests tests/golden``.
"""

import dataclasses
import importlib
import os
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import prodkit
from prodkit.core.events import Event, Metric

GOLDEN = Path(__file__).parent


def modules() -> Iterator[str]:
    for found in pkgutil.walk_packages(prodkit.__path__, "prodkit."):
        if not any(part.startswith("_") for part in found.name.split(".")):
            yield found.name


PACKAGES = [
    "prodkit",
    *(found.name for found in pkgutil.iter_modules(prodkit.__path__, "prodkit.") if found.ispkg),
]


def public_api(package: str) -> list[str]:
    names = getattr(importlib.import_module(package), "__all__", ())
    return sorted(f"{package}.{name}" for name in names)


def events(package: str) -> list[str]:
    return sorted(
        f"{kind.name} {kind.level} ({', '.join(field.name for field in dataclasses.fields(kind))})"
        f" -> {', '.join(map(measured, metrics_of(kind))) or 'no metric'}"
        for kind in kinds()
        if kind.__module__.startswith(f"{package}.")
    )


def kinds() -> list[type[Event]]:
    """Every event class of the kit."""
    known: list[type[Event]] = []
    for name in modules():
        module = importlib.import_module(name)
        known += [
            each
            for each in vars(module).values()
            if isinstance(each, type)
            and issubclass(each, Event)
            and each.__module__ == name
            and each is not Event
        ]
    return known


def metrics_of(kind: type[Event]) -> tuple[Metric, ...]:
    if kind.metric is None:
        return ()
    return (kind.metric,) if isinstance(kind.metric, Metric) else kind.metric


def measured(metric: Metric) -> str:
    return f"{metric.kind} {metric.name}{{{','.join(metric.labels)}}}"


def check(path: Path, lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    if os.environ.get("PRODKIT_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        if text:
            path.write_text(text)
    assert text == (path.read_text() if path.exists() else ""), (
        f"{path.name} changed: see the docstring of this file"
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names(package: str) -> None:
    check(GOLDEN / "api" / f"{package.removeprefix('prodkit.')}.txt", public_api(package))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there(package: str) -> None:
    for line in public_api(package):
        assert getattr(importlib.import_module(package), line.rpartition(".")[2], None) is not None, line


@pytest.mark.parametrize("package", PACKAGES[1:])
def test_events(package: str) -> None:
    check(GOLDEN / "events" / f"{package.removeprefix('prodkit.')}.txt", events(package))


def test_event_names_are_unique() -> None:
    names = [kind.name for kind in kinds()]
    assert len(names) == len(set(names))


def test_every_event_decides_its_level_and_its_metric() -> None:
    for kind in kinds():
        assert {"name", "level", "metric"} <= set(vars(kind)), (
            f"{kind.__name__} must set name, level and metric"
        )


def test_metrics_read_fields_that_exist() -> None:
    for kind in kinds():
        fields = {each.name for each in dataclasses.fields(kind)}
        for metric in metrics_of(kind):
            assert set(metric.labels) <= fields, kind
            assert not metric.value or metric.value in fields, kind
            assert metric.value or metric.kind == "counter", kind
            assert metric.help.endswith("."), kind


def test_one_metric_has_one_kind_and_one_set_of_labels() -> None:
    known: dict[str, Metric] = {}
    for kind in kinds():
        for metric in metrics_of(kind):
            first = known.setdefault(metric.name, metric)
            assert (first.kind, first.labels, first.unit) == (metric.kind, metric.labels, metric.unit), (
                metric.name
            )
