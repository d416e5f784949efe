"""The order of scripted behaviours, the limits, the counters."""

from __future__ import annotations

import pytest

from prodkit.testing.anthropic.state import Bucket, State


def kinds(state: State, *models: str) -> list[str | int]:
    return [state.next_behaviour(model).status for model in models]


def test_the_models_own_queue_comes_before_the_common_one() -> None:
    state = State()
    state.script(["500", "502"], None)
    state.script(["529"], "m")
    state.always("503", "m")
    state.always("504", None)
    assert kinds(state, "m", "m", "other", "m", "other") == [529, 500, 502, 503, 504]


def test_a_storm_comes_first_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("prodkit.testing.anthropic.state.time.monotonic", lambda: now)
    state = State()
    state.script(["500"], "m")
    state.storm("529", 10.0, None)
    state.storm("503", 5.0, "m")
    assert kinds(state, "m", "other") == [503, 529]
    now = 106.0
    assert kinds(state, "m") == [529]
    now = 110.0
    assert kinds(state, "m", "m") == [500, 200]


def test_a_bucket_fills_continuously() -> None:
    bucket = Bucket(60, 2, 0.0)
    assert [bucket.take(0.0, 1) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert bucket.take(0.5, 1) == 0.5
    assert bucket.take(1.0, 1) == 0.0
    assert bucket.take(1_000.0, 61) == 1.0  # never above a minute's worth


def test_requests_are_counted_once_by_their_end() -> None:
    state = State()
    entries = [state.begin("/v1/messages", {}, {"model": "m", "stream": True}, "ok") for _ in range(3)]
    for entry, outcome in zip(entries, ("done", "aborted", "broken"), strict=True):
        entry.status = 200
        state.finish(entry, outcome)
        state.finish(entry, "done")
    count = state.counters
    assert (count.requests, count.completed, count.aborted, count.broken) == (3, 1, 1, 1)
    assert (count.open_requests, count.peak_requests) == (0, 3)
    assert (count.by_model, count.by_status) == ({"m": 3}, {"200": 3})
    assert [each["number"] for each in state.as_json(since=1)["requests"]] == [2, 3]
    assert state.as_json(requests=False)["requests"] == []


def test_a_reset_forgets_all_but_what_is_open() -> None:
    state = State()
    state.script(["500"], None)
    state.storm("529", 60.0, None)
    state.limit(1, None)
    state.configure("m", ["thinking"], unknown=True)
    state.socket(1)
    state.begin("/v1/messages", {}, None, "ok")
    state.reset()
    assert kinds(state, "m") == [200]
    assert state.requests_limit is None
    assert (state.rejected_fields, state.unknown_models) == ({}, frozenset())
    assert (state.counters.open_sockets, state.counters.open_requests, state.counters.requests) == (1, 1, 0)
    assert state.begin("/v1/messages", {}, None, "ok").number == 2
