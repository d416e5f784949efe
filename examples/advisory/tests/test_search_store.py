"""Search without accents, on a real database and as patterns."""

from __future__ import annotations

import unicodedata

import pytest

from advisory.store.search import folded, patterns


def test_words_are_patterns_that_mean_what_they_say():
    assert patterns("Pão  DE açúcar") == ["%pao%", "%de%", "%acucar%"]
    assert patterns(unicodedata.normalize("NFD", "Pão")) == ["%pao%"]
    assert patterns("100% a_b c\\d x\x00y") == ["%100\\%%", "%a\\_b%", "%c\\\\d%", "%xy%"]
    assert patterns("") == []
    assert len(patterns("palavra " * 9)) == 8
    assert patterns("ß 東京 مرحبا") == ["%ß%", "%東京%", "%مرحبا%"]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("text", "words", "found"),
    [
        ("A PADÁRIA do João", "padaria joao", True),
        ("A padaria do Joao", "PADÁRIA JOÃO", True),
        (unicodedata.normalize("NFD", "Síntese ñandú"), "sintese nandu", True),
        ("Ação", "acao", True),
        ("Ação", "acoes", False),
        ("مرحبا 東京", "東京", True),
        ("50 por cento", "50%", False),
        ("Tiếng Việt", "viet tiếng", True),
        ("1 ≠ 2, 20 \u212b, ΟΔΟΣ, İstanbul", "≠ \u212b ΟΔΟΣ istanbul", True),
    ],
)
async def test_a_text_is_found_without_its_accents(db, text, words, found):
    query = f"select bool_and({folded('$1::text')} like pattern) from unnest($2::text[]) as pattern"
    assert await db.fetchval(query, text, patterns(words)) is found
