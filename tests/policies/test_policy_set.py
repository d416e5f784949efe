"""Named pipelines: defaults in code, overrides checked whole, changes while running."""

import asyncio
import json
from typing import Any
from xml.etree import ElementTree

import pytest

import prodkit as pk
from prodkit.policies.events import PolicyChanged
from prodkit.testing import virtual_time


class Boom(Exception):
    pass


async def broken() -> None:
    raise Boom


DATA = {
    "perplexity": {
        "retry": {"attempts": 3, "wait": 0, "budget": True},
        "breaker": {"failures": 5, "open_for": 300},
        "timeout": 5,
    },
    "youtube": {"bulkhead": 4, "total_timeout": 20, "retry": 2, "timeout": {"seconds": 3}},
}


def kinds(policies: pk.PolicySet, name: str) -> list[str]:
    return [type(each).__name__ for each in policies[name].pipeline.policies]


def test_plain_data_is_built_in_the_recommended_order() -> None:
    policies = pk.PolicySet(DATA)
    assert list(policies) == ["perplexity", "youtube"]
    assert kinds(policies, "perplexity") == ["Retry", "CircuitBreaker", "Timeout"]
    assert kinds(policies, "youtube") == ["Timeout", "Retry", "Bulkhead", "Timeout"]
    assert policies["perplexity"].pipeline.policies[1].name == "perplexity"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "overrides",
    [
        {"perplexity": {"breaker": {"failures": 1}, "retry": 1}},
        {"perplexity.breaker.failures": 1, "perplexity.retry": 1},
        {"PERPLEXITY__BREAKER__FAILURES": "1", "PERPLEXITY__RETRY__ATTEMPTS": "1"},
    ],
)
@virtual_time
async def test_overrides_in_all_forms(overrides: Any) -> None:
    breaker = pk.CircuitBreaker("perplexity", failures=5)
    pipeline = pk.Pipeline(pk.Retry(3, wait=0), breaker, pk.Timeout(5))
    for defaults in (DATA, {"perplexity": pipeline}, {"perplexity": [pk.Retry(3), breaker]}):
        policies = pk.PolicySet(defaults, overrides)
        with pytest.raises(Boom):
            await policies["perplexity"].run(broken)
        with pytest.raises(pk.CircuitOpenError):
            await policies["perplexity"].run(broken)


def test_every_problem_in_one_error() -> None:
    with pytest.raises(pk.InvalidError) as refused:
        pk.PolicySet(
            DATA,
            {
                "perplexty": {"retry": 3},
                "perplexity": {"braker": {"failures": 3}, "breaker": {"failures": 0, "open_fro": 3}},
                "youtube.retry.attempts": "many",
            },
        )
    message = str(refused.value)
    for part in (
        "no pipeline 'perplexty', did you mean 'perplexity'?",
        "perplexity.braker: no policy of that name, did you mean 'breaker'?",
        "perplexity.breaker: failures must be an integer of at least 1 or None, got 0",
        "perplexity.breaker.open_fro: no option of that name, did you mean 'open_for'?",
        "youtube.retry: attempts must be an integer",
    ):
        assert part in message
    with pytest.raises(pk.InvalidError, match="perplexity: must be a mapping"):
        pk.PolicySet(DATA, {"perplexity": 3})


@virtual_time
async def test_a_change_while_running_keeps_the_state_and_is_announced() -> None:
    runtime, seen = pk.Runtime(), []
    runtime.events.subscribe(seen.append, PolicyChanged)
    policies = pk.PolicySet(DATA, runtime=runtime)
    guarded = policies["perplexity"](broken)
    for _ in range(2):
        with pytest.raises((Boom, pk.CircuitOpenError)):
            await guarded()
    breaker: Any = policies["perplexity"].pipeline.policies[1]
    assert breaker.state == "open"
    policies.change({"perplexity": {"breaker": {"failures": 2, "open_for": 1}, "retry": 1, "timeout": "off"}})
    assert policies["perplexity"].pipeline.policies[1] is breaker
    assert breaker.state == "open"
    assert (breaker.rules.failures, breaker.rules.open_for) == (2, 1)
    assert kinds(policies, "perplexity") == ["Retry", "CircuitBreaker"]
    assert seen == [
        PolicyChanged(
            policy="perplexity",
            settings="breaker.failures=2, breaker.open_for=1, retry.attempts=1, timeout off",
        )
    ]
    breaker.reset()
    calls = 0

    async def count() -> None:
        nonlocal calls
        calls += 1
        raise Boom

    with pytest.raises(Boom):
        await policies["perplexity"].run(count)
    assert calls == 1
    policies.change({"perplexity.gate": True, "youtube.bulkhead": 9})
    assert kinds(policies, "perplexity") == ["Retry", "CircuitBreaker", "RetryAfterGate"]
    assert policies["youtube"].pipeline.policies[2].limit == 9  # type: ignore[attr-defined]


