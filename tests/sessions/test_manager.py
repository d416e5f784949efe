"""The policy between cookie and store, on virtual time with the memory store."""

from __future__ import annotations

import asyncio
import re

import pytest

from prodkit import Runtime
from prodkit.sessions import (
    MemoryStore,
    Session,
    SessionLost,
    Sessions,
    SessionsEnded,
    SessionStarted,
    StepUpRequiredError,
)
from prodkit.testing import virtual_time

SECRET = "made-up-secret-of-more-than-32-characters"


class CountingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __getattribute__(self, name: str) -> object:
        if name in {"load", "create", "merge", "touch", "rotate", "delete"}:
            self.calls.append(name)
        return super().__getattribute__(name)


def sent(header: str | None) -> list[bytes]:
    """The Cookie headers of a browser that was given the Set-Cookie `header`."""
    assert header is not None
    return [header.split(";")[0].encode()]


async def logged_in(accounts: Sessions, user: str = "7", **data: object) -> list[bytes]:
    session = await accounts.open([])
    session.login(user)
    session.update(data)
    return sent(await accounts.save(session))


@virtual_time
async def test_a_visitor_without_data_costs_nothing() -> None:
    store = CountingStore()
    accounts = Sessions(store, secret=SECRET)
    session = await accounts.open([b"theme=dark; other=1"])
    assert session.get("anything") is None
    assert await accounts.save(session) is None
    assert store.calls == []


@virtual_time
async def test_a_made_up_cookie_never_reaches_the_store_and_is_never_adopted() -> None:
    store = CountingStore()
    accounts = Sessions(store, secret=SECRET)
    for value in ("x", "a" * 43, "a" * 43 + "." + "b" * 22, "é" * 43 + "." + "b" * 22, "", "=;=", "." * 66):
        session = await accounts.open([f"__Host-session={value}".encode()])
        assert session.id is None
    assert store.calls == []


@virtual_time
async def test_an_id_that_is_signed_but_unknown_is_not_adopted() -> None:
    accounts = Sessions(MemoryStore(), secret=SECRET)
    cookie = await logged_in(accounts)
    elsewhere = Sessions(MemoryStore(), secret=SECRET)
    session = await elsewhere.open(cookie)
    assert session.user_id is None
    session["a"] = 1
    assert sent(await elsewhere.save(session)) != cookie


@virtual_time
async def test_data_and_user_come_back() -> None:
    accounts = Sessions(MemoryStore(), secret=SECRET)
    cookie = await logged_in(accounts, basket=[1])
    session = await accounts.open(cookie)
    assert session.user_id == "7"
    assert session["basket"] == [1]
    session["basket"].append(2)  # a nested change is a change
    assert await accounts.save(session) is None  # the id did not change: no cookie
    assert (await accounts.open(cookie))["basket"] == [1, 2]
    again = await accounts.open(cookie)
    del again["basket"]
    await accounts.save(again)
    assert dict(await accounts.open(cookie)) == {}


@virtual_time
async def test_login_changes_the_id_and_keeps_the_basket() -> None:
    accounts = Sessions(MemoryStore(), secret=SECRET)
    session = await accounts.open([])
    session["basket"] = 3
    before = sent(await accounts.save(session))
    session = await accounts.open(before)
    session.login("7")
    after = sent(await accounts.save(session))
    assert after != before
    assert (await accounts.open(after))["basket"] == 3
    assert (await accounts.open(before)).id is None  # the old id is dead, not only unused


@virtual_time
async def test_another_users_login_does_not_inherit_the_data() -> None:
    accounts = Sessions(MemoryStore(), secret=SECRET)
    cookie = await logged_in(accounts, "7", private="x")
    session = await accounts.open(cookie)
    session.login("8")
    after = sent(await accounts.save(session))
    assert "private" not in await accounts.open(after)
    assert (await accounts.open(after)).user_id == "8"
    assert (await accounts.open(cookie)).id is None


