"""The joint of two pieces of one answer: nothing lost, nothing doubled, or an honest refusal."""

import random
from typing import Any

import pytest
from hypothesis import given, strategies as st

from prodkit.llm.streaming.continuation import NoOverlapError, Overlap, anchor_of, continued, resumable
from prodkit.testing.anthropic.answers import council, numbered
from prodkit.testing.anthropic.personalities import PERSONALITIES, continue_as

WORDS = st.lists(st.text("abcdefghij", min_size=1, max_size=9), min_size=1, max_size=60)
PARAMS: dict[str, Any] = {"max_tokens": 500, "messages": [{"role": "user", "content": "oi"}]}


def _numbered(words: list[str]) -> str:
    return " ".join(f"{word}{number}" for number, word in enumerate(words))


def _through(overlap: Overlap, text: str, sizes: list[int]) -> str:
    got, at = "", 0
    while at < len(text):
        size = sizes[at % len(sizes)]
        got += overlap.feed(text[at : at + size])
        at += size
    return got + overlap.close()


def _joined(had: str, continuation: str, sizes: list[int]) -> str | None:
    """The joined text, None where the joint was refused."""
    try:
        return had + _through(Overlap(had), continuation, sizes)
    except NoOverlapError:
        return None


@given(WORDS, st.data(), st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_the_text_is_whole_for_an_obedient_model(words: list[str], data: Any, sizes: list[int]) -> None:
    whole = _numbered(words)
    cut = data.draw(st.integers(0, len(whole)))
    had, rest = whole[:cut].rstrip(), whole[cut:]
    rest = whole[len(had) :]
    if not rest.startswith(had):  # one letter that comes twice cannot be distinguished from a repeated one
        assert _joined(had, rest, sizes) in (whole, None)
    assert _joined(had, anchor_of(had) + rest, sizes) == whole
    if len(had) >= 4:
        assert _joined(had, whole, sizes) == whole


@given(
    st.text("ab ", min_size=1, max_size=6).filter(lambda unit: len(set(unit)) > 1),
    st.integers(2, 80),
    st.data(),
    st.lists(st.integers(1, 12), min_size=1, max_size=5),
)
def test_a_text_that_repeats_itself_is_whole_or_refused(
    unit: str, times: int, data: Any, sizes: list[int]
) -> None:
    whole = unit * times + "fim"
    had = whole[: data.draw(st.integers(0, len(whole)))].rstrip()
    rest = whole[len(had) :]
    if len(had) <= 40:
        return  # the anchor is the whole text, and the text that follows may be the same again
    assert _joined(had, rest, sizes) in (whole, None)
    assert _joined(had, anchor_of(had) + rest, sizes) in (whole, None)


def test_a_few_letters_far_apart_that_repeat_are_not_cut_short() -> None:
    had, rest = " a   " * 8 + " a", "   " + " a   " * 8 + "fim"
    assert _joined(had, rest, [1]) in (had + rest, None)


TEXTS = {
    "numbers": lambda n: numbered(120, f"seed {n}"),
    "council": lambda n: council(
        {
            "system": "Você é Ana, economista.",
            "messages": [{"role": "user", "content": f"Vale a pena abrir a loja {n}?"}],
        }
    ),
    "synthesis": lambda n: council(
        {"system": "presidente", "messages": [{"role": "user", "content": f"Devo contratar o vendedor {n}?"}]}
    ),
}
OFTEN = ("anchor", "restart", "more", "fewer", "squeezed", "apology")


@pytest.mark.parametrize("personality", PERSONALITIES)
@pytest.mark.parametrize("kind", TEXTS)
def test_200_continuations_of_every_personality_are_whole_or_refused(personality: str, kind: str) -> None:
    chance = random.Random(2026)
    results = {"whole": 0, "refused": 0}
    for number in range(200):
        whole = TEXTS[kind](number)
        had = whole[: chance.randrange(30, len(whole) - 30)].rstrip()
        rest = whole[len(had) :]
        text = continue_as(personality, had, rest, anchor_of(had), random.Random(number))
        joined = _joined(had, text, [7, 3, 12])
        if joined is None:
            results["refused"] += 1
            continue
        assert joined == whole, (number, had[-60:], text[:120])
        results["whole"] += 1
    if personality in OFTEN:
        assert results["whole"] >= 190, results
    if personality == "language":
        assert results["refused"] == 200


def test_the_anchor_is_short_stands_once_and_begins_a_word() -> None:
    text = "Primeiro, converse com cinco pessoas. Depois, escreva o que precisa ser verdade para a ideia funcionar."
    anchor = anchor_of(text)
    assert text.endswith(anchor)
    assert 40 <= len(anchor) <= 60
    assert text.count(anchor) == 1
    assert text[-len(anchor) - 1] == " "
    assert anchor_of("curto") == "curto"


@pytest.mark.parametrize("before", ['"', "“", "... ", "…", "\n\n", " «"])
def test_quotation_marks_before_the_repeated_words_are_removed_with_them(before: str) -> None:
    had = "A resposta depende de quem pergunta e de quem responde, porque"
    overlap = Overlap(had)
    assert overlap.feed(before + anchor_of(had)[:20]) == ""
    assert overlap.feed(anchor_of(had)[20:] + " tudo muda.") + overlap.close() == " tudo muda."


@pytest.mark.parametrize("marks", ["“”", '""', "«»", "``"])
def test_the_closing_mark_of_a_quotation_is_removed_too(marks: str) -> None:
    had = "A resposta depende de quem pergunta e de quem responde, porque"
    text = marks[0] + anchor_of(had) + marks[1] + " tudo muda de figura."
    assert _joined(had, text, [5]) == had + " tudo muda de figura."


def test_an_answer_that_was_complete_gets_nothing_more() -> None:
    had = "Em uma frase: comece pequeno e reveja a decisão em trinta dias."
    overlap = Overlap(had)
    assert overlap.feed(anchor_of(had)) + overlap.close() == ""


def test_a_new_beginning_that_ends_too_early_is_refused() -> None:
    whole = " ".join(f"palavra{n}" for n in range(80))
    assert _joined(whole[:400], whole[:200], [9]) is None


def test_a_new_answer_is_refused() -> None:
    had = numbered(60)
    for text in (
        "Sorry, I cannot continue from there because I do not remember the text of that answer at all, so here goes.",
        "Lo siento, pero no puedo continuar desde ese punto; la respuesta que te di antes era otra y no la recuerdo.",
        had[:90]
        + " and then something else that is not what stood there before, and more of it still to come",
    ):
        assert _joined(had, text, [11]) is None


def test_a_short_rest_that_looks_like_the_beginning_of_the_anchor_is_kept() -> None:
    had = "one two three four five six seven eight nine ten"
    overlap = Overlap(had)
    assert overlap.feed(anchor_of(had)[:3]) == ""
    assert overlap.close() == anchor_of(had)[:3]


def test_the_joint_says_where_and_how() -> None:
    had = "A resposta depende de quem pergunta e de quem responde, porque"
    overlap = Overlap(had)
    overlap.feed(had + " nada")
    assert overlap.joint is not None
    assert (overlap.joint.at, overlap.joint.removed) == (len(had), len(had))
    assert overlap.joint.confidence > 0.9


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


def test_there_are_always_tokens_for_a_continuation() -> None:
    assert continued({**PARAMS, "max_tokens": 10}, "x" * 4000)["max_tokens"] == 64


def test_an_enforced_form_is_not_continued() -> None:
    assert resumable(PARAMS)
    assert resumable({**PARAMS, "output_config": {"effort": "low"}})
    assert not resumable({**PARAMS, "output_config": {"format": {"type": "json_schema"}}})
