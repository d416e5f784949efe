"""Removal for good on a real database: old deletions and expired links go, the rest stays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from advisory.migrations.apply import migrate
from advisory.store.deleted import KEPT_DAYS, counts
from advisory.store.purge import purge
from advisory.store.recoveries import Recoveries, digest_of
from prodkit import postgres

pytestmark = pytest.mark.integration


@pytest.fixture
async def db(db: postgres.Pool, store_url: str) -> AsyncIterator[postgres.Pool]:
    """A database that no other test leaves rows in: what a purge removes can be counted."""
    name = f"purge_{uuid4().hex}"
    await db.execute(f"create database {name}")
    try:
        url = urlsplit(store_url)._replace(path=f"/{name}").geturl()
        await migrate(url)
        async with postgres.Pool(url, min_size=0, max_size=2) as own:
            yield own
    finally:
        await db.execute(f"drop database {name} with (force)")


async def test_what_is_deleted_for_90_days_is_removed_and_the_rest_stays(db, world):
    old, fresh = await world.ask(), await world.ask()
    for run_id in (old, fresh):
        await world.runs.delete(world.user.id, run_id)
    await db.execute("update runs set deleted_at = now() - interval '91 days' where id = $1", old)
    assert KEPT_DAYS == 90
    token = await Recoveries(db).issue(world.user.id)
    lonely = await db.fetchval(
        """insert into avatars (owner_id, content, media_type, sha256, width, height, created_at)
           values ($1, 'x', 'image/png', 's', 1, 1, now() - interval '2 days') returning id""",
        world.user.id,
    )
    assert (await counts(db))["runs"] == (2, 1)
    assert await purge(db) == 2
    assert (await counts(db))["runs"] == (1, 0)
    assert await world.run(old) is None
    assert await world.run(fresh) is not None
    assert await db.fetchval("select count(*) from avatars where id = $1", lonely) == 0
    assert await Recoveries(db).is_valid(digest_of(token))
    assert await purge(db) == 0


SESSIONS = """insert into prodkit_sessions (id_hash, expires_at, ends_at)
              select sha256(n::text::bytea), now() + $2::interval, now() + interval '1 day'
              from generate_series(1, $1) n"""
PAST, FUTURE = timedelta(minutes=-1), timedelta(minutes=1)


async def test_the_number_of_rows_is_that_of_deletions_pictures_and_sessions(db):
    await db.execute(
        """insert into users (email, name, password_hash) values ('a@ex.com', 'Ana', 'h'), ('b@ex.com', 'Bia', 'h');
           insert into runs (owner_id, question, deleted_at)
               values (1, 'a', null), (1, 'b', now()), (1, 'c', now() - interval '91 days');
           insert into avatars (owner_id, content, media_type, sha256, width, height, created_at)
               select 1, '', 'image/png', n::text, 1, 1, now() - n * interval '20 hours'
               from generate_series(0, 3) n;
           insert into password_recoveries (user_id, token_hash, expires_at)
               values (1, 'old', now() - interval '1 minute'), (2, 'new', now() + interval '1 minute');
           insert into shares (run_id, token_hash, expires_at)
               select id, sha256(question::bytea), now() + case question when 'a' then interval '1 day'
                                                                         else interval '-1 minute' end from runs"""
    )
    await db.execute(SESSIONS, 3, PAST)
    assert await purge(db) == 1 + 2 + 3
    assert await db.fetchval("select string_agg(question, '' order by question) from runs") == "ab"
    assert await db.fetchval("select string_agg(sha256, '' order by sha256) from avatars") == "01"
    assert await db.fetchval("select array_agg(token_hash) from password_recoveries") == ["new"]
    shared = "select string_agg(question, '') from shares join runs on runs.id = run_id"
    assert await db.fetchval(shared) == "a"
    assert await purge(db) == 0


async def test_sessions_go_a_thousand_at_a_time_and_living_ones_stay(db):
    await db.execute(SESSIONS, 1001, PAST)
    assert await purge(db) == 1000  # one statement never holds more rows than that
    assert await purge(db) == 1
    await db.execute(SESSIONS, 2, FUTURE)
    assert await purge(db) == 0
    assert await db.fetchval("select count(*) from prodkit_sessions") == 2


async def test_a_picture_that_something_shows_stays(db):
    await db.execute(
        """insert into users (email, name, password_hash) values ('a@ex.com', 'Ana', 'h');
           insert into avatars (owner_id, content, media_type, sha256, width, height, created_at)
               select 1, '', 'image/png', kind, 1, 1, now() - interval '2 days'
               from unnest(array['expert', 'seat', 'chat', 'persona', 'source', 'nobody']) kind;
           insert into experts (owner_id, name, role, avatar_id)
               select 1, 'E', 'r', id from avatars where sha256 = 'expert';
           insert into runs (owner_id, question) values (1, 'q');
           insert into seats (run_id, position, name, role, system, avatar_id)
               select runs.id, 1, 'S', 'r', 's', avatars.id from runs, avatars where sha256 = 'seat';
           insert into chats (owner_id, name, role, system, avatar_id)
               select 1, 'C', 'r', 's', id from avatars where sha256 = 'chat';
           insert into personas (owner_id, name, role, avatar_id)
               select 1, 'P', 'r', id from avatars where sha256 = 'persona';
           insert into researches (owner_id, kind, subject) values (1, 'clone', 'x');
           insert into research_sources (research_id, position, name, avatar_id)
               select researches.id, 1, 'photo', avatars.id from researches, avatars where sha256 = 'source'"""
    )
    assert await purge(db) == 1
    left = await db.fetchval("select string_agg(sha256, ' ' order by sha256) from avatars")
    assert left == "chat expert persona seat source"
