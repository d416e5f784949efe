"""A conversation in a context window: the oldest are left out, pairs stay together."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from prodkit import llm


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _model(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


CALL = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "look", "input": {}}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "found"}]}
TALK = [_user("a" * 300), _model("b" * 300), _user("look"), CALL, RESULT, _model("c" * 30), _user("d" * 30)]


def test_everything_stays_within_the_window() -> None:
    fitted = llm.fit(TALK, 1000)
    assert (fitted.messages, fitted.left_out, fitted.fits) == (TALK, [], True)


def test_the_oldest_are_left_out_and_named() -> None:
    fitted = llm.fit(TALK, 150)
    assert fitted.messages == TALK[2:]
    assert fitted.left_out == TALK[:2]
    assert fitted.tokens <= 150


def test_a_tool_call_is_never_separated_from_its_result() -> None:
    for limit in range(1, 400, 7):
        kept = llm.fit(TALK, limit).messages
        assert (CALL in kept) == (RESULT in kept)
        assert kept[0]["role"] == "user"
        assert kept[0] != RESULT


def test_the_first_messages_may_stay() -> None:
    fitted = llm.fit(TALK, 150, keep_first=1)
    assert fitted.messages[0] == TALK[0]
    assert fitted.messages[-1] == TALK[-1]
    assert not llm.fit(TALK, 5).fits, "the last message stays, and the result says that it does not fit"


@given(st.lists(st.integers(0, 400), min_size=1, max_size=30), st.integers(1, 3000))
def test_as_much_stays_as_fits(sizes: list[int], limit: int) -> None:
    talk = [(_user if number % 2 == 0 else _model)("x" * size) for number, size in enumerate(sizes)]
    fitted = llm.fit(talk, limit)
    assert [*fitted.left_out, *fitted.messages] == talk
    if fitted.fits and len(fitted.left_out) >= 2:
        assert (
            llm.fit([*fitted.left_out[-2:], *fitted.messages], limit).messages[0] is not fitted.left_out[-2]
        )


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": 10, "keep_last": 0}, {"limit": 1.5}])
def test_wrong_use(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        llm.fit(TALK, **wrong)
