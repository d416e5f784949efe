"""The tool loop: executes calls, survives a cut, keeps deadline and budget over the whole loop."""

import asyncio
import json
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel

from prodkit import BudgetExceededError, Deadline, DeadlineExceededError, InvalidError, LlmError, llm
from prodkit.testing.anthropic import Simulator

pytestmark = pytest.mark.integration

SONNET, HAIKU = "claude-sonnet-5-5", "claude-haiku-5-5"
ASK: dict[str, Any] = {"max_tokens": 400, "messages": [{"role": "user", "content": "Quanto custa?"}]}


def _call(number: int, tool: str = "price", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{number}", "name": tool, "input": given}


class Shop:
    def __init__(self) -> None:
        self.calls: list[str] = []

    async def price(self, item: str, count: int = 1) -> dict[str, Any]:
        """Return the price of an item."""
        self.calls.append(item)
        return {"item": item, "total": 3 * count}

    def fail(self, why: str) -> str:
        """Always fail."""
        self.calls.append(why)
        raise RuntimeError(why)


async def test_the_loop_ends_with_the_answer(simulator: Simulator, make: Any) -> None:
    shop = Shop()
    simulator.script(
        {
            "content": [
                {"type": "text", "text": "Let me look."},
                _call(1, item="tea"),
                _call(2, item="cup", count=2),
            ]
        },
        {"content": [_call(3, "fail", why="closed"), _call(4, "unknown")]},
        {"text": "Nine."},
    )
    async with make(prices={SONNET: llm.Price(3, 15), HAIKU: llm.Price(1, 5)}) as client:
        run = await client.run_tools(tools=[shop.price, shop.fail], **ASK)
    assert run.answer is not None
    assert run.answer.text == "Nine."
    assert (run.steps, len(run.attempts), shop.calls) == (3, 3, ["tea", "cup", "closed"])
    assert run.cost == pytest.approx(sum(attempt.cost or 0 for attempt in run.attempts))
    results = [block for message in run.messages if message["role"] == "user" for block in message["content"]
               if isinstance(block, dict)]  # fmt: skip
    assert [block.get("is_error", False) for block in results] == [False, False, True, True]
    assert json.loads(results[1]["content"]) == {"item": "cup", "total": 6}
    assert "closed" in results[2]["content"]
    schema = simulator.requests[0].body["tools"][0]["input_schema"]
    assert (schema["required"], set(schema["properties"])) == (["item"], {"item", "count"})


class Item(BaseModel):
    name: str
    due: date


@pytest.mark.parametrize("threaded", [False, True])
async def test_a_tool_receives_its_parameters_as_they_are_annotated(
    simulator: Simulator, make: Any, threaded: bool
) -> None:
    received: list[Item] = []

    async def order(item: Item) -> str:
        """Order an item."""
        received.append(item)
        return "ordered"

    def ordered(item: Item) -> str:
        """Order an item."""
        received.append(item)
        return "ordered"

    tool = llm.Tool.of(ordered if threaded else order)
    simulator.script(
        {"content": [_call(1, tool.name, item={"name": "tea"})]},
        {"content": [_call(2, tool.name, item={"name": "tea", "due": "2026-11-25"})]},
        {"text": "Done."},
    )
    async with make() as client:
        run = await client.run_tools(tools=[tool], **ASK)
    assert received == [Item(name="tea", due=date(2026, 11, 25))]
    assert run.results["toolu_1"]["is_error"]
    assert "due" in run.results["toolu_1"]["content"]
    assert run.results["toolu_2"]["content"] == "ordered"


async def test_a_paused_turn_is_continued(simulator: Simulator, make: Any) -> None:
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "tea"}}
    simulator.script({"content": [search], "stop_reason": "pause_turn"}, {"text": "Three."})
    async with make() as client:
        run = await client.run_tools(tools=[Shop().price], **ASK)
    assert run.answer is not None
    assert (run.answer.text, run.steps) == ("Three.", 2)
    assert simulator.requests[1].body["messages"][-1] == {"role": "assistant", "content": [search]}


