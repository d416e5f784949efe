from __future__ import annotations

from uuid import UUID

from prodkit.ratelimit import Limit
from prodkit.ratelimit.sealer import _KNOWN, Sealer, shorten

TEN = Limit("10/min", name="ten")


def test_names_reveal_nobody_and_are_the_same_in_every_process() -> None:
    name = Sealer("rl", b"").name(TEN, "ana@example.com")
    assert name == Sealer("rl", b"").name(TEN, "ana@example.com")
    assert name.startswith("{rl}:ten:60:")
    assert "ana" not in name
    assert Sealer("rl", b"secret").name(TEN, "ana@example.com") != name


def test_keys_of_different_types_are_different_callers() -> None:
    sealer = Sealer("rl", b"")
    keys = ["1", 1, b"1", UUID(int=1), None]
    assert len({sealer.name(TEN, key) for key in keys}) == len(keys)
    assert [sealer.name(TEN, key) for key in keys] == [Sealer("rl", b"").name(TEN, key) for key in keys]


def test_what_it_remembers_is_bounded() -> None:
    sealer = Sealer("rl", b"")
    first = sealer.name(TEN, 0)
    for number in range(3 * _KNOWN):
        sealer.name(TEN, number)
    assert len(sealer._known) <= _KNOWN
    assert sealer.name(TEN, 0) == first


def test_long_secrets_are_shortened() -> None:
    assert len(shorten(b"x" * 1000)) == 64
