"""One suite for every session store: memory, and a real PostgreSQL through asyncpg."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from prodkit.sessions import POSTGRES_SCHEMA, MemoryStore, PostgresStore, Sessions, Store

pytestmark = pytest.mark.integration

SECRET = "made-up-secret-of-more-than-32-characters"


def key(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[Any]:
    import asyncpg

    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=10) as pool:
        await pool.execute(POSTGRES_SCHEMA)
        yield pool


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
    else:
        # getfixturevalue cannot start async fixtures from a running loop, so the pool is opened here.
        import asyncpg

        url = request.getfixturevalue("postgres_url")
        async with asyncpg.create_pool(url, min_size=1, max_size=10) as pool:
            made = PostgresStore(pool)
            await made.create_table()
            await made.create_table()
            yield made


async def make(store: Store, number: int = 1, user: str | None = "7", **times: float) -> bytes:
    options = {"idle": 60.0, "lifetime": 600.0, **times}
    await store.create(key(number), user_id=user, changed={"a": "1"}, **options)
    return key(number)


async def test_what_is_created_is_loaded(store: Store) -> None:
    await store.create(
        key(1),
        user_id=None,
        changed={'é\n"': '{"x":[1,2.5,null,"ç\\u2028"]}', "b": '"\\\\u0000"'},
        idle=60,
        lifetime=600,
    )
    loaded = await store.load(key(1))
    assert loaded is not None
    assert loaded.user_id is None
    assert loaded.data == {'é\n"': {"x": [1, 2.5, None, "ç\u2028"]}, "b": "\\u0000"}
    assert 0 <= loaded.idle < 5
    assert 590 < loaded.left <= 600
    assert await store.load(key(2)) is None


async def test_merging_changes_only_the_named_keys(store: Store) -> None:
    made = await make(store)
    assert await store.merge(made, changed={"b": "[2]"}, removed=["gone"], idle=60)
    assert await store.merge(made, changed={"c": "3"}, removed=["a"], idle=60)
    loaded = await store.load(made)
    assert loaded is not None
    assert loaded.data == {"b": [2], "c": 3}


async def test_nothing_writes_to_a_session_that_is_not_there(store: Store) -> None:
    assert not await store.merge(key(1), changed={"a": "1"}, removed=[], idle=60)
    await store.touch(key(1), idle=60, every=0)
    assert not await store.rotate(key(1), key(2), user_id="7", changed={}, removed=[], idle=60, lifetime=None)
    assert not await store.delete(key(1))
    assert await store.load(key(1)) is None
    assert await store.load(key(2)) is None


async def test_an_expired_session_is_absent_everywhere(store: Store) -> None:
    made = await make(store, idle=0.02)
    await asyncio.sleep(0.05)
    assert await store.load(made) is None
    assert not await store.merge(made, changed={"a": "2"}, removed=[], idle=60)
    assert not await store.rotate(made, key(2), user_id="7", changed={}, removed=[], idle=60, lifetime=None)
    assert await store.list_user("7") == []
    assert not await store.delete(made)
    await make(store, 3, idle=0.02)
    await make(store, 4)
    await asyncio.sleep(0.05)
    assert await store.delete_expired(limit=10) == 1
    assert await store.load(key(4)) is not None


async def test_the_end_is_never_passed(store: Store) -> None:
    made = await make(store, idle=0.5, lifetime=0.2)
    await store.touch(made, idle=60, every=0)
    assert await store.merge(made, changed={"b": "1"}, removed=[], idle=60)
    await asyncio.sleep(0.25)
    assert await store.load(made) is None


async def test_touching_is_throttled(store: Store) -> None:
    made = await make(store)
    await asyncio.sleep(0.1)
    await store.touch(made, idle=60, every=30)
    loaded = await store.load(made)
    assert loaded is not None
    assert loaded.idle >= 0.1
    await store.touch(made, idle=60, every=0.05)
    loaded = await store.load(made)
    assert loaded is not None
    assert loaded.idle < 0.1


async def test_rotation_moves_the_latest_data_once(store: Store) -> None:
    made = await make(store, user=None)
    await store.merge(made, changed={"late": "1"}, removed=[], idle=60)
    moves = [
        store.rotate(made, key(n), user_id="7", changed={"b": "2"}, removed=["a"], idle=60, lifetime=None)
        for n in range(2, 12)
    ]
    assert sum(await asyncio.gather(*moves)) == 1
    assert await store.load(made) is None
    alive = [loaded for n in range(2, 12) if (loaded := await store.load(key(n))) is not None]
    assert len(alive) == 1
    assert alive[0].data == {"late": 1, "b": 2}
    assert alive[0].user_id == "7"
    assert 590 < alive[0].left <= 600


async def test_rotation_can_begin_a_new_lifetime(store: Store) -> None:
    made = await make(store)
    assert await store.rotate(made, key(2), user_id=None, changed={}, removed=[], idle=60, lifetime=6000)
    loaded = await store.load(key(2))
    assert loaded is not None
    assert 5990 < loaded.left <= 6000
    assert loaded.user_id == "7"


async def test_all_of_a_user(store: Store) -> None:
    for number in range(4):
        await make(store, number)
    await make(store, 9, user="8")
    assert (await store.list_user("7"))[0].handle in {key(n).hex() for n in range(4)}
    assert len(await store.list_user("7")) == 4
    assert await store.delete_user("7", keep=key(2)) == 3
    assert await store.load(key(2)) is not None
    assert await store.delete_user("7", keep=None) == 1
    assert await store.load(key(9)) is not None


async def test_odd_values_are_refused_before_they_reach_the_store(store: Store) -> None:
    made = await make(store)
    for text in ('"a\\u0000b"', '"\\\\\\u0000"'):
        with pytest.raises(ValueError, match="NUL"):
            await store.merge(made, changed={"x": text}, removed=[], idle=60)


async def test_two_hundred_concurrent_writers_lose_nothing(store: Store) -> None:
    accounts = Sessions(store, secret=SECRET)
    session = await accounts.open([])
    session.login("7")
    cookie = str(await accounts.save(session)).split(";")[0].encode()

    async def request(number: int) -> None:
        mine = await accounts.open([cookie])
        mine[f"key{number}"] = number
        await accounts.save(mine)

    await asyncio.gather(*(request(number) for number in range(200)))
    assert dict(await accounts.open([cookie])) == {f"key{n}": n for n in range(200)}


async def test_five_hundred_logout_races_resurrect_nothing(store: Store) -> None:
    accounts = Sessions(store, secret=SECRET)
    dice = random.Random(500)

    async def race(number: int) -> bool:
        session = await accounts.open([])
        session.login(str(number))
        cookie = str(await accounts.save(session)).split(";")[0].encode()
        here = [await accounts.open([cookie]) for _ in range(3)]
        here[0].logout()
        here[1]["late"] = 1
        here[2].rotate() if number % 2 else here[2].login(str(number))
        if number % 2 == 0:
            here[2].logout()
        dice.shuffle(here)
        await asyncio.gather(*(accounts.save(each) for each in here))
        old_is_dead = (await accounts.open([cookie])).id is None
        # A rotation that came first is a session of its own, under an id the browser was given; else nothing is left.
        return old_is_dead and len(await accounts.list_for(str(number))) <= number % 2

    results = []
    for batch in range(0, 500, 50):
        results += await asyncio.gather(*(race(number) for number in range(batch, batch + 50)))
    assert results == [True] * 500


async def test_log_out_everywhere_beats_rotations_in_flight(store: Store) -> None:
    accounts = Sessions(store, secret=SECRET)
    for user in range(50):
        cookies = []
        for _ in range(4):
            session = await accounts.open([])
            session.login(str(user))
            cookies.append(str(await accounts.save(session)).split(";")[0].encode())
        opened = [await accounts.open([cookie]) for cookie in cookies]
        for session in opened:
            session.rotate()
        await asyncio.gather(*(accounts.save(session) for session in opened), accounts.end_all(str(user)))
        left = await accounts.list_for(str(user))
        assert left == []


async def test_the_table_holds_neither_ids_nor_cookies(pool: Any) -> None:
    accounts = Sessions(PostgresStore(pool), secret=SECRET)
    session = await accounts.open([])
    session.login("7")
    cookie = str(await accounts.save(session)).split(";")[0].partition("=")[2]
    raw = cookie.partition(".")[0]
    rows = await pool.fetch("SELECT prodkit_sessions::text AS whole, id_hash FROM prodkit_sessions")
    assert len(rows) == 1
    assert raw not in rows[0]["whole"]
    assert raw.encode().hex() not in rows[0]["whole"]
    assert bytes(rows[0]["id_hash"]) == hashlib.sha256(raw.encode()).digest()


async def test_a_request_costs_one_statement_and_a_visitor_none(pool: Any) -> None:
    class Counting:
        def __init__(self) -> None:
            self.statements: list[str] = []

        def __getattr__(self, name: str) -> Any:
            async def ask(query: str, *args: Any) -> Any:
                self.statements.append(query.split()[0])
                return await getattr(pool, name)(query, *args)

            return ask

    db = Counting()
    accounts = Sessions(PostgresStore(db), secret=SECRET)
    for header in ([], [b"__Host-session=made-up"], [b"theme=dark"]):
        session = await accounts.open(header)
        assert session.user_id is None
        await accounts.save(session)
    assert db.statements == []
    session.login("7")
    cookie = str(await accounts.save(session)).split(";")[0].encode()
    assert db.statements == ["INSERT"]
    db.statements.clear()
    for _ in range(20):
        session = await accounts.open([cookie])
        assert session.user_id == "7"
        await accounts.save(session)
    assert db.statements == ["SELECT"] * 20
    session["a"] = 1
    await accounts.save(session)
    assert db.statements[20:] == ["UPDATE"]


async def test_a_pool_with_a_json_codec_is_fine_too(postgres_url: str) -> None:
    import json

    import asyncpg

    async def codecs(connection: Any) -> None:
        await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")

    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1, init=codecs) as pool:
        store = PostgresStore(pool)
        await store.create_table()
        await make(store)
        await store.merge(key(1), changed={"b": "2"}, removed=[], idle=60)
        loaded = await store.load(key(1))
        assert loaded is not None
        assert loaded.data == {"a": 1, "b": 2}


async def test_the_kits_own_pool_and_a_database_that_goes_away(postgres_url: str) -> None:
    from prodkit import UnavailableError
    from prodkit.postgres import Pool
    from prodkit.testing import Proxy

    with Proxy(postgres_url) as proxy:
        async with Pool(proxy.url_for(postgres_url), min_size=1, max_size=2) as db:
            store = PostgresStore(db)
            await store.create_table()
            accounts = Sessions(store, secret=SECRET)
            session = await accounts.open([])
            session.login("7")
            cookie = str(await accounts.save(session)).split(";")[0].encode()
            assert (await accounts.open([cookie])).user_id == "7"
            proxy.refuse()
            with pytest.raises((UnavailableError, TimeoutError)):
                for _ in range(3):
                    await accounts.open([cookie])
            assert (await accounts.open([b"__Host-session=made-up"])).user_id is None
            proxy.heal()
            async with asyncio.timeout(20):
                while True:
                    try:
                        assert (await accounts.open([cookie])).user_id == "7"
                        break
                    except (UnavailableError, TimeoutError):
                        await asyncio.sleep(0.1)
