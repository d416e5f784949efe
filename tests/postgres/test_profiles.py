"""Sizes by environment."""

from __future__ import annotations

from typing import Any

import pytest

from prodkit.postgres.profiles import DEVELOPMENT, PRODUCTION, Profile


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("development", DEVELOPMENT),
        ("test", DEVELOPMENT),
        ("ci", DEVELOPMENT),
        ("staging", PRODUCTION),  # staging must show what production will do
        ("production", PRODUCTION),
        (" Prod\n", PRODUCTION),
    ],
)
def test_names_and_short_forms(name: str, profile: Profile) -> None:
    assert Profile.of(name) is profile


@pytest.mark.parametrize("name", ["", "prodution", None, 7])
def test_an_unknown_name_is_no_guess(name: Any) -> None:
    with pytest.raises(ValueError, match=r"production, got") as caught:
        Profile.of(name)
    assert repr(name) in str(caught.value)


def test_sizes() -> None:
    assert (DEVELOPMENT.min_size, DEVELOPMENT.max_size) == (5, 20)
    assert (PRODUCTION.min_size, PRODUCTION.max_size) == (10, 50)
