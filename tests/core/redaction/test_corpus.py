"""Recall and false positives on generated lines; the seeds of the test were not used for building."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from prodkit.core.redaction import redact

from .corpus import Case, forms, harmless, named, people

HELD_OUT = (20261124, 77, 4711)


@pytest.mark.parametrize("seed", HELD_OUT)
@pytest.mark.parametrize(
    ("make", "least"), [(forms, 0.99), (named, 0.97), (people, 0.95)], ids=["forms", "named", "people"]
)
def test_recall(make: Callable[[random.Random, int], list[Case]], least: float, seed: int) -> None:
    cases = make(random.Random(seed), 900)
    assert all(case.secret in case.text for case in cases)
    missed = [case.text for case in cases if case.secret in redact(case.text)]
    assert len(missed) <= (1 - least) * len(cases), missed[:20]


@pytest.mark.parametrize("seed", HELD_OUT)
def test_false_positives(seed: int) -> None:
    lines = harmless(random.Random(seed), 6000)
    changed = [(line, shown) for line in lines if (shown := redact(line)) != line]
    assert len(changed) <= 0.005 * len(lines), changed[:20]
