"""The probes of the doctor: a group of servers, and failures in words with what to do about them."""

import ssl

import pytest

from prodkit.cli.doctor_services import _REASONS, _place, _reason, reach


async def test_what_is_absent_is_not_tried_and_what_is_empty_is_skipped() -> None:
    (finding,) = await reach({"redis": ""})
    assert (finding.name, finding.status) == ("redis", "skipped")


async def test_a_group_that_does_not_answer_is_a_problem() -> None:
    (finding,) = await reach({"redis": "redis://:hunter2@127.0.0.1:1,127.0.0.1:2?cluster=true"})
    assert finding.status == "problem"
    assert "127.0.0.1:1,127.0.0.1:2" in finding.message
    assert "hunter2" not in repr(finding)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://u:hunter2@db:5432/x", "db:5432"),
        ("redis://cache", "cache"),
        ("unix:///run/redis.sock", "the socket"),
        ("redis://:hunter2@a:7000,[::1]:7001?cluster=true", "a:7000,[::1]:7001"),
    ],
)
def test_a_place_shows_hosts_and_no_password(url: str, place: str) -> None:
    assert _place(url) == place


def test_a_reason_is_found_behind_the_error_of_a_driver() -> None:
    outer = RuntimeError("driver")
    outer.__cause__ = ConnectionRefusedError(111, "refused")
    message, hint = _reason(outer)
    assert "nothing listens there" in message
    assert "start the server" in hint
    assert _reason(ssl.SSLError("wrong version"))[0] == "TLS failed"
    assert _reason(KeyError("hunter2")) == ("KeyError", "check the URL")
    assert all(message and hint for message, hint in _REASONS.values())
