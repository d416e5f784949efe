"""The one parser of ``Retry-After``."""

from datetime import UTC, datetime, timedelta
from email.message import Message
from types import SimpleNamespace
from typing import Any

import pytest

from prodkit.policies.retry_after import hint_of, retry_after_in, retry_after_of, seconds_of

NOW = datetime(2026, 11, 24, 17, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hint", "seconds"),
    [
        ("30", 30.0),
        ("1.5", 1.5),
        ("1e2", 100.0),
        ("1E2", 100.0),
        ("٣", None),
        (float("inf"), None),
        (float("nan"), None),
        ("Tue, 24 Nov 2026 17:00:30 GMT", 30.0),
        ("Tue, 24 Nov 2026 17:00:30 -0000", 30.0),
        ("Tue, 24 Nov 2026 17:00:30", 30.0),
        ("Tue, 24 Nov 2026 18:00:30 +0100", 30.0),
        ("Tuesday, 24-Nov-26 17:00:30 GMT", 30.0),
        ("Tue Nov 24 17:00:30 2026", 30.0),
        ("2026-11-24T17:00:30Z", 30.0),
        ("2026-11-24T17:00:30", 30.0),
        ("2026-11-24 18:00:30.5+01:00", 30.5),
        ("Tue, 24 Nov 2026 16:00:00 GMT", 0.0),
        (NOW + timedelta(seconds=7), 7.0),
        (timedelta(seconds=-1), 0.0),
        (-4, 0.0),
        ("-5", None),
        ("1_000", None),
        ("0x10", None),
        ("infinity", None),
        ("tomorrow", None),
        ("²", None),
    ],
)
def test_the_forms(hint: object, seconds: float | None) -> None:
    assert seconds_of(hint, NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500"}, 1.5),
        ({"Retry-After-Ms": "250", "Retry-After": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2.0),
        ({"Retry-After": "3"}, 3.0),
        ({"date": "now"}, None),
        (None, None),
        ("retry-after", None),
    ],
)
def test_headers(headers: Any, seconds: float | None) -> None:
    assert retry_after_in(headers, NOW) == seconds


class Answered(Exception):
    def __init__(self, **facts: Any) -> None:
        self.__dict__.update(facts)


def test_an_error_carries_it_itself_in_its_response_or_in_its_headers() -> None:
    message = Message()
    message["Retry-After"] = "9"
    assert retry_after_of(Answered(retry_after=4), NOW) == 4
    assert retry_after_of(Answered(response=SimpleNamespace(headers={"retry-after": "5"})), NOW) == 5
    assert retry_after_of(Answered(headers=message), NOW) == 9  # as urllib.error.HTTPError has them
    assert retry_after_of(Answered(retry_after="soon", headers=message), NOW) is None
    assert hint_of(Answered(headers=message)) == "9"
    assert hint_of(Answered(retry_after=0)) == 0
    assert (
        hint_of(Answered(response=SimpleNamespace(headers={"retry-after-ms": "5", "retry-after": "6"})))
        == "5"
    )
    assert hint_of(ValueError()) is None