@pytest.mark.parametrize("cut", ["step", "tool"])
async def test_a_run_that_was_cut_is_resumed_without_running_a_finished_call_again(
    simulator: Simulator, make: Any, cut: str
) -> None:
    stored: list[str] = []
    done: list[str] = []
    hold = asyncio.Event()

    async def quick(item: str) -> str:
        """Run at once."""
        done.append(item)
        return item

    async def slow(item: str) -> str:
        """Run later."""
        if cut == "tool" and not hold.is_set():
            await asyncio.sleep(60)
        done.append(item)
        return item

    simulator.script({"content": [_call(1, "quick", item="a"), _call(2, "slow", item="b")]})
    simulator.always("529")
    async with make(models=(SONNET,)) as client:
        options = {"tools": [quick, slow], "on_step": lambda run: stored.append(json.dumps(run.state()))}
        if cut == "tool":
            with pytest.raises(DeadlineExceededError), Deadline.after(0.5):
                await client.run_tools(**options, **ASK)
        else:
            with pytest.raises(LlmError) as raised:
                await client.run_tools(**options, **ASK)
            assert raised.value.partial == json.loads(stored[-1])
    simulator.reset()
    simulator.script({"text": "Done."})
    hold.set()
    async with make() as other:
        run = await other.run_tools(tools=[quick, slow], resume=json.loads(stored[-1]), max_tokens=400)
    assert run.answer is not None
    assert run.answer.text == "Done."
    assert sorted(done) == ["a", "b"], "each call ran once"
    sent = simulator.requests[-1].body["messages"][-1]["content"]
    assert [(block["tool_use_id"], block["content"]) for block in sent] == [
        ("toolu_1", "a"),
        ("toolu_2", "b"),
    ]


async def test_a_call_that_max_tokens_cut_is_not_executed(simulator: Simulator, make: Any) -> None:
    shop = Shop()
    simulator.script({"content": [_call(1, item="tea")], "stop_reason": "max_tokens"})
    async with make() as client:
        run = await client.run_tools(tools=[shop.price], **ASK)
    assert run.answer is not None
    assert (run.answer.truncated, shop.calls) == (True, [])


async def test_deadline_budget_and_steps_bound_the_whole_loop(simulator: Simulator, make: Any) -> None:
    shop = Shop()
    for number in range(1, 40):
        simulator.script({"content": [_call(number, item="tea")]})
    async with make(prices={SONNET: llm.Price(3, 15), HAIKU: llm.Price(1, 5)}, budget=0.02) as client:
        with pytest.raises(LlmError) as raised:
            await client.run_tools(tools=[shop.price], max_steps=2, **ASK)
        assert (raised.value.code, len(raised.value.attempts), len(shop.calls)) == ("max_steps", 2, 2)
        with pytest.raises(BudgetExceededError) as spent:
            await client.run_tools(tools=[shop.price], max_steps=100, **ASK)
        assert spent.value.partial["steps"] > 0
    simulator.reset()
    simulator.script({"text": "Nine."})
    async with make() as other:  # with another budget, from where the first one ended
        run = await other.run_tools(
            tools=[shop.price], resume=spent.value.partial, max_steps=200, max_tokens=400
        )
        assert run.answer is not None
        assert run.answer.text == "Nine."

    async def forever(item: str) -> str:
        """Never end."""
        await asyncio.sleep(60)
        return item

    simulator.reset()
    simulator.script({"content": [_call(1, "forever", item="x")]})
    async with make() as client:
        begun = asyncio.get_running_loop().time()
        with pytest.raises(llm.LlmDeadlineError) as late:
            await client.run_tools(tools=[forever], timeout=0.4, **ASK)
        assert asyncio.get_running_loop().time() - begun < 0.7
    assert late.value.partial["steps"] == 1


async def test_wrong_use_of_the_loop(make: Any) -> None:
    async with make() as client:
        with pytest.raises(InvalidError, match="names"):
            await client.run_tools(tools=[Shop().price, Shop().price], **ASK)
        with pytest.raises(InvalidError, match="state"):
            await client.run_tools(tools=[Shop().price], resume={"messages": 3}, max_tokens=9)
    with pytest.raises((TypeError, ValueError), match="name"):
        llm.Tool("", "x", {}, print)
