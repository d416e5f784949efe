from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from prodkit.core.events import Event, Metric
from prodkit.core.secrets import REGISTRY

CANARY = "kq2vS1nGdJ0m4T8yRwZcLxHb7uEoPfA9"


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked(Event):
    name = "test.worked"
    level = "WARNING"
    metric = (
        Metric("test_works", labels=("what",), help="Works."),
        Metric(
            "test_work_seconds", "histogram", labels=("what",), value="seconds", unit="seconds", help="Times."
        ),
        Metric("test_size", "gauge", value="size", help="Sizes."),
    )
    what: str
    seconds: float | None = None
    size: int | None = None


@pytest.fixture(autouse=True)
def _canary() -> Iterator[None]:
    REGISTRY.add(CANARY)
    yield
    REGISTRY.clear()