@virtual_time
async def test_logout_kills_the_id_and_takes_the_cookie_back() -> None:
    runtime = Runtime()
    ended: list[SessionsEnded] = []
    runtime.events.subscribe(ended.append, SessionsEnded)
    accounts = Sessions(MemoryStore(), secret=SECRET, runtime=runtime)
    cookie = await logged_in(accounts)
    session = await accounts.open(cookie)
    session.logout()
    header = await accounts.save(session)
    assert header is not None
    assert "Max-Age=0" in header
    assert (await accounts.open(cookie)).user_id is None
    assert [(e.count, e.reason) for e in ended] == [(1, "logout")]


@virtual_time
async def test_a_message_after_logout_starts_a_new_session() -> None:
    accounts = Sessions(MemoryStore(), secret=SECRET)
    cookie = await logged_in(accounts)
    session = await accounts.open(cookie)
    session.logout()
    session["flash"] = "Até logo!"
    after = sent(await accounts.save(session))
    fresh = await accounts.open(after)
    assert dict(fresh) == {"flash": "Até logo!"}
    assert fresh.user_id is None


@virtual_time
async def test_a_request_in_flight_does_not_bring_a_session_back() -> None:
    runtime = Runtime()
    lost: list[SessionLost] = []
    runtime.events.subscribe(lost.append, SessionLost)
    accounts = Sessions(MemoryStore(), secret=SECRET, runtime=runtime)
    cookie = await logged_in(accounts)
    slow = await accounts.open(cookie)
    leaving = await accounts.open(cookie)
    leaving.logout()
    await accounts.save(leaving)
    slow["note"] = "late"
    assert await accounts.save(slow) is None
    assert (await accounts.open(cookie)).id is None
    assert [event.keys for event in lost] == [1]
    slow.rotate()
    assert await accounts.save(slow) is None


@virtual_time
async def test_a_failed_request_keeps_its_logout_and_nothing_else() -> None:
    accounts = Sessions(MemoryStore(), secret=SECRET)
    cookie = await logged_in(accounts, step=1)
    session = await accounts.open(cookie)
    session["step"] = 2
    await accounts.save(session, discard=True)
    assert (await accounts.open(cookie))["step"] == 1
    session = await accounts.open(cookie)
    session.logout()
    await accounts.save(session, discard=True)
    assert (await accounts.open(cookie)).id is None


@virtual_time
async def test_writers_of_different_keys_both_keep_theirs() -> None:
    accounts = Sessions(MemoryStore(), secret=SECRET)
    cookie = await logged_in(accounts)
    requests = [await accounts.open(cookie) for _ in range(200)]
    for number, session in enumerate(requests):
        session[f"key{number}"] = number
    await asyncio.gather(*(accounts.save(session) for session in requests))
    assert len(await accounts.open(cookie)) == 200


@virtual_time
async def test_it_rolls_for_an_hour_and_ends_after_twelve() -> None:
    accounts = Sessions(MemoryStore(), secret=SECRET)
    cookie = await logged_in(accounts)
    for _ in range(13):
        await asyncio.sleep(55 * 60)
        session = await accounts.open(cookie)
        assert session.user_id == "7"
        await accounts.save(session)
    await asyncio.sleep(6 * 60)  # twelve hours after the login, one minute after the last request
    assert (await accounts.open(cookie)).user_id is None


@virtual_time
async def test_it_ends_after_an_idle_hour() -> None:
    accounts = Sessions(MemoryStore(), secret=SECRET)
    cookie = await logged_in(accounts)
    await asyncio.sleep(3599)
    assert (await accounts.open(cookie)).user_id == "7"
    await asyncio.sleep(2)
    assert (await accounts.open(cookie)).user_id is None


@virtual_time
async def test_reading_writes_at_most_once_a_minute() -> None:
    store = CountingStore()
    accounts = Sessions(store, secret=SECRET)
    cookie = await logged_in(accounts)
    store.calls.clear()
    for _ in range(100):
        session = await accounts.open(cookie)
        assert session.user_id == "7"
        await accounts.save(session)
        await asyncio.sleep(3)
    assert store.calls.count("load") == 100
    assert store.calls.count("touch") == 4
    assert set(store.calls) == {"load", "touch"}


