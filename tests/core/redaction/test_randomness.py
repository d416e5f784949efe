from __future__ import annotations

import random
import secrets
import string
import uuid

import pytest

from prodkit.core.redaction.randomness import looks_random


@pytest.mark.parametrize(
    "value",
    ["b1d6f2a09c3e4d57", "kq2vS1nGdJ0m4T8yRwZc", "oijsu1uf1qjidof", "0F8C2A7B-1D3E-4F5A-9B6C-7D8E9F0A1B2C"],
)
def test_generated_values_look_random(value: str) -> None:
    assert looks_random(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "short1X",
        "council:v1:home-page",
        "2026-11-24T18:00:00",
        "20261124180000",
        "12345678901234567890",
        "/usr/local/lib/x86_64/v2",
        "order/123456/items",
        "cache-entry-7",
        "internationalization",
        "a=1&b=2&c=3&d=4",
        "two words 1f8Kq93nz",
        "aaaaaaaaaaaaaaaa",
    ],
)
def test_what_people_write_does_not(value: str) -> None:
    assert not looks_random(value)


def test_nearly_every_token_of_the_usual_generators_is_recognised() -> None:
    rng = random.Random(11)
    letters = string.ascii_letters + string.digits
    made = [
        *(rng.randbytes(16).hex() for _ in range(100)),
        *(str(uuid.UUID(bytes=rng.randbytes(16), version=4)) for _ in range(100)),
        *("".join(rng.choices(letters, k=32)) for _ in range(100)),
    ]
    assert sum(map(looks_random, made)) >= 297
    assert looks_random(secrets.token_hex(32))


def test_only_the_beginning_of_a_long_value_is_judged() -> None:
    assert looks_random("b1d6f2a09c3e4d57" * 16 + "?" * 1_000_000)
