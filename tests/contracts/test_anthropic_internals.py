"""The private attributes of anthropic that ``llm.anthropic_internals`` uses, on the installed version."""

import logging
from typing import Any

import anthropic
import httpx2
import pytest

from prodkit.llm import anthropic_internals as internals


def test_the_http_client_is_found_and_observed_once() -> None:
    for sdk, sync in (
        (anthropic.AsyncAnthropic(api_key="k"), False),
        (anthropic.Anthropic(api_key="k"), True),
    ):
        for _ in range(2):
            internals.observe(sdk, sync=sync)
        assert len(internals.http_client_of(sdk).event_hooks["request"]) == 1


@pytest.mark.parametrize("retries", [0, 2])
async def test_the_client_behind_a_middleware_is_found(retries: int) -> None:
    found: list[Any] = []

    async def spy(request: Any, call_next: Any) -> Any:
        found.append((internals.client_behind(call_next), await call_next(request)))
        internals.response_parts(found[-1][1])
        return found[-1][1]

    body = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m", "usage": {}}
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(lambda request: httpx2.Response(200, json=body)))
    async with anthropic.AsyncAnthropic(
        api_key="k", max_retries=retries, http_client=http, middleware=[spy]
    ) as sdk:
        await sdk.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "oi"}])
        assert found[0][0] is sdk
    assert found[0][0].max_retries == retries


def test_the_record_that_holds_prompts_is_dropped() -> None:
    logger = logging.getLogger("anthropic._base_client")
    internals.hold_back_prompts()
    record = logger.makeRecord(logger.name, logging.DEBUG, "f", 1, "Request options: %s", ({},), None)
    assert not logger.filter(record)
    record = logger.makeRecord(logger.name, logging.DEBUG, "f", 1, "Sending HTTP Request: %s", ("x",), None)
    assert logger.filter(record)