def test_a_bad_change_changes_nothing() -> None:
    policies = pk.PolicySet(DATA)
    before = policies.describe()
    with pytest.raises(pk.InvalidError, match="attempts must be"):
        policies.change({"perplexity": {"breaker": {"failures": 9}, "retry": 0}})
    assert policies.describe() == before
    assert policies["perplexity"].pipeline.policies[1].rules.failures == 5  # type: ignore[attr-defined]


@virtual_time
async def test_descriptions() -> None:
    policies = pk.PolicySet(DATA)
    text = policies.describe()
    assert text.splitlines()[:2] == ["perplexity", "  Retry(attempts=3)"]
    chart = policies.describe("mermaid")
    assert chart.startswith("flowchart LR")
    assert "p0_0 --> p0_1 --> p0_2 --> p0_call" in chart
    picture = ElementTree.fromstring(policies.describe("svg"))
    assert picture.tag.endswith("svg")
    assert "perplexity" in "".join(picture.itertext())
    assert policies.settings()["perplexity"]["breaker"]["failures"] == 5
    with pytest.raises(ValueError, match="form must be"):
        policies.describe("png")
    assert (await policies.check()).status == "up"
    policies["perplexity"].pipeline.policies[1].isolate()  # type: ignore[attr-defined]
    assert (await policies.check()).status == "degraded"
    assert "#d1453b" in policies.describe("svg")
    assert repr(policies) == "PolicySet(perplexity, youtube)"


@virtual_time
async def test_all_forms_of_a_named_policy() -> None:
    policies = pk.PolicySet({"quick": {"retry": {"attempts": 2, "wait": 0}, "breaker": 3, "timeout": 1}})
    quick = policies["quick"]

    async def items() -> Any:
        yield 1

    assert [each async for each in quick.stream(items)] == [1]
    assert pk.PolicySet({"x": {"breaker": 3}})["x"].call(len, "abc") == 3
    calls = 0
    async for attempt in quick:
        async with attempt:
            calls += 1
            if calls < 2:
                raise Boom
    assert calls == 2
    async with pk.PolicySet({"x": {"breaker": 3}})["x"]:
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("defaults", "named"),
    [
        ({"p": 5}, "p: must be a Pipeline"),
        ({"p": "retry"}, "p: must be a Pipeline"),
        ({"p": [pk.Retry(2), 3]}, "p: must be a Pipeline"),
        ({5: {"retry": 3}}, "5: the name of a pipeline"),
        ({"a.b": {"retry": 3}}, "a.b: a name must not contain"),
        ({"p": {"breaker": {"runtime": 3}}}, "p.breaker.runtime: is no setting"),
    ],
)
def test_a_default_that_is_no_pipeline_is_named(defaults: Any, named: str) -> None:
    with pytest.raises(pk.InvalidError, match=named):
        pk.PolicySet(defaults)


def test_a_setting_cannot_replace_the_runtime() -> None:
    with pytest.raises(pk.InvalidError, match=r"p\.breaker\.runtime"):
        pk.PolicySet({"p": {"breaker": 3}}, {"p": {"breaker": {"runtime": 3}}})
    policies = pk.PolicySet({"p": {"breaker": 3}})
    with pytest.raises(pk.InvalidError, match=r"p\.breaker\.runtime"):
        policies.change({"P__BREAKER__RUNTIME": "3"})


@pytest.mark.parametrize("wrong", [3, "retry", [("p", {})]])
def test_settings_that_are_no_mapping_are_refused(wrong: Any) -> None:
    with pytest.raises(pk.InvalidError, match="defaults must be a mapping"):
        pk.PolicySet(wrong)
    with pytest.raises(pk.InvalidError, match="settings must be a mapping"):
        pk.PolicySet({"p": {"retry": 3}}, wrong)
    with pytest.raises(pk.InvalidError, match="settings must be a mapping"):
        pk.PolicySet({"p": {"retry": 3}}).change(wrong)


def test_a_pipeline_of_unknown_policies_only_is_named() -> None:
    with pytest.raises(pk.InvalidError, match=r"p\.rety: no policy of that name"):
        pk.PolicySet({"p": {"rety": 3}})


def test_the_settings_in_force_are_data() -> None:
    policies = pk.PolicySet({"p": {"retry": 4, "breaker": {"failures": 3}}}, {"p.retry.wait": "0.5"})
    assert json.loads(json.dumps(policies.settings())) == {
        "p": {"retry": {"attempts": 4, "wait": 0.5}, "breaker": {"failures": 3, "name": "p"}}
    }
