"""Small things that a reviewer found: odd input is a clear answer, and what was promised happens."""

import pytest

from advisory.pages.forms import _EMAIL
from advisory.pages.visitor import safe_next
from advisory.store.purge import KEPT_DAYS, purge
from prodkit import postgres
from prodkit.sessions import POSTGRES_SCHEMA


@pytest.mark.parametrize(
    "path", ["//[", "//evil.example", "/\\evil.example", "https://evil.example", "x", "/a\nb"]
)
def test_a_next_page_that_is_not_ours_is_the_home_page(path: str) -> None:
    assert safe_next(path) == "/"


def test_a_next_page_of_ours_is_kept() -> None:
    assert safe_next("/conselhos/7?x=1") == "/conselhos/7?x=1"


def test_an_address_with_control_characters_is_none() -> None:
    assert not _EMAIL.fullmatch("a\x00b@ex.com")
    assert _EMAIL.fullmatch("ana.lima@ex.com")


@pytest.mark.integration
async def test_what_was_deleted_long_ago_is_removed_for_good(postgres_url: str) -> None:
    async with postgres.Pool(postgres_url, min_size=1, max_size=2) as db:
        await db.execute(POSTGRES_SCHEMA)
        await db.execute(
            """create table runs (id int, deleted_at timestamptz);
               create table experts (id int, avatar_id int, deleted_at timestamptz);
               create table seats (avatar_id int);
               create table avatars (id int, created_at timestamptz default now() - interval '2 days')"""
        )
        await db.execute("insert into runs values (1, null), (2, now()), (3, now() - interval '91 days')")
        await db.execute("insert into experts values (1, 1, null), (2, 2, now() - interval '91 days')")
        await db.execute("insert into avatars (id) values (1), (2)")
        assert await purge(db) == 3
        assert [row["id"] for row in await db.fetch("select id from runs order by id")] == [1, 2]
        assert await db.fetchval("select array_agg(id) from experts") == [1]
        assert await db.fetchval("select array_agg(id) from avatars") == [1]
        assert await purge(db) == 0
    assert KEPT_DAYS == 90
