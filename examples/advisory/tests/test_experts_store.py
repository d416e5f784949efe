"""Experts and their pictures on a real database: one's own and the seeded ones, no others."""

from __future__ import annotations

from uuid import uuid4

import pytest

from advisory.store.experts import Expert, Experts
from advisory.store.seeds import EXPERTS, seed_experts
from advisory.tests.stored import a_user

pytestmark = pytest.mark.integration


async def test_experts_of_ones_own_and_seeded_ones(db, world):
    experts, other = Experts(db), await a_user(db)
    await seed_experts(experts)
    assert await seed_experts(experts) == 0
    seen = await experts.visible_to(world.user.id)
    assert [each.name for each in seen[:2]] == ["Helena", "Davi"]
    assert {each["name"] for each in EXPERTS} <= {each.name for each in seen[2:]}
    helena = seen[0]
    assert helena == Expert(helena.id, world.user.id, "Helena", "papel", "g", "e", None)
    assert [each.id for each in await experts.some(other.id, [helena.id])] == []
    assert await experts.some(world.user.id, [helena.id]) == [helena]
    assert await experts.own(world.user.id, helena.id) == helena
    assert await experts.own(other.id, helena.id) is None
    new = {"name": "H", "role": "outro", "goals": "", "style": "s"}
    assert not await experts.edit(other.id, helena.id, **new)
    assert await experts.edit(world.user.id, helena.id, **new)
    assert await experts.own(world.user.id, helena.id) == Expert(
        helena.id, world.user.id, "H", "outro", "", "s", None
    )
    assert not await experts.remove(other.id, helena.id)
    assert await experts.remove(world.user.id, helena.id)
    assert not await experts.remove(world.user.id, helena.id)
    assert await experts.own(world.user.id, helena.id) is None
    slug = f"s-{uuid4().hex}"
    assert await experts.add(owner_id=None, name="S", role="r", goals="", style="", slug=slug)
    assert await experts.add(owner_id=None, name="S", role="r", goals="", style="", slug=slug) is None
    await db.execute("delete from experts where slug = $1", slug)


async def test_a_picture_is_its_owners(db, world):
    class Clean:
        content, media_type, sha256, width, height = b"png", "image/png", "abc", 3, 4

    experts, other = Experts(db), await a_user(db)
    made = await experts.add(
        owner_id=world.user.id,
        name="F",
        role="r",
        goals="",
        style="",
        avatar=Clean(),  # type: ignore[arg-type]
    )
    avatar_id = (await experts.own(world.user.id, made)).avatar_id
    found = await experts.avatar(world.user.id, avatar_id)
    assert (found.content, found.media_type, found.sha256) == (b"png", "image/png", "abc")
    assert await experts.avatar(other.id, avatar_id) is None
    assert await experts.avatar(world.user.id, uuid4()) is None
    values = {"name": "F", "role": "r", "goals": "", "style": ""}
    await experts.edit(world.user.id, made, **values)
    assert (await experts.own(world.user.id, made)).avatar_id == avatar_id  # without a new one the old stays
    await experts.edit(world.user.id, made, avatar=Clean(), **values)  # type: ignore[arg-type]
    assert (await experts.own(world.user.id, made)).avatar_id not in (None, avatar_id)
    size = await db.fetchrow("select width, height, owner_id from avatars where id = $1", avatar_id)
    assert tuple(size.values()) == (3, 4, world.user.id)
