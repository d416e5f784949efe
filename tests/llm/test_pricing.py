"""Prices, estimates and budgets."""

import pytest

from prodkit import BudgetExceededError, llm
from prodkit.llm.pricing import estimate_input, worst_case


def test_prices() -> None:
    price = llm.Price(3, 15)
    assert price.of(llm.Usage(1_000_000, 1_000_000)) == 18
    assert price.of(llm.Usage(0, 0, 1_000_000, 1_000_000)) == pytest.approx(3 * 1.25 + 0.3)
    with pytest.raises(ValueError, match=r"Price\.input"):
        llm.Price(-1, 1)


def test_a_budget_sets_aside_and_settles() -> None:
    budget = llm.Budget(1.0)
    budget.reserve(0.6)
    with pytest.raises(BudgetExceededError, match="not sent"):
        budget.reserve(0.5)
    budget.settle(0.6, 0.1)
    budget.reserve(0.5)
    assert budget.left == pytest.approx(0.4)


def test_the_estimate_sees_all_text_and_images() -> None:
    image = {"type": "image", "source": {"type": "base64", "data": "x" * 10**6}}
    params = {
        "max_tokens": 10,
        "system": "a" * 300,
        "messages": [{"role": "user", "content": [image, {"text": "b"}]}],
    }
    assert 1700 < estimate_input(params) < 1900
    assert worst_case(params, llm.Price(0, 1_000_000)) == 10
