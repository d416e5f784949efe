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


def test_an_hour_in_the_prompt_cache_and_searches_have_prices_of_their_own() -> None:
    usage = llm.Usage(0, 0, 3_000_000, 0, cache_creation_1h_input_tokens=2_000_000, web_search_requests=3)
    assert llm.Price(3, 15).of(usage) == pytest.approx(3.75 + 2 * 6 + 0.03)
    price = llm.Price(3, 15, cache_write=1, cache_write_1h=2, web_search=100)
    assert price.of(usage) == pytest.approx(1 + 2 * 2 + 0.3)


@pytest.mark.parametrize(("control", "factor"), [({}, 1.25), ({"ttl": "5m"}, 1.25), ({"ttl": "1h"}, 2)])
@pytest.mark.parametrize("place", ["system", "messages", "tools", "top"])
def test_the_worst_case_writes_everything_to_the_prompt_cache(
    control: dict[str, str], factor: float, place: str
) -> None:
    marked = {"cache_control": {"type": "ephemeral", **control}}
    blocks = [{"type": "text", "text": "a" * 3000, **(marked if place == "system" else {})}]
    content = [{"type": "text", "text": "b", **(marked if place == "messages" else {})}]
    params = {
        "max_tokens": 1,
        "system": blocks,
        "tools": [{"name": "t", **(marked if place == "tools" else {})}],
        "messages": [{"role": "user", "content": content}],
        **(marked if place == "top" else {}),
    }
    price = llm.Price(1, 0)
    assert worst_case(params, price) == pytest.approx(estimate_input(params) * factor / 1e6)
    assert worst_case(params, llm.Price(1, 0, cache_write=0, cache_write_1h=0)) == pytest.approx(
        estimate_input(params) / 1e6
    )


def test_the_worst_case_holds_the_searches_that_are_allowed() -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 5}]
    assert worst_case({"max_tokens": 1, "tools": tools}, llm.Price(0, 0)) == pytest.approx(0.05)


def test_the_text_of_documents_is_estimated() -> None:
    for source in (
        {"type": "text", "media_type": "text/plain", "data": "a" * 30_000},
        {"type": "content", "content": [{"type": "text", "text": "a" * 30_000}]},
    ):
        document = {"type": "document", "source": source}
        assert estimate_input({"messages": [{"role": "user", "content": [document]}]}) > 10_000
