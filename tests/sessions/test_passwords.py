from __future__ import annotations

import asyncio

import argon2
import pytest

from prodkit import BulkheadFullError, Deadline, DeadlineExceededError
from prodkit.sessions import Passwords

CHEAP = {"time_cost": 1, "memory_kib": 64}


async def test_a_password_is_verified() -> None:
    passwords = Passwords(**CHEAP)
    stored = await passwords.hash("correto cavalo bateria")
    assert stored.startswith("$argon2id$")
    assert await passwords.verify(stored, "correto cavalo bateria") == (True, None)
    assert await passwords.verify(stored, "errado") == (False, None)
    passwords.close()


async def test_an_unknown_user_and_a_broken_hash_are_a_no() -> None:
    passwords = Passwords(**CHEAP)
    assert await passwords.verify(None, "nobody has this password") == (False, None)
    for broken in ("", "x", "$argon2id$v=19$m=64", "$2b$12$abcdefghijklmnopqrstuv"):
        assert await passwords.verify(broken, "x") == (False, None)
    passwords.close()


async def test_dearer_settings_give_a_newer_hash() -> None:
    before, after = Passwords(**CHEAP), Passwords(time_cost=2, memory_kib=64)
    stored = await before.hash("senha")
    good, newer = await after.verify(stored, "senha")
    assert good
    assert newer is not None
    assert await after.verify(newer, "senha") == (True, None)
    before.close()
    after.close()


async def test_an_unknown_user_costs_one_verification_of_the_same_parameters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verified: list[str] = []
    verify = argon2.PasswordHasher.verify

    def counting(hasher: argon2.PasswordHasher, stored: str | bytes, password: str | bytes) -> object:
        if str(stored).startswith("$argon2"):
            verified.append(str(stored).rpartition("$")[0].rpartition("$")[0])
        return verify(hasher, stored, password)

    passwords = Passwords(**CHEAP)
    stored = await passwords.hash("senha")
    await passwords.verify(None, "warm")
    monkeypatch.setattr(argon2.PasswordHasher, "verify", counting)
    for each in (stored, None, "not a hash"):
        assert await passwords.verify(each, "errada") == (False, None)
    assert len(verified) == 3
    assert len(set(verified)) == 1
    passwords.close()


async def test_the_loop_goes_on_while_hashing() -> None:
    passwords = Passwords(time_cost=4, memory_kib=32 * 1024)
    work = asyncio.create_task(passwords.hash("senha"))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
    passwords.close()


async def test_a_wave_of_logins_is_bounded() -> None:
    passwords = Passwords(concurrency=1, max_queue=2, **CHEAP)
    results = await asyncio.gather(*(passwords.hash("x" * 8) for _ in range(10)), return_exceptions=True)
    refused = [each for each in results if isinstance(each, BulkheadFullError)]
    assert len(refused) == 7
    assert all(error.retry_after for error in refused)
    await passwords.hash("there is room again")
    passwords.close()


async def test_the_deadline_is_kept() -> None:
    passwords = Passwords(time_cost=30, memory_kib=32 * 1024)
    with Deadline.after(0.01), pytest.raises(DeadlineExceededError):
        await passwords.hash("senha")
    passwords.close()


async def test_a_long_password_is_refused_before_it_costs() -> None:
    passwords = Passwords(max_length=16, **CHEAP)
    with pytest.raises(ValueError, match="at most 16 characters, got 17"):
        await passwords.hash("x" * 17)
    stored = await passwords.hash("x" * 16)
    assert await passwords.verify(stored, "x" * 17) == (False, None)
    passwords.close()


def test_bad_settings_are_told() -> None:
    with pytest.raises(ValueError, match=r"time_cost.*concurrency"):
        Passwords(time_cost=0, concurrency=0)


async def test_one_password_in_two_unicode_forms_is_one_password() -> None:
    passwords = Passwords(**CHEAP)
    composed, decomposed = "caf\u00e9 \u00e7\u00e3o 123", "cafe\u0301 c\u0327a\u0303o 123"
    stored = await passwords.hash(decomposed)
    assert await passwords.verify(stored, composed) == (True, None)
    assert await passwords.verify(stored, decomposed) == (True, None)
    from argon2 import PasswordHasher

    old = PasswordHasher(1, 64, 1).hash(decomposed)  # stored before passwords were normalised
    good, newer = await passwords.verify(old, decomposed)
    assert good
    assert newer is not None
    assert await passwords.verify(newer, composed) == (True, None)
    passwords.close()


async def test_the_queue_is_a_health_check() -> None:
    passwords = Passwords(**CHEAP)
    result = await passwords.check()
    assert (result.status, dict(result.details)) == ("up", {"busy": 0, "queued": 0})
    passwords.close()
