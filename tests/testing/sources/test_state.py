"""The order of scripted behaviours, the quota and the counters of one source."""

from __future__ import annotations

import pytest

from prodkit.testing.sources.state import State


def test_a_storm_comes_before_the_queue_and_the_queue_before_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("prodkit.testing.sources.state.time.monotonic", lambda: now)
    state = State()
    state.script(["500"])
    state.always("404")
    state.storm("503", 10.0)
    assert state.next_behaviour().status == 503
    now = 110.0
    assert [state.next_behaviour().status for _ in range(3)] == [500, 404, 404]


def test_the_quota_counts_what_was_allowed() -> None:
    state = State()
    assert state.spend(1_000)
    assert state.left is None
    state.reset()
    state.quota = 150
    assert [state.spend(units) for units in (100, 100, 50, 1)] == [True, False, True, False]
    assert (state.left, state.counters.units) == (0, 150)


def test_requests_are_counted_once_by_their_end() -> None:
    state = State()
    entries = [state.begin("GET", "/a", {"q": "x"}, {}, None, "ok") for _ in range(3)]
    for entry, outcome in zip(entries, ("done", "aborted", "broken"), strict=True):
        entry.status = 200
        state.finish(entry, outcome)
        state.finish(entry, "done")
    count = state.counters
    assert (count.requests, count.completed, count.aborted, count.broken, count.open_requests) == (
        3,
        1,
        1,
        1,
        0,
    )
    assert (count.by_path, count.by_status) == ({"/a": 3}, {"200": 3})
    assert len(state.as_json()["requests"]) == 3
    assert state.as_json(requests=False)["requests"] == []


def test_a_reset_forgets_all_but_what_is_open() -> None:
    state = State()
    state.always("500")
    state.quota = 1
    state.begin("GET", "/a", {}, {}, None, "ok")
    state.reset()
    assert state.next_behaviour().kind == "ok"
    assert (state.quota, state.counters.open_requests, state.counters.requests) == (None, 1, 0)
    assert state.begin("GET", "/a", {}, {}, None, "ok").number == 2
