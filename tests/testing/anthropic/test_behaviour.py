"""The short names of behaviours, and what may not be scripted."""

from __future__ import annotations

from typing import Any

import pytest

from prodkit.testing.anthropic.behaviour import ERROR_TYPES, KINDS, Behaviour


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("ok", {}),
        ("529", {"kind": "status", "status": 529}),
        ("status-404", {"kind": "status", "status": 404}),
        ("overloaded", {"kind": "status", "status": 529}),
        ("rate-limited", {"kind": "status", "status": 429}),
        ("ra-1.5", {"kind": "status", "status": 429, "retry_after": "1.5"}),
        ("html200", {"kind": "html"}),
        ("html-503", {"kind": "html", "status": 503}),
        ("html", {"kind": "html", "status": 502}),
        ("miderr-api_error", {"kind": "sse_error", "error_type": "api_error"}),
        ("err1", {"kind": "sse_error", "after": 0}),
        ("slow-2.5", {"seconds": 2.5}),
        ("words-200", {"words": 200}),
        ("continue-more", {"continuation": "more"}),
        ("mid-stall", {"kind": "mid_stall"}),
    ],
)
def test_a_short_name_stands_for_its_fields(name: str, fields: dict[str, Any]) -> None:
    behaviour = Behaviour.of(name)
    assert behaviour == Behaviour(**fields)
    assert behaviour.as_json() == fields


@pytest.mark.parametrize("kind", sorted(KINDS - {"status", "html"}))
def test_each_kind_is_a_name(kind: str) -> None:
    assert Behaviour.of(kind).kind == kind
    assert Behaviour.of({"kind": kind}) == Behaviour.of(kind)


@pytest.mark.parametrize("value", ["", "status", "399", "600", "unknown", "slow-x", "continue-backwards"])
def test_an_unknown_name_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"unknown|error status|could not convert"):
        Behaviour.of(value)


def test_a_status_that_is_no_error_is_refused() -> None:
    with pytest.raises(ValueError, match="needs an error status"):
        Behaviour(kind="status", status=204)


def test_each_status_of_the_table_has_a_type() -> None:
    assert all(name.endswith(("_error", "request_too_large")) for name in ERROR_TYPES.values())
    assert ERROR_TYPES[529] == "overloaded_error"