@virtual_time
async def test_rotation_keeps_data_user_and_end() -> None:
    runtime = Runtime()
    started: list[tuple[str, bool]] = []
    runtime.events.subscribe(lambda e: started.append((e.reason, e.authenticated)), SessionStarted)
    accounts = Sessions(MemoryStore(), secret=SECRET, lifetime=7200, runtime=runtime)
    cookie = await logged_in(accounts, a=1)
    await asyncio.sleep(3000)
    session = await accounts.open(cookie)
    session.rotate()
    header = await accounts.save(session)
    assert header is not None
    assert 4190 <= int(re.findall(r"Max-Age=(\d+)", header)[0]) <= 4200
    after = await accounts.open(sent(header))
    assert (after.user_id, dict(after)) == ("7", {"a": 1})
    assert (await accounts.open(cookie)).id is None
    assert started == [("login", True), ("rotate", True)]


@virtual_time
async def test_log_out_everywhere_but_here() -> None:
    accounts = Sessions(MemoryStore(), secret=SECRET)
    cookies = [await logged_in(accounts, "7") for _ in range(3)]
    other = await logged_in(accounts, "8")
    here = await accounts.open(cookies[0])
    here.rotate()  # a change of password does both
    assert await accounts.end_all("7", keep=here) == 2
    cookie = sent(await accounts.save(here))
    assert (await accounts.open(cookie)).user_id == "7"
    assert [(await accounts.open(c)).user_id for c in (*cookies, other)] == [None, None, None, "8"]


@virtual_time
async def test_a_user_sees_and_ends_sessions_one_by_one() -> None:
    accounts = Sessions(MemoryStore(), secret=SECRET)
    first = await logged_in(accounts, "7")
    await asyncio.sleep(5)
    await logged_in(accounts, "7")
    infos = await accounts.list_for("7")
    assert len(infos) == 2
    assert not await accounts.end("8", infos[1].handle)  # another user's handle opens nothing
    assert not await accounts.end("7", "zz")
    assert await accounts.end("7", infos[1].handle)
    assert (await accounts.open(first)).user_id is None


@virtual_time
async def test_expired_sessions_are_purged() -> None:
    store = MemoryStore()
    accounts = Sessions(store, secret=SECRET)
    for user in range(25):
        await logged_in(accounts, str(user))
    await asyncio.sleep(3601)
    alive = await logged_in(accounts, "x")
    assert await accounts.purge(batch=10) == 25
    assert (await accounts.open(alive)).user_id == "x"


@virtual_time
async def test_a_memory_store_stays_within_its_bound() -> None:
    accounts = Sessions(MemoryStore(max_sessions=3), secret=SECRET)
    cookies = [await logged_in(accounts, str(n)) for n in range(4)]
    assert [(await accounts.open(c)).user_id for c in cookies] == [None, "1", "2", "3"]


@virtual_time
@pytest.mark.parametrize(
    ("value", "what"),
    [
        (object(), "not JSON"),
        ({1, 2}, "not JSON"),
        (float("nan"), "not JSON"),
        ("\ud800", "surrogate"),
        ("a\0b", "NUL"),
    ],
)
async def test_what_cannot_be_stored_is_named(value: object, what: str) -> None:
    accounts = Sessions(MemoryStore(), secret=SECRET)
    session = await accounts.open([])
    session["odd"] = value
    with pytest.raises((TypeError, ValueError), match=rf"'odd'.*{what}"):
        await accounts.save(session)


@virtual_time
async def test_a_backslash_that_is_no_nul_is_kept() -> None:
    accounts = Sessions(MemoryStore(), secret=SECRET)
    cookie = await logged_in(accounts, text="\\u0000")
    assert (await accounts.open(cookie))["text"] == "\\u0000"


@virtual_time
async def test_a_session_has_a_limited_size() -> None:
    accounts = Sessions(MemoryStore(), secret=SECRET, max_bytes=100)
    cookie = await logged_in(accounts, a="x" * 60)
    session = await accounts.open(cookie)
    session["b"] = "x" * 60
    with pytest.raises(ValueError, match="at most 100 bytes"):
        await accounts.save(session)


