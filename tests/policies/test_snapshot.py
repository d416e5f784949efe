"""Snapshots of a PolicySet: what a console shows of it, as JSON."""

import asyncio
import json
from dataclasses import asdict

import pytest

import prodkit as pk
from prodkit.policies import PolicySnapshot, RetryBudget
from prodkit.testing import virtual_time


class Boom(Exception):
    pass


async def broken() -> None:
    raise Boom


def everything() -> pk.PolicySet:
    runtime = pk.Runtime()
    return pk.PolicySet(
        {
            "data": {
                "total_timeout": 20,
                "retry": {"attempts": 2, "wait": 0, "budget": True},
                "breaker": {"failures": 2, "open_for": 30, "ignore": KeyError},
                "gate": 60,
                "limit": 7,
                "bulkhead": 1,
                "timeout": 5,
            },
            "code": [pk.Hedge(0.5), pk.Chaos(0.0, enabled=False)],
        },
        runtime=runtime,
    )


def by_kind(policies: pk.PolicySet, name: str = "data") -> dict[str, PolicySnapshot]:
    return {each.kind: each for each in policies.snapshot()[name]}


@virtual_time
async def test_it_names_every_policy_with_settings_state_and_figures() -> None:
    policies = everything()
    found = by_kind(policies)
    assert list(found) == ["total_timeout", "retry", "breaker", "gate", "limit", "bulkhead", "timeout"]
    assert found["breaker"].settings == {"failures": 2, "open_for": 30, "ignore": "KeyError"}
    assert (found["breaker"].name, found["breaker"].type, found["breaker"].state) == (
        "data",
        "CircuitBreaker",
        "closed",
    )
    assert found["gate"].state == "open"
    assert (found["limit"].figures["limit"], found["limit"].figures["latency"]) == (7, None)
    assert found["retry"].figures["budget"] > 0
    assert found["timeout"].settings == {"seconds": 5}
    code = by_kind(policies, "code")
    assert (code["hedge"].figures, code["chaos"].state) == ({"after": 0.5}, "off")
    assert code["hedge"].settings == {"after": 0.5}


@virtual_time
async def test_figures_and_states_are_those_of_now() -> None:
    policies = everything()
    for _ in range(2):
        with pytest.raises((Boom, pk.CircuitOpenError)):
            await policies["data"].run(broken)
    breaker = by_kind(policies)["breaker"]
    assert (breaker.state, breaker.figures["openings"], breaker.figures["rejected"]) == ("open", 1, 1)
    assert breaker.figures["retry_after"] == pytest.approx(30)
    policies.change({"data.breaker": "off"})
    assert "breaker" not in by_kind(policies)
    holder = asyncio.ensure_future(policies["data"].run(asyncio.sleep, 3))
    await asyncio.sleep(0.1)
    assert by_kind(policies)["bulkhead"].state == "full"
    assert by_kind(policies)["bulkhead"].figures == {"limit": 1, "inflight": 1, "waiting": 0}
    await holder


@virtual_time
async def test_json_takes_all_of_it() -> None:
    policies = everything()
    policies["data"].pipeline.policies[3].close(2.0)  # type: ignore[attr-defined]
    text = json.dumps(
        {name: [asdict(each) for each in found] for name, found in policies.snapshot().items()},
        allow_nan=False,
    )
    gate = next(each for each in json.loads(text)["data"] if each["kind"] == "gate")
    assert gate["state"] == "closed"
    assert 2.0 <= gate["figures"]["retry_after"] <= 2.5
    assert "object at" not in text


@virtual_time
async def test_a_policy_of_ones_own_goes_by_its_class() -> None:
    class Counting(pk.policies.Policy):
        runtime = pk.Runtime()

        def __init__(self, *, every: float, budget: RetryBudget) -> None:
            self.every = every

    own = pk.PolicySet({"x": [Counting(every=float("inf"), budget=RetryBudget())]})
    (found,) = own.snapshot()["x"]
    assert (found.kind, found.settings, found.figures) == (
        "Counting",
        {"every": "inf", "budget": "RetryBudget"},
        {},
    )
