"""The short names of behaviours of sources, and what may not be scripted."""

from __future__ import annotations

from typing import Any

import pytest

from prodkit.testing.sources.behaviour import KINDS, Behaviour


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("ok", {}),
        ("503", {"kind": "status", "status": 503}),
        ("status-404", {"kind": "status", "status": 404}),
        ("ra-30", {"kind": "status", "status": 429, "retry_after": "30"}),
        ("html200", {"kind": "html"}),
        ("html", {"kind": "html", "status": 502}),
        ("drip-0.5", {"kind": "drip", "seconds": 0.5}),
        ("slow-2.5", {"seconds": 2.5}),
        ("midrst", {"kind": "mid_reset"}),
    ],
)
def test_a_short_name_stands_for_its_fields(name: str, fields: dict[str, Any]) -> None:
    behaviour = Behaviour.of(name)
    assert behaviour == Behaviour(**fields)
    assert behaviour.as_json() == fields


@pytest.mark.parametrize("kind", sorted(KINDS - {"status", "html"}))
def test_each_kind_is_a_name(kind: str) -> None:
    assert Behaviour.of(kind) == Behaviour(kind=kind)


@pytest.mark.parametrize("value", ["", "status", "399", "unknown", {"kind": "unknown"}, {"seconds": -1.0}])
def test_what_means_nothing_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"unknown|error status|negative"):
        Behaviour.of(value)
