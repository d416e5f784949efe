from typing import Any

from prodkit import llm
from prodkit.testing import virtual_time

P: dict[str, Any] = {"max_tokens": 100, "messages": [{"role": "user", "content": "a private question"}]}


class Kept:
    """A dictionary that remembers how long each value is to be kept."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.ttl: dict[str, float] = {}

    async def get(self, key: str, /) -> Any:
        return self.values.get(key)

    async def set(self, key: str, value: Any, /, *, ttl: float) -> None:
        self.values[key], self.ttl[key] = value, ttl


class Down:
    async def get(self, key: str, /) -> Any:
        raise ConnectionError

    async def set(self, key: str, value: Any, /, *, ttl: float) -> None:
        raise ConnectionError


def test_the_second_request_is_answered_from_the_cache_at_no_cost(faked: Any) -> None:
    cache = Kept()
    client, wire = faked(200, cache=cache, cache_ttl=60)
    ended: list[llm.LlmFinished] = []
    client.runtime.events.subscribe(ended.append, llm.LlmFinished)
    first, second = (virtual_time(client.create(**P)) for _ in range(2))
    assert len(wire.sent) == 1
    assert (first.text, first.cached) == (second.text, not second.cached)
    assert second.cost == 0.0
    assert second.attempts == ()
    assert [event.cached for event in ended] == [False, True]
    assert list(cache.ttl.values()) == [60]


def test_another_parameter_is_another_request_and_the_key_holds_no_text(faked: Any) -> None:
    cache = Kept()
    client, wire = faked(200, 200, cache=cache)
    virtual_time(client.create(**P))
    virtual_time(client.create(**{**P, "max_tokens": 99}))
    assert len(wire.sent) == len(cache.values) == 2
    assert not any("private" in key for key in cache.values)


def test_an_incomplete_answer_is_not_kept(faked: Any, reply: Any) -> None:
    cache = Kept()
    body = {"content": [{"type": "text", "text": "si"}], "stop_reason": "max_tokens"}
    client, _ = faked(reply(200, {}, body), cache=cache)
    assert virtual_time(client.create(**P)).truncated
    assert cache.values == {}


def test_a_cache_that_fails_or_holds_something_else_is_a_miss(faked: Any) -> None:
    client, wire = faked(200, cache=Down())
    assert virtual_time(client.create(**P)).text == "sim"
    spoilt = Kept()
    client, wire = faked(200, 200, 200, cache=spoilt)
    virtual_time(client.create(**P))
    for value in ("text", {"message": {"content": "text"}}):
        spoilt.values = dict.fromkeys(spoilt.values, value)
        assert not virtual_time(client.create(**P)).cached
    assert len(wire.sent) == 3
