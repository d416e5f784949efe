"""Typed answers: validated, corrected once, counted."""

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, Field

from prodkit import InvalidError, LlmError, llm
from prodkit.testing.anthropic import Simulator

pytestmark = pytest.mark.integration

SONNET, HAIKU = "claude-sonnet-5-5", "claude-haiku-5-5"


class Person(BaseModel):
    name: str
    age: int = Field(ge=0)


@dataclass
class Point:
    x: float
    y: float


GOOD = {"text": '{"name": "Ana", "age": 40}'}
BAD = {"text": '{"name": "Ana", "age": "forty", "secret": 1}'}


async def test_a_reply_is_validated(simulator: Simulator, make: Any, params: dict[str, Any]) -> None:
    simulator.script(GOOD, {"text": '```json\n{"x": 1, "y": 2.5}\n```'}, {"text": "[1, 2]"})
    async with make(prices={SONNET: llm.Price(3, 15), HAIKU: llm.Price(1, 5)}) as client:
        answer = await client.parse(model=Person, **params)
        assert answer.parsed == Person(name="Ana", age=40) == answer.parsed_output
        assert not answer.repaired
        assert (await client.parse(model=Point, **params)).parsed == Point(1, 2.5)
        assert (await client.parse(model=list[int], **params)).parsed == [1, 2]
    schema = simulator.requests[0].body["output_config"]["format"]
    assert schema["type"] == "json_schema"
    assert set(schema["schema"]["properties"]) == {"name", "age"}


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ('Here: [{"x": 1, "y": 2}, {"x": 3, "y": 4}] Done.', list[Point], [Point(1, 2), Point(3, 4)]),
        ('Here you are: {"x": 1, "y": 2}.', Point, Point(1, 2)),
        ("Sure [as asked", None, None),
    ],
)
async def test_json_with_words_around_it_is_read(
    simulator: Simulator, make: Any, params: dict[str, Any], text: str, kind: Any, value: Any
) -> None:
    simulator.script({"text": text}, {"text": "null"})
    async with make() as client:
        answer = await client.parse(model=kind or type(None), **params)
    assert answer.parsed == value
    assert answer.repaired == (kind is None)


async def test_a_reply_that_does_not_match_is_corrected_once_and_counted(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.script(BAD, GOOD)
    async with make(prices={SONNET: llm.Price(3, 15), HAIKU: llm.Price(1, 5)}) as client:
        answer = await client.parse(model=Person, **params)
    assert (answer.parsed, answer.repaired) == (Person(name="Ana", age=40), True)
    assert len(answer.attempts) == 2
    assert answer.usage == answer.attempts[0].usage + answer.attempts[1].usage
    assert answer.cost == pytest.approx(sum(attempt.cost or 0 for attempt in answer.attempts))
    asked = simulator.requests[1].body["messages"]
    assert [message["role"] for message in asked] == ["user", "assistant", "user"]
    assert "age" in asked[2]["content"]


async def test_a_second_mismatch_is_an_error_with_the_reply(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.script(BAD, BAD)
    async with make() as client:
        with pytest.raises(LlmError, match="age") as raised:
            await client.parse(model=Person, **params)
    assert raised.value.code == "invalid_reply"
    assert len(raised.value.attempts) == 2
    assert raised.value.partial["content"][0]["text"] == BAD["text"]
    assert "forty" not in str(raised.value)


async def test_retries_and_fallback_serve_parse_too(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.script("529", "529", "529", GOOD)
    async with make() as client:
        answer = await client.parse(model=Person, **params)
    assert (answer.model, len(answer.attempts)) == (HAIKU, 4)


async def test_a_cut_or_refused_reply_is_not_corrected(
    simulator: Simulator, make: Any, params: dict[str, Any]
) -> None:
    simulator.script({"text": '{"name": "A', "stop_reason": "max_tokens"}, "refusal")
    async with make(models=(SONNET,)) as client:
        for reason in ("max_tokens", "refusal"):
            with pytest.raises(LlmError, match=reason):
                await client.parse(model=Person, **params)
    assert simulator.counters.requests == 2


async def test_wrong_use_of_parse(make: Any, params: dict[str, Any]) -> None:
    async with make() as client:
        with pytest.raises(InvalidError, match="use_model"):
            await client.parse(model=SONNET, **params)
        with pytest.raises(InvalidError, match="output format"):
            await client.parse(model=Person, output_config={"format": {"type": "json_schema"}}, **params)
