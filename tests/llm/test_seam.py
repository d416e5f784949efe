"""The seam between two pieces of one answer: nothing lost, nothing twice."""

from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from prodkit.llm.seam import Seam, anchor_of, continued, resumable

WORDS = st.lists(st.text("abcdefghij", min_size=1, max_size=9), min_size=1, max_size=60)
PARAMS: dict[str, Any] = {"max_tokens": 500, "messages": [{"role": "user", "content": "oi"}]}


def _numbered(words: list[str]) -> str:
    return " ".join(f"{word}{number}" for number, word in enumerate(words))


def _through(seam: Seam, text: str, sizes: list[int]) -> str:
    got, at = "", 0
    while at < len(text):
        size = sizes[at % len(sizes)]
        got += seam.feed(text[at : at + size])
        at += size
    return got + seam.close()


@given(WORDS, st.data(), st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_whatever_the_model_does_the_text_is_whole(words: list[str], data: Any, sizes: list[int]) -> None:
    whole = _numbered(words)
    cut = data.draw(st.integers(0, len(whole)))
    had, rest = whole[:cut], whole[cut:]
    if not rest.startswith(had):  # one letter that comes twice cannot be told from one that is repeated
        assert had + _through(Seam(had), rest, sizes) == whole
    anchored = _through(Seam(had), anchor_of(had) + rest, sizes)
    assert had + anchored == whole
    if len(had) >= 4:
        assert had + _through(Seam(had), whole, sizes) == whole


@given(
    st.text("ab ", min_size=1, max_size=6).filter(lambda unit: len(set(unit)) > 1),
    st.integers(2, 80),
    st.data(),
    st.lists(st.integers(1, 12), min_size=1, max_size=5),
)
@example("abc ", 30, None, [3])
def test_a_text_that_repeats_itself_loses_nothing(unit: str, times: int, data: Any, sizes: list[int]) -> None:
    whole = unit * times + "fim"
    cut = len(unit) * (times // 2) if data is None else data.draw(st.integers(0, len(whole)))
    had, rest = whole[:cut], whole[cut:]
    if len(had) < 4 or len(had) <= 40:
        return  # the anchor is the whole text, and what follows may truly be the same again
    assert had + _through(Seam(had), rest, sizes) == whole
    assert had + _through(Seam(had), anchor_of(had) + rest, sizes) == whole


def test_the_anchor_is_short_stands_once_and_begins_a_word() -> None:
    text = "Primeiro, converse com cinco pessoas. Depois, escreva o que precisa ser verdade para a ideia funcionar."
    anchor = anchor_of(text)
    assert text.endswith(anchor)
    assert 40 <= len(anchor) <= 60
    assert text.count(anchor) == 1
    assert text[-len(anchor) - 1] == " "
    assert anchor_of("curto") == "curto"


@pytest.mark.parametrize("before", ['"', "“", "... ", "…", "\n\n", " «"])
def test_quotes_before_the_repeated_words_are_taken_away_with_them(before: str) -> None:
    had = "A resposta depende de quem pergunta e de quem responde, porque"
    seam = Seam(had)
    assert seam.feed(before + anchor_of(had)[:20]) == ""
    assert seam.feed(anchor_of(had)[20:] + " tudo muda.") + seam.close() == " tudo muda."


def test_an_answer_that_was_complete_gets_nothing_more() -> None:
    had = "Em uma frase: comece pequeno e reveja a decisão em trinta dias."
    seam = Seam(had)
    assert seam.feed(anchor_of(had)) + seam.close() == ""


def test_a_short_rest_that_looks_like_the_beginning_of_the_anchor_is_kept() -> None:
    had = "one two three four five six seven eight nine ten"
    seam = Seam(had)
    assert seam.feed(anchor_of(had)[:3]) == ""
    assert seam.close() == anchor_of(had)[:3]


def test_the_request_for_the_rest_ends_with_the_user_and_holds_only_text() -> None:
    had = "palavra " * 10 + "fim do que chegou antes da queda"
    asked = continued(
        {**PARAMS, "thinking": {"type": "adaptive"}, "tool_choice": {"type": "any"}, "system": "s"}, had
    )
    assert [message["role"] for message in asked["messages"]] == ["user", "assistant", "user"]
    assert asked["messages"][1]["content"] == [{"type": "text", "text": had}]
    assert anchor_of(had) in asked["messages"][2]["content"][0]["text"]
    assert asked["max_tokens"] == 500 - len(had) // 4
    assert asked["system"] == "s"
    assert "thinking" not in asked
    assert "tool_choice" not in asked


def test_there_is_always_room_for_a_rest() -> None:
    assert continued({**PARAMS, "max_tokens": 10}, "x" * 4000)["max_tokens"] == 64


def test_a_form_that_is_enforced_cannot_be_gone_on_with() -> None:
    assert resumable(PARAMS)
    assert resumable({**PARAMS, "output_config": {"effort": "low"}})
    assert not resumable({**PARAMS, "output_config": {"format": {"type": "json_schema"}}})
