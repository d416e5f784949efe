from __future__ import annotations

import re
from string import Formatter

import pytest

from prodkit.env import texts
from prodkit.env.texts import LANGUAGES, Language, headline, hint


def fields(text: str) -> set[str | None]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("rule", sorted(texts._TEXTS))
def test_each_hint_needs_the_same_facts_in_both_languages_and_is_no_whole_sentence(rule: str) -> None:
    english, portuguese = texts._TEXTS[rule]
    assert fields(english) == fields(portuguese)
    for text in (english, portuguese):
        assert not re.match(r"[A-Z]", text)
        assert not text.endswith(".")


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_unknown_rule_and_a_missing_fact_still_give_a_hint(language: Language) -> None:
    assert hint("no such rule", language) == hint("invalid", language)
    assert hint("range", language).endswith(": ?")


def test_facts_fill_the_hint_and_braces_in_them_stay() -> None:
    assert hint("range", "en", limit=">= 1") == "is out of range: >= 1"
    assert hint("custom", "en", message="not {this}") == "not {this}"


def test_the_headline_counts() -> None:
    assert [headline(count, "en") for count in (1, 2)] == [
        "The environment has 1 problem:",
        "The environment has 2 problems:",
    ]
    assert headline(2, "pt-BR") == "O ambiente tem 2 problemas:"