def test_the_session_says_what_misuse_is() -> None:
    session = Session()
    with pytest.raises(ValueError, match="non-empty string"):
        session.login(7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="keys are strings"):
        session[1] = 2  # type: ignore[index]
    session["token"] = "made-up"
    assert "made-up" not in repr(session)


def test_bad_options_are_all_told_at_once_and_no_secret_with_them() -> None:
    with pytest.raises(ValueError, match="idle must be a number of seconds") as caught:
        Sessions(MemoryStore(), secret="too-short", idle=0, max_bytes=0)
    assert "max_bytes" in str(caught.value)
    assert "32 are needed" in str(caught.value)
    assert "too-short" not in str(caught.value)


@virtual_time
async def test_a_rotation_does_not_prolong_the_lifetime() -> None:
    accounts = Sessions(MemoryStore(), secret=SECRET, idle=3600, lifetime=7200)
    cookie = await logged_in(accounts)
    await asyncio.sleep(3000)
    session = await accounts.open(cookie)
    session.rotate()
    cookie = sent(await accounts.save(session))
    await asyncio.sleep(3500)
    session = await accounts.open(cookie)
    assert session.user_id == "7"
    await accounts.save(session)
    await asyncio.sleep(750)
    assert (await accounts.open(cookie)).user_id is None


@virtual_time
async def test_several_wishes_in_one_request() -> None:
    accounts = Sessions(MemoryStore(), secret=SECRET)
    first = await logged_in(accounts, "7", a=1)
    session = await accounts.open(first)
    session.login("7")
    session.rotate()
    second = sent(await accounts.save(session))
    assert (await accounts.open(first)).id is None
    assert (await accounts.open(second))["a"] == 1
    assert len(await accounts.list_for("7")) == 1

    session = await accounts.open(second)
    session.login("7")
    session.logout()
    await accounts.save(session)
    assert (await accounts.open(second)).id is None
    assert await accounts.list_for("7") == []


@virtual_time
async def test_a_list_of_sessions_names_device_and_network() -> None:
    accounts = Sessions(MemoryStore(), secret=SECRET)
    session = await accounts.open([])
    session.device = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    session.address = "203.0.113.77"
    session.login("7")
    await accounts.save(session)
    (info,) = await accounts.list_for("7")
    assert (info.device, info.network) == ("Firefox on Linux", "203.0.113.0/24")
    assert info.handle == accounts.handle_of(session)


@virtual_time
async def test_a_recent_login_can_be_required() -> None:
    accounts = Sessions(MemoryStore(), secret=SECRET)
    cookies = await logged_in(accounts)
    (await accounts.open(cookies)).require_recent_login(300)
    await asyncio.sleep(301)
    session = await accounts.open(cookies)
    assert not session.signed_in_within(300)
    with pytest.raises(StepUpRequiredError):
        session.require_recent_login()
    session.rotate()  # a new id is no new login
    cookies = sent(await accounts.save(session))
    assert not (await accounts.open(cookies)).signed_in_within(300)
    session = await accounts.open(cookies)
    session.login("7")
    assert session.signed_in_within(1)
    cookies = sent(await accounts.save(session))
    assert (await accounts.open(cookies)).signed_in_within(300)
    assert not (await accounts.open([])).signed_in_within(300)


@virtual_time
async def test_a_cookie_of_an_old_secret_is_signed_again_once() -> None:
    store, newer = MemoryStore(), "another-made-up-secret-of-32-characters"
    cookies = await logged_in(Sessions(store, secret=SECRET))
    rotated = Sessions(store, secret=(newer, SECRET))
    session = await rotated.open(cookies)
    assert session.user_id == "7"
    header = await rotated.save(session)
    assert header is not None
    assert 43_000 < int(header.split("Max-Age=")[1].split(";")[0]) <= 43_200
    only_new = Sessions(store, secret=newer)
    again = await only_new.open(sent(header))
    assert again.user_id == "7"
    assert await only_new.save(again) is None
    leaving = await rotated.open(cookies)
    leaving.logout()
    assert "Max-Age=0" in str(await rotated.save(leaving))


@virtual_time
async def test_sessions_are_a_health_check() -> None:
    assert (await Sessions(MemoryStore(), secret=SECRET).check()).status == "up"
