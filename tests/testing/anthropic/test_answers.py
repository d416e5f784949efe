"""The texts of the simulated model."""

from __future__ import annotations

from typing import Any

import pytest

from prodkit.testing.anthropic.answers import answer_function, last_user_text, numbered


def asked(text: Any, system: str = "") -> dict[str, Any]:
    return {"system": system, "messages": [{"role": "user", "content": text}]}


def test_the_last_user_message_counts_whatever_its_form() -> None:
    blocks = [{"type": "text", "text": "one "}, {"type": "image"}, {"type": "text", "text": "two"}]
    assert last_user_text(asked(blocks)) == "one two"
    assert last_user_text(asked("plain")) == "plain"
    messages = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}]
    assert last_user_text({"messages": messages}) == "question"
    assert last_user_text({}) == ""


def test_numbered_words_never_repeat_and_depend_on_the_seed() -> None:
    words = numbered(200, "a").split()
    assert len(set(words)) == 200
    assert words == numbered(200, "a").split()
    assert not set(words) & set(numbered(200, "b").split())


@pytest.mark.parametrize("name", ["words", "echo", "council", "text:as given"])
def test_a_function_gives_the_same_text_for_the_same_request(name: str) -> None:
    body = asked("O que fazer?", "Você é Ana, CFO.")
    text = answer_function(name)(body)
    assert text == answer_function(name)(body)
    assert text


def test_a_constant_keeps_what_stands_behind_the_first_colon() -> None:
    assert answer_function("text:a: b")(asked("?")) == "a: b"


def test_an_expert_speaks_in_the_name_of_the_system_prompt() -> None:
    text = str(answer_function("council")(asked("Devo abrir uma loja?", "Você é Ana Prado, CFO.")))
    assert "como Ana Prado" in text
    assert "«Devo abrir uma loja?»" in text
    assert "caixa" in text


def test_the_chairman_writes_a_synthesis() -> None:
    text = str(answer_function("council")(asked("Devo abrir uma loja?", "Você é o presidente do conselho.")))
    assert text.startswith("## Síntese")


def test_a_function_of_a_module_is_imported() -> None:
    assert answer_function("json:dumps") is __import__("json").dumps


@pytest.mark.parametrize("name", ["", "unknown", "text:", "json:", "json:missing", "json:__name__"])
def test_a_name_that_means_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="answers"):
        answer_function(name)
