"""The policies of the kit keep the contract that users can run on theirs."""

import asyncio

import pytest

import prodkit as pk
from prodkit import policies
from prodkit.policies import Policy
from prodkit.testing.contracts import PolicyContract


class TestCircuitBreaker(PolicyContract):
    def make_policy(self) -> Policy:
        return pk.CircuitBreaker("b")


class TestCircuitBreakerWithEverything(PolicyContract):
    def make_policy(self) -> Policy:
        return pk.CircuitBreaker("b", slow_after=9, slow_call_rate=0.5, window_seconds=60, failed_result=bool)


class TestRetry(PolicyContract):
    def make_policy(self) -> Policy:
        return pk.Retry(budget=policies.RetryBudget())


class TestTimeout(PolicyContract):
    def make_policy(self) -> Policy:
        return pk.Timeout(5)

    test_the_answer_and_the_arguments_come_through = None  # type: ignore[assignment]  # no plain functions


class TestRetryAfterGate(PolicyContract):
    def make_policy(self) -> Policy:
        return policies.RetryAfterGate("g")


class TestBulkhead(PolicyContract):
    def make_policy(self) -> Policy:
        return policies.Bulkhead(2)


class TestAdaptiveLimit(PolicyContract):
    def make_policy(self) -> Policy:
        return policies.AdaptiveLimit()


class TestHedge(PolicyContract):
    def make_policy(self) -> Policy:
        return policies.Hedge(5)


class TestFallback(PolicyContract):
    def make_policy(self) -> Policy:
        return policies.Fallback(None, on=KeyError)


class TestChaos(PolicyContract):
    def make_policy(self) -> Policy:
        return policies.Chaos(0.0)


class TestPipeline(PolicyContract):
    def make_policy(self) -> Policy:
        return pk.Pipeline(
            policies.Fallback(None, on=KeyError),
            pk.Retry(),
            pk.CircuitBreaker("b"),
            policies.RetryAfterGate(),
            policies.Bulkhead(2),
            pk.Timeout(5),
        )


def test_the_contract_notices_a_policy_that_swallows() -> None:
    class Swallows(Policy):
        def wrap(self, fn):
            async def swallowing(*args, **kwargs):
                try:
                    return await fn(*args, **kwargs)
                except (Exception, asyncio.CancelledError):
                    return None

            return swallowing

    class Case(PolicyContract):
        def make_policy(self) -> Policy:
            return Swallows()

    with pytest.raises(AssertionError, match="the error was swallowed"):
        Case().test_an_error_reaches_its_caller()
    with pytest.raises(AssertionError, match="the cancellation was swallowed"):
        Case().test_a_cancellation_is_passed_on_and_the_call_is_awaited()
