from __future__ import annotations

import pytest

from prodkit.core.redaction.addresses import mask_addresses


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ana:horse@db:5432/shop", "postgresql://ana:***@db:5432/shop"),
        ("redis://:horse@cache/0", "redis://:***@cache/0"),
        ("postgresql://ana:ho@rse@db/shop", "postgresql://ana:***@db/shop"),
        ("postgresql://ana:ho/r?se@db/shop", "postgresql://ana:***@db/shop"),
        ("https://ana:horse@site.example/a?b=c@d", "https://ana:***@site.example/a?b=c@d"),
        (
            'connect "amqp://a:b@q" and redis://c:d@r, please',
            'connect "amqp://a:***@q" and redis://c:***@r, please',
        ),
        ("https://x0x1x2x3x4x5x6x7x8@git.example/repo", "https://***@git.example/repo"),
    ],
)
def test_the_password_is_masked_and_user_host_and_path_stay(text: str, shown: str) -> None:
    assert mask_addresses(text, "***") == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no address",
        "https://site.example/a:b",
        "https://site.example/@ana/status",
        "postgresql://ana@db/shop",
        "postgresql://ana:${DB_PASSWORD}@db/shop",
        "postgresql://ana:<password>@db/shop",
        "postgresql://ana:***@db/shop",
        "ana:horse@db",
        "://",
    ],
)
def test_addresses_without_a_password_stay(text: str) -> None:
    assert mask_addresses(text, "***") == text


def test_an_escaped_at_sign_separates_too() -> None:
    assert "horse" not in mask_addresses("next=postgresql://ana%3Ahorse%40db", "***")
