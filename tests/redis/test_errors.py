from __future__ import annotations

import pytest
from redis import exceptions

from prodkit.core.outcome import Outcome
from prodkit.policies.classify import outcome_of
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


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (exceptions.ReadOnlyError("You can't write against a read only replica."), "outage"),
        (exceptions.BusyLoadingError("Redis is loading"), "outage"),
        (exceptions.MasterDownError("MASTERDOWN link is down"), "outage"),
        (exceptions.ClusterDownError("the cluster is down"), "outage"),
        (exceptions.TryAgainError("TRYAGAIN"), "outage"),
        (exceptions.InvalidResponse("?"), "outage"),
        (exceptions.RedisClusterException("no node"), "outage"),
        (exceptions.ResponseError("NOAUTH Authentication required."), "outage"),
        (exceptions.AuthenticationError("invalid username-password pair"), "outage"),
        (exceptions.OutOfMemoryError("command not allowed"), "refused"),
        (exceptions.NoPermissionError("this user has no permissions"), "refused"),
        (exceptions.ResponseError("NOPERM this user has no permissions"), "refused"),
        (exceptions.NoScriptError("NOSCRIPT No matching script."), "bug"),
        (exceptions.LockError("not owned"), "bug"),
        (exceptions.WatchError(), "bug"),
        (FileNotFoundError("/run/redis.sock"), "outage"),
        (EOFError(), "outage"),
        (ValueError("of the caller"), "bug"),
    ],
)
def test_classes(error: Exception, fault: str) -> None:
    assert classify(error) == fault


@pytest.mark.parametrize("code", ["OOM", "MISCONF", "NOREPLICAS", "READONLY", "BUSY", "LOADING"])
@pytest.mark.parametrize("form", ["{} command", "Error running script: @user_script: 3: -{} command"])
def test_breakers_see_what_the_link_sees(code: str, form: str) -> None:
    error = exceptions.ResponseError(form.format(code))
    assert classify(error) != "bug"
    assert outcome_of(error) is Outcome.FAILED
    assert outcome_of(exceptions.ResponseError("WRONGTYPE Operation against a key")) is Outcome.NEUTRAL
