"""Pipeline: several policies as one, outermost first."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.policies.base import AsyncFn, Policy, StreamFn, SyncFn
from prodkit.policies.timeout import bounded, minds_deadline, until_deadline

__all__ = ["CostlyOrderWarning", "Pipeline"]

F = TypeVar("F", bound=Callable[..., Any])


class CostlyOrderWarning(UserWarning):
    """A pipeline whose order defeats one of its policies."""


class Pipeline(Policy):
    """Runs a call under `policies`, the first one outermost.

    ::

        await Pipeline(Retry(attempts=3), breaker, Timeout(5), runtime=rt).run(research, topic)

    The order to prefer: fallback, hedge, retry, breaker, limits, timeout. The composed callable is built
    once.
    """

    def __init__(self, *policies: Policy, runtime: Runtime = SYSTEM) -> None:
        for policy in policies:
            if not isinstance(policy, Policy):
                raise TypeError(f"Pipeline takes policies, got {policy!r}")
        self.runtime = runtime
        self.policies = policies if runtime is SYSTEM else tuple(policy.adopt(runtime) for policy in policies)
        for problem in _costly(self.policies):
            warnings.warn(problem, CostlyOrderWarning, stacklevel=2)

    def wrap(self, fn: AsyncFn) -> AsyncFn:
        composed = self._compose(fn, "wrap")
        return composed if minds_deadline(composed) else self._compose(until_deadline(fn), "wrap")

    def wrap_sync(self, fn: SyncFn) -> SyncFn:
        return self._compose(fn, "wrap_sync")

    def wrap_stream(self, fn: StreamFn) -> StreamFn:
        return self._compose(fn, "wrap_stream")

    def _compose(self, fn: F, face: str) -> F:
        for policy in reversed(self.policies):
            guarded = getattr(policy, face)(fn)
            guarded.__wrapped__ = fn  # so that a mark on the innermost is seen from the outermost
            fn = bounded(guarded) if minds_deadline(fn) else guarded
        return fn

    def describe(self) -> str:
        """The policies, one a line, outermost first."""
        return "\n".join("  " * depth + repr(policy) for depth, policy in enumerate(self.policies))

    def __repr__(self) -> str:
        return f"Pipeline({', '.join(map(repr, self.policies))})"


def _costly(policies: tuple[Policy, ...]) -> list[str]:
    """What is wrong with the order: each policy has a rank, and ranks should not fall."""
    ranked = [policy for policy in policies if policy.rank]
    return [
        f"{type(inner).__name__} stands inside {type(outer).__name__}: put it outside"
        for outer, inner in pairwise(ranked)
        if inner.rank < outer.rank
    ]
