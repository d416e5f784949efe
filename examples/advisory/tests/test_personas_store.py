"""Personas on a real database: their owner's alone, with a version that rises with each change."""

from __future__ import annotations

import pytest

from advisory.store.personas import Persona, Personas
from advisory.tests.stored import a_user

pytestmark = pytest.mark.integration
FIELDS = {"name": "Marta", "role": "cliente", "goals": "pão", "style": "rápida"}


class Clean:
    """A picture that was checked."""

    content, media_type, sha256, width, height = b"png", "image/png", "abc", 3, 4


async def test_a_persona_is_its_owners(db, world):
    personas, owner, other = Personas(db), world.user.id, (await a_user(db)).id
    first = await personas.add(owner_id=owner, **FIELDS)
    second = await personas.add(owner_id=owner, **FIELDS)
    marta = await personas.get(owner, first)
    assert marta == Persona(first, owner, "Marta", "cliente", "pão", "rápida", "", None, 1)
    assert [each.id for each in await personas.of(owner)] == [second, first]  # the newest first
    assert await personas.of(other) == []
    assert await personas.get(other, first) is None
    assert await personas.chosen(owner, str(first)) == marta
    assert await personas.chosen(other, str(first)) is None
    changed = {**FIELDS, "name": "Zoé", "style": ""}
    assert not await personas.edit(other, first, profile="p", **changed)
    assert await personas.edit(owner, first, profile="p", **changed)
    assert await personas.get(owner, first) == Persona(
        first, owner, "Zoé", "cliente", "pão", "", "p", None, 2
    )
    assert not await personas.remove(other, first)
    assert await personas.remove(owner, first)
    assert not await personas.remove(owner, first)
    assert await personas.get(owner, first) is None
    assert not await personas.edit(owner, first, profile="", **FIELDS)
    assert [each.id for each in await personas.of(owner)] == [second]
    assert not await personas.restore(other, first)
    assert await personas.restore(owner, first)
    assert (await personas.get(owner, first)).name == "Zoé"


@pytest.mark.parametrize("text", ["", "x", "-1", "²", "1.5", "9" * 19])
async def test_no_choice_is_none(db, world, text):
    assert await Personas(db).chosen(world.user.id, text) is None


async def test_the_largest_number_is_asked_for(db, world):
    assert await Personas(db).chosen(world.user.id, "9" * 18) is None


async def test_a_photo_stays_until_there_is_a_newer_one(db, world):
    personas, owner = Personas(db), world.user.id
    made = await personas.add(owner_id=owner, avatar=Clean(), **FIELDS)  # type: ignore[arg-type]
    first = (await personas.get(owner, made)).avatar_id
    assert first is not None
    await personas.edit(owner, made, profile="", **FIELDS)
    assert (await personas.get(owner, made)).avatar_id == first
    await personas.edit(owner, made, profile="", avatar=Clean(), **FIELDS)  # type: ignore[arg-type]
    assert (await personas.get(owner, made)).avatar_id not in (None, first)
