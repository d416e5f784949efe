from __future__ import annotations

import pytest
from redis import exceptions

from prodkit.redis.errors import classify, describe


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "refused"),
        (
            "Error running script (call to f_8d1): @user_script:37: @user_script: 37: -OOM command not allowed",
            "refused",
        ),
        (
            "Error running script (call to f_8d1): @user_script:3: @user_script: 3: -READONLY You can't write",
            "outage",
        ),
        (
            "Error running script (call to f_8d1): @user_script:3: @user_script: 3: -NOREPLICAS Not enough",
            "refused",
        ),
        (
            "Error running script (call to f_8d1): @user_script:3: @user_script: 3: -MISCONF Redis is",
            "refused",
        ),
        ("MISCONF Redis is configured to save RDB snapshots", "refused"),
        ("LOADING Redis is loading the dataset in memory", "outage"),
        ("BUSY Redis is busy running a script", "outage"),
        ("BUSYGROUP Consumer Group name already exists", "bug"),
        ("WRONGTYPE Operation against a key", "bug"),
        ("CROSSSLOT Keys in request don't hash to the same slot", "bug"),
        ("Error running script: @user_script:1: Wrong number of args: -1", "bug"),
    ],
)
def test_replies(text: str, fault: str) -> None:
    assert classify(exceptions.ResponseError(text)) == fault


def test_what_is_no_reply() -> None:
    assert classify(ConnectionRefusedError()) == "outage"
    assert classify(exceptions.TimeoutError()) == "outage"
    assert classify(exceptions.DataError("a list")) == "bug"
    assert classify(KeyError("x")) == "bug"
    assert describe(ValueError(" a\n b ")) == "ValueError: a b"
