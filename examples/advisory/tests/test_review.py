"""Small things that a reviewer found: odd input is a clear answer, and what was promised happens."""

from pathlib import Path

import pytest

import advisory
from advisory.migrations.apply import migrate
from advisory.pages.forms import _EMAIL
from advisory.pages.visitor import safe_next
from advisory.store.purge import KEPT_DAYS, purge
from prodkit import postgres


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
    await migrate(postgres_url)
    async with postgres.Pool(postgres_url, min_size=1, max_size=2) as db:
        await db.execute(
            """insert into users (email, name, password_hash) values ('a@b.example', 'Ana', 'x');
               insert into runs (owner_id, question, deleted_at)
                   values (1, 'a', null), (1, 'b', now()), (1, 'c', now() - interval '91 days');
               insert into avatars (content, media_type, sha256, width, height, created_at)
                   select '', 'image/png', n::text, 1, 1, now() - interval '2 days' from generate_series(1, 2) n;
               insert into experts (owner_id, name, role, avatar_id, deleted_at)
                   select 1, sha256, 'r', id, case sha256 when '2' then now() - interval '91 days' end from avatars"""
        )
        assert await purge(db) == 3
        assert await db.fetchval("select string_agg(question, '' order by question) from runs") == "ab"
        assert await db.fetchval("select array_agg(name) from experts") == ["1"]
        assert await db.fetchval("select array_agg(sha256) from avatars") == ["1"]
        assert await purge(db) == 0
    assert KEPT_DAYS == 90
    page = Path(advisory.__file__).parent / "templates" / "history.html"
    assert "por 90 dias" in page.read_text()
