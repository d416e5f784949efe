"""Models and options."""

from typing import Any

import pytest

from prodkit import llm


def test_a_model_adapts_parameters() -> None:
    model = llm.Model(
        "claude-haiku-5-5", omit=frozenset({"thinking"}), override={"speed": "fast"}, max_tokens=50
    )
    given = {"max_tokens": 100, "messages": [], "thinking": {}}
    assert model.adapted(given) == {"model": model.name, "max_tokens": 50, "messages": [], "speed": "fast"}
    assert given["max_tokens"] == 100


@pytest.mark.parametrize(
    "wrong", [{"name": " x"}, {"name": "x", "omit": "thinking"}, {"name": "x", "omit": {"messages"}},
              {"name": "x", "max_tokens": 0}]
)  # fmt: skip
def test_wrong_models(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        llm.Model(**wrong)
