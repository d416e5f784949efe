"""Pipeline: several policies as one, outermost first."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import combinations
from typing import Any, Final, TypeVar

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.policies.base import AsyncFn, Policy, StreamFn, SyncFn
from prodkit.policies.block import Block, Scope
from prodkit.policies.deadline_guard import bounded, enforces_deadline, stream_until_deadline, until_deadline
from prodkit.policies.retry import Retry
from prodkit.policies.retry_block import Attempts

__all__ = ["CostlyOrderWarning", "Pipeline"]

F = TypeVar("F", bound=Callable[..., Any])

_HIDES: Final = "it answers before the other has seen the error"
_HOLDS: Final = "a slot is held while the other waits for the next attempt"
_COSTS: Final = {
    ("CircuitBreaker", "Retry"): "it counts calls instead of attempts, and cannot stop them half-way",
    ("RetryAfterGate", "Retry"): "only the first attempt asks the gate",
    ("Bulkhead", "Retry"): _HOLDS,
    ("AdaptiveLimit", "Retry"): _HOLDS,
    ("Bulkhead", "CircuitBreaker"): "calls that an open circuit refuses queue first",
    ("AdaptiveLimit", "CircuitBreaker"): "calls that an open circuit refuses queue first",
    ("Bulkhead", "RetryAfterGate"): "slots are held by calls that may not go yet",
    ("AdaptiveLimit", "RetryAfterGate"): "what the gate makes a call wait looks like a slow dependency",
    ("Retry", "Fallback"): _HIDES,
    ("Hedge", "Fallback"): _HIDES,
    ("CircuitBreaker", "Fallback"): _HIDES,
    ("Retry", "Retry"): "only the outer one repeats",
}
"""The cost when the first of two kinds of policy stands outside the second."""


class CostlyOrderWarning(UserWarning):
    """A pipeline whose order defeats one of its policies."""


class Pipeline(Policy):
    """Run a call under several policies, the first one outermost.

    ::

        await Pipeline(Retry(attempts=3), breaker, Timeout(5), runtime=rt).run(research, topic)

    The recommended order: fallback, a timeout for everything, retry or hedge, breaker, gate, limit, a timeout for the
    attempt. An order that defeats a policy gives a :class:`CostlyOrderWarning`. The composed callable is built once, at
    decoration or at the first ``run``; a pipeline is a policy itself and may stand in another.

    As a block it is ``async with pipeline:``, or ``async for attempt in pipeline: async with attempt:`` where its
    first policy is a Retry.

    Args:
        policies: outermost first.
        runtime: given to the policies that have no state of their own.
    """

    runtime: Runtime
    policies: tuple[Policy, ...]

    def __init__(self, *policies: Policy, runtime: Runtime = SYSTEM) -> None:
        given: tuple[object, ...] = policies
        wrong = [each for each in given if not isinstance(each, Policy)]
        if wrong:
            raise TypeError(f"Pipeline takes policies, got {', '.join(map(repr, wrong))}")
        check = Arguments("Pipeline")
        check.instance("runtime", runtime, Runtime, "a Runtime")
        check.done()
        self.runtime = runtime
        self.policies = policies if runtime is SYSTEM else tuple(each.adopt(runtime) for each in policies)
        for problem in _costly(self.policies):
            warnings.warn(problem, CostlyOrderWarning, stacklevel=2)

    def adopt(self, runtime: Runtime) -> Pipeline:
        """Return this policy on `runtime`."""
        return self if self.runtime is not SYSTEM else Pipeline(*self.policies, runtime=runtime)

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        """Return the guarded form of the async function `fn`."""
        composed = self._compose(fn, "wrap")
        return composed if enforces_deadline(composed) else self._compose(until_deadline(fn), "wrap")

    def wrap_sync(self, fn: SyncFn) -> SyncFn:
        """Return the guarded form of the plain function `fn`."""
        return self._compose(fn, "wrap_sync")

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
        """Return the guarded form of the async generator function `fn`."""
        composed = self._compose(fn, "wrap_stream")
        if enforces_deadline(composed):
            return composed
        return self._compose(stream_until_deadline(fn), "wrap_stream")

    def wrap_generator(self, fn: SyncFn) -> SyncFn:
        """Return the guarded form of the generator function `fn`."""
        return self._compose(fn, "wrap_generator")

    def calling(self) -> Block:
        """Return a guard for one block."""
        return Block(*(policy.scope() for policy in self._active()))

    def scope(self) -> Scope:
        """Return a guard for one block."""
        raise TypeError("a pipeline in a pipeline is entered through the outer one")

    def __iter__(self) -> Iterator[Any]:
        """Repeat a block: ``for attempt in pipeline: with attempt: …``; its first policy is a Retry."""
        return iter(self._attempts())

    def __aiter__(self) -> AsyncIterator[Any]:
        """Repeat a block: ``async for attempt in pipeline: async with attempt: …``; its first policy is a Retry."""
        return aiter(self._attempts())

    def _attempts(self) -> Attempts:
        first = next(iter(self._flat()), None)
        if not isinstance(first, Retry):
            raise TypeError("a block is repeated by a pipeline whose first policy is a Retry")
        if self.runtime.policies == "off":
            first = first.copy(runtime=self.runtime)
        return first.attempts_around(*(each.scope for each in self._active() if each is not first))

    def _compose(self, fn: F, face: str) -> F:
        for policy in reversed(self.policies):
            if policy.runtime.policies == "off":
                continue
            guarded = getattr(policy, face)(fn)
            guarded.__wrapped__ = fn  # so that a mark on the innermost is seen from the outermost
            fn = bounded(guarded) if enforces_deadline(fn) else guarded
        return fn

    def describe(self) -> str:
        """Return the policies, one a line, outermost first: for a log line at start-up."""
        return "\n".join("  " * depth + repr(policy) for depth, policy in enumerate(self._flat()))

    def _active(self) -> list[Policy]:
        """Return the policies that are not switched off by their runtime."""
        if self.runtime.policies == "off":
            return []
        return [each for each in self._flat() if each.runtime.policies != "off"]

    def _flat(self) -> list[Policy]:
        flat: list[Policy] = []
        for policy in self.policies:
            flat.extend(policy._flat() if isinstance(policy, Pipeline) else (policy,))
        return flat

    def __repr__(self) -> str:
        return f"Pipeline({', '.join(map(repr, self.policies))})"


def _costly(policies: tuple[Policy, ...]) -> list[str]:
    """Return the problems of the order of `policies`."""
    problems: list[str] = []
    for outer, inner in combinations(policies, 2):
        pair = type(outer).__name__, type(inner).__name__
        why = _COSTS.get(pair)
        if why is None and outer.rank > inner.rank > 0:
            why = "the recommended order is the other way round"
        if getattr(inner, "nested", False):
            continue  # it insists
        if why is not None and pair[0] == pair[1]:
            problems.append(f"two {pair[0]} in one pipeline: {why}")
        elif why is not None:
            culprit = pair[1] if why is _HIDES else pair[0]
            problems.append(f"{pair[1]} stands inside {pair[0]}: {why} ({culprit} is out of place)")
    return problems
