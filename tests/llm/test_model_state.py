import asyncio
import math

from prodkit import Runtime, llm
from prodkit.llm.failures import Failure
from prodkit.llm.model_state import ModelState
from prodkit.testing import virtual_time

NEED = (1.0, 10.0, 10.0)


def state(failures: int = 2) -> ModelState:
    model = llm.Model("claude-sonnet-5-5")
    return ModelState(model, failures=failures, open_for=30.0, shared=None, runtime=Runtime())


def now() -> float:
    return asyncio.get_running_loop().time()


@virtual_time
async def test_a_healthy_model_may_be_asked_at_once() -> None:
    hold = state().hold(NEED, now())
    assert (hold.seconds, hold.reason) == (0.0, "")


@virtual_time
async def test_a_server_that_asks_to_wait_is_left_alone_for_that_time() -> None:
    model = state()
    model.refused(Failure("overloaded", retry_after=7.0), now())
    assert (model.hold(NEED, now()).seconds, model.hold(NEED, now()).reason) == (7.0, "retry_after")
    await asyncio.sleep(5)
    assert model.hold(NEED, now()).seconds == 2.0
    await asyncio.sleep(2)
    assert model.hold(NEED, now()).seconds == 0.0


@virtual_time
async def test_a_failure_without_a_hint_costs_no_wait() -> None:
    model = state()
    model.refused(Failure("overloaded"), now())
    assert model.cool_until == -math.inf
    assert model.hold(NEED, now()).seconds == 0.0


@virtual_time
async def test_an_open_breaker_holds_until_its_probe_and_an_isolated_one_for_ever() -> None:
    model = state(failures=1)
    model.breaker.acquire().fail()
    assert (model.hold(NEED, now()).seconds, model.hold(NEED, now()).reason) == (30.0, "open")
    await asyncio.sleep(30)
    assert model.hold(NEED, now()).seconds == 0.0
    model.breaker.isolate()
    assert model.hold(NEED, now()).seconds == math.inf
