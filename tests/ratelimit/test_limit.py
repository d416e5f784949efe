from __future__ import annotations

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
    ["", "10", "10/", "/h", "0/h", "10/0h", "10/m", "-1/h", "1.5/h", "9999999/h", "1/400 d"],
)
def test_refuses_what_it_cannot_keep(rate: str) -> None:
    with pytest.raises(ValueError, match="rate="):
        Limit(rate)


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
