"""Continuations of a cut answer, by personality."""

from __future__ import annotations

import random

import pytest

from prodkit.testing.anthropic.personalities import PERSONALITIES, continue_as

HAD = "One two three  four five six seven eight nine ten eleven twelve"
REST = " thirteen fourteen"
QUOTED = "nine ten  eleven twelve"


def continued(personality: str, seed: int = 1) -> str:
    return continue_as(personality, HAD, REST, QUOTED, random.Random(seed))


def test_the_obedient_ones() -> None:
    assert continued("exact") == REST
    assert continued("anchor") == QUOTED + REST
    assert continued("restart") == HAD + REST
    assert continued("squeezed") == "nine ten eleven twelve" + REST


@pytest.mark.parametrize("seed", range(20))
def test_more_and_fewer_words_end_with_the_rest(seed: int) -> None:
    for personality in ("more", "fewer"):
        text = continued(personality, seed)
        assert text.endswith(REST)
        assert (HAD + REST).endswith(text)
    assert 2 <= len(continued("fewer", seed).removesuffix(REST).split()) <= 5
    assert len(continued("more", seed).removesuffix(REST).split()) >= len(QUOTED.split()) + 2


def test_an_apology_stands_before_the_text() -> None:
    assert continued("apology").endswith(QUOTED + REST)
    assert continued("apology") != QUOTED + REST
    assert continued("bare_apology").endswith(REST.lstrip())
    assert QUOTED not in continued("bare_apology")


def test_another_language_holds_nothing_of_the_answer() -> None:
    assert "thirteen" not in continued("language")


@pytest.mark.parametrize("personality", PERSONALITIES)
def test_the_same_seed_gives_the_same_text(personality: str) -> None:
    assert continued(personality, 7) == continued(personality, 7)


def test_an_unknown_one_is_refused() -> None:
    with pytest.raises(ValueError, match="continuation must be one of exact"):
        continued("polite")
