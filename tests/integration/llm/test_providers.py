"""A chain across providers: each speaks its own dialect, a stream broken at one is continued at another."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from prodkit import LlmError, Runtime, llm
from prodkit.testing.anthropic import Simulator
from prodkit.testing.contracts.provider import ProviderContract

pytestmark = pytest.mark.integration

SONNET = "claude-sonnet-5-5"


def _made(kind: str, url: str) -> Any:
    return {
        "anthropic": lambda: llm.Anthropic("k", base_url=url),
        "gateway": lambda: llm.Gateway(url, "k", headers={"x-team": "blue"}),
        "vertex": lambda: llm.Vertex(region="global", project_id="p", access_token="t", base_url=f"{url}/v1"),
        "foundry": lambda: llm.Foundry(api_key="k", base_url=url),
        "bedrock": lambda: llm.Bedrock(region="us-east-1", api_key="k", base_url=url),
    }[kind]()


KINDS = ["anthropic", "gateway", "vertex", "foundry", "bedrock"]


@pytest.fixture(scope="module")
def others() -> Iterator[list[Simulator]]:
    with Simulator() as one, Simulator() as two:
        yield [one, two]


@pytest.mark.parametrize("kind", KINDS)
class TestContract(ProviderContract):
    @pytest.fixture
    def served(self, simulator: Simulator, kind: str) -> Any:
        return simulator, _made(kind, simulator.url)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["529", "midrst", "midclean", "miderr", "stall"])
async def test_the_next_provider_answers_or_continues(
    simulator: Simulator, others: list[Simulator], params: dict[str, Any], kind: str, fault: str
) -> None:
    other = others[0]
    other.reset()
    models = (
        llm.Model(SONNET, provider=_made(kind, simulator.url)),
        llm.Model(SONNET, provider=_made("anthropic", other.url), label="second"),
    )
    async with llm.Client(models=models, attempts=1, stall_timeout=1.5) as client:
        whole = (await client.create(**params)).text
        simulator.always(fault)
        async with client.stream(**params) as stream:
            got = "".join([text async for text in stream.text])
    assert got == whole == stream.answer.text
    assert stream.answer.model == "second"
    assert [attempt.provider for attempt in stream.answer.attempts] == [kind, "anthropic"]
    assert set(client.breakers) == {f"{kind}/{SONNET}", "second"}


async def test_one_provider_dead_one_throttled(
    others: list[Simulator], params: dict[str, Any], running_time: Callable[[], float]
) -> None:
    throttled, healthy = others
    throttled.reset()
    healthy.reset()
    models = (
        llm.Model(SONNET, provider=llm.Gateway("http://127.0.0.1:9", "k", name="dead")),
        llm.Model(SONNET, provider=_made("vertex", throttled.url)),
        llm.Model(SONNET, provider=_made("bedrock", healthy.url)),
    )
    async with llm.Client(models=models) as client:
        await client.start()
        whole = (await client.with_options().create(model=f"bedrock/{SONNET}", **params)).text
        await client.create(model=f"vertex/{SONNET}", **params)  # both are connected
        throttled.always("ra-120")
        begun = running_time()
        async with client.stream(**params) as stream:
            async for _ in stream.text:
                first = running_time() - begun
                break
            await stream.final()
    assert first <= 1.3
    assert stream.answer.text == whole
    outcomes = [(attempt.provider, attempt.outcome) for attempt in stream.answer.attempts]
    assert outcomes == [("dead", "connection"), ("vertex", "rate_limited"), ("bedrock", "ok")]


async def test_a_failing_or_short_throttled_provider_is_not_waited_for_long(
    others: list[Simulator], params: dict[str, Any], running_time: Callable[[], float]
) -> None:
    first, second = others
    first.reset()
    second.reset()
    models = (
        llm.Model(SONNET, provider=_made("gateway", first.url)),
        llm.Model(SONNET, provider=_made("anthropic", second.url)),
    )
    for fault, attempts in (("500", 3), ("ra-20", 2)):  # one back-off of 1 s; none
        first.always(fault)
        waits: list[llm.LlmScheduled] = []
        runtime = Runtime()
        runtime.events.subscribe(waits.append, llm.LlmScheduled)
        async with llm.Client(models=models, runtime=runtime) as client:
            await client.start()
            begun = running_time()
            answer = await client.create(**params)
            assert running_time() - begun <= 1.3
        assert sum(each.wait for each in waits) <= 1.3
        assert len(answer.attempts) == attempts
        assert answer.attempts[-1].provider == "anthropic"


async def test_each_provider_has_its_price(simulator: Simulator, params: dict[str, Any]) -> None:
    models = (
        llm.Model(SONNET, provider=_made("gateway", simulator.url), price=llm.Price(3, 15)),
        llm.Model("claude-haiku-5-5", provider=_made("bedrock", simulator.url), price=llm.Price(1, 5)),
    )
    async with llm.Client(models=models, budget=1.0) as client:
        first = await client.create(**params)
        second = await client.create(model="claude-haiku-5-5", **params)
    assert first.cost == pytest.approx(llm.Price(3, 15).of(first.usage))
    assert second.cost == pytest.approx(llm.Price(1, 5).of(second.usage))


async def test_bedrock_without_its_signer_says_which_package_is_missing(params: dict[str, Any]) -> None:
    try:
        import botocore  # noqa: F401
    except ImportError:
        provider = llm.Bedrock(
            region="us-east-1", access_key="a", secret_key="b", base_url="http://127.0.0.1:9"
        )
        async with llm.Client(models=(llm.Model(SONNET, provider=provider),)) as client:
            with pytest.raises(LlmError, match="botocore") as raised:
                await client.create(**params)
        assert raised.value.code == "local"
    await asyncio.sleep(0)


@pytest.mark.parametrize("fault", ["401", "402", "403", "spend"])
async def test_a_key_or_account_that_fails_leaves_its_provider(
    others: list[Simulator], params: dict[str, Any], fault: str
) -> None:
    first, second = others
    first.reset()
    second.reset()
    first.always(fault)
    refused = _made("gateway", first.url)
    models = (
        llm.Model(SONNET, provider=refused),
        llm.Model("claude-haiku-5-5", provider=refused),  # the same key: not asked
        llm.Model(SONNET, provider=_made("anthropic", second.url)),
    )
    async with llm.Client(models=models) as client:
        answer = await client.create(**params)
        async with client.stream(**params) as stream:
            streamed = await stream.final()
        for whole in (answer, streamed):
            assert [attempt.provider for attempt in whole.attempts] == ["gateway", "anthropic"]
        second.always(fault)
        with pytest.raises(LlmError) as raised:
            await client.create(**params)
        assert len(raised.value.attempts) == 2
    assert {breaker.state for breaker in client.breakers.values()} == {"closed"}
