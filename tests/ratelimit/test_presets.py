"""The limits that most services need."""

from __future__ import annotations

from prodkit import ratelimit


def test_the_presets_are_those_that_were_asked_for() -> None:
    asked = {
        ratelimit.LOGIN: (5, 900),
        ratelimit.LOGIN_IP: (5, 900),
        ratelimit.REGISTER: (3, 3600),
        ratelimit.UPLOAD: (10, 3600),
    }
    assert {limit: (limit.amount, limit.window) for limit in asked} == asked
    assert len({limit.name for limit in asked}) == len(asked)
    assert all(limit.on_outage == "local" for limit in asked)
