from __future__ import annotations

from typing import Any

import pytest

from prodkit import ratelimit
from prodkit.ratelimit import Limit


@pytest.mark.parametrize(
    ("rate", "amount", "window"),
    [
        ("10/hour", 10, 3600),
        ("10/h", 10, 3600),
        ("5/15 min", 5, 900),
        ("5/15min", 5, 900),
        ("3/day", 3, 86400),
        ("100/s", 100, 1),
        ("7 per 2 minutes", 7, 120),
        (" 1 / 2 Days ", 1, 172800),
        ("3/week", 3, 604800),
        ("100/month", 100, 2592000),
        ("1/year", 1, 31536000),
    ],
)
def test_reads_rates(rate: str, amount: int, window: float) -> None:
    limit = Limit(rate, name="x")
    assert (limit.amount, limit.window) == (amount, window)


@pytest.mark.parametrize(
    "rate",
    [
        "",
        "10",
        "10/",
        "/h",
        "0/h",
        "10/0h",
        "10/m",
        "-1/h",
        "1.5/h",
        "9999999/h",
        "1/400 d",
        "٥/h",
        "5/１５ min",
        "1/" + "9" * 5000 + " s",
        "9" * 5000 + "/s",
        "1_0/h",
        "1/h/h",
        "2/13 months",
        "1/2 years",
        5,
        None,
        True,
        b"1/h",
    ],
)
def test_refuses_what_it_cannot_keep(rate: Any) -> None:
    with pytest.raises(ValueError, match="rate=") as caught:
        Limit(rate)
    assert "name=" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_several_rates_in_one_text() -> None:
    found = ratelimit.limits("10/hour; 100/day|1000/week,1/month")
    assert [(each.amount, each.window) for each in found] == [
        (10, 3600),
        (100, 86400),
        (1000, 604800),
        (1, 2592000),
    ]
    with pytest.raises(ValueError, match=r"ratelimit\.limits"):
        Limit("10/hour;100/day")
    for rates in ("10/hour;", ";", "10/hour;10/60 min"):
        with pytest.raises(ValueError, match="rate"):
            ratelimit.limits(rates)
    with pytest.raises(TypeError):
        ratelimit.limits(["10/hour"])  # type: ignore[arg-type]


def test_all_problems_at_once() -> None:
    with pytest.raises(ValueError) as caught:
        Limit("never", name="a b", on_outage="maybe", replicas=0)  # type: ignore[arg-type]
    assert all(word in str(caught.value) for word in ("rate=", "name=", "on_outage=", "replicas="))


def test_a_name_is_found() -> None:
    assert Limit("5/15 min").name == "5/15min"
    assert Limit("10/hour", name="upload").name == "upload"


def test_a_limit_is_frozen() -> None:
    with pytest.raises(AttributeError):
        ratelimit.LOGIN.amount = 1000  # type: ignore[misc]
