from __future__ import annotations

import pytest

from prodkit.env.durations import duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        (" 30s ", 30),
        ("250ms", 0.25),
        ("5m", 300),
        ("5 minutes", 300),
        ("1h30m", 5400),
        ("1 h 30 min", 5400),
        ("7d", 7 * 86400),
        ("2 weeks", 14 * 86400),
    ],
)
def test_seconds_and_units_are_read(text: str, seconds: float) -> None:
    found = duration(text)
    assert found is not None
    assert found.total_seconds() == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "h", "1x", "5 months", "PT1M30S", "1m30", "1e9", "9" * 40, "1" * 80]
)
def test_anything_else_is_left_to_pydantic(text: str) -> None:
    assert duration(text) is None
