"""The number of a lock, which every process and release must agree on."""

from __future__ import annotations

from prodkit import postgres


def test_the_key_is_the_same_for_ever() -> None:
    assert postgres.lock_key("migrations") == postgres.lock_key("migrations")
    assert postgres.lock_key("a") != postgres.lock_key("b")
    assert -(2**63) <= postgres.lock_key("é") < 2**63
