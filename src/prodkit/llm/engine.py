"""What the two faces have in common: the options, the models' state, the places, and new calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prodkit.core.check import CheckResult, Status
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.errors import InvalidError
from prodkit.llm.call import Call
from prodkit.llm.cost import Price
from prodkit.llm.lanes import Lane
from prodkit.llm.limits import HedgeShare
from prodkit.llm.model import Model
from prodkit.llm.options import Options
from prodkit.llm.places import Places
from prodkit.policies.shared_state import SharedState

__all__ = ["Engine", "chain"]


class Engine:
    """Makes the calls of one client, which share breakers, gates, rate limits, places and budget."""

    def __init__(
        self, options: Options, *, shared: SharedState | None = None, runtime: Runtime = SYSTEM, key: str = ""
    ) -> None:
        self.options = options
        self.runtime = runtime
        self.lanes = tuple(
            Lane(model, failures=options.failures, open_for=options.open_for, shared=shared, runtime=runtime)
            for model in options.models
        )
        self.slots = Places(options.concurrency, max_queue=options.max_queue)
        self.hedges = HedgeShare(options.hedge_share)
        self._key = key
        self._names = [model.name for model in options.models]

    def call(
        self,
        params: dict[str, Any],
        operation: str,
        *,
        timeout: float | None,
        streamed: bool = False,
    ) -> Call:
        """A new call with `params`, whose `model` may name where in the chain it begins."""
        start = self.start(params.pop("model", None))
        check_params(params, counting=operation == "count_tokens")
        return Call(
            params,
            options=self.options,
            lanes=self.lanes,
            slots=self.slots,
            hedges=self.hedges,
            runtime=self.runtime,
            timeout=timeout,
            start=start,
            operation=operation,
            streamed=streamed,
            key=self._key,
        )

    def start(self, model: str | None) -> int:
        """The place of `model` in the chain."""
        if model is None:
            return 0
        if model not in self._names:
            raise InvalidError(f"unknown model {model!r}: this client was made for {', '.join(self._names)}")
        return self._names.index(model)

    async def check(self) -> CheckResult:
        """``degraded`` when a model is spared, ``down`` when all are."""
        states = {lane.model.name: lane.breaker.state for lane in self.lanes}
        spared = [name for name, state in states.items() if state in ("open", "isolated")]
        now = self.runtime.clock.monotonic()
        details: dict[str, object] = {
            "models": states,
            "cooling": {
                lane.model.name: round(lane.gate.not_before - now, 1)
                for lane in self.lanes
                if lane.gate.not_before > now
            },
            "in_flight": self.slots.inflight,
            "waiting": self.slots.waiting,
        }
        if (budget := self.options.budget) is not None:
            details["budget_left"] = round(budget.left, 4)
        if not spared:
            return CheckResult("up", details=details)
        status: Status = "down" if len(spared) == len(states) else "degraded"
        return CheckResult(status, f"spared after failures: {', '.join(spared)}", details)


def chain(
    models: Sequence[str | Model], prices: Mapping[str, Price] | None, *, strict: bool
) -> tuple[Model, ...]:
    """The models of a chain. `strict` refuses names that the Messages API cannot know."""
    if isinstance(models, str | Model):
        raise ValueError(  # noqa: TRY004 - one kind of error for all options
            f"models takes a sequence of models, got {models!r}: write models=({models!r},)"
        )
    prices = prices or {}
    made = tuple(_model(each, prices, strict=strict) for each in models)
    names = {model.name for model in made}
    if unused := [name for name in prices if name not in names]:
        raise ValueError(f"prices are given for models that are not in the chain: {', '.join(unused)}")
    return made


_KNOWN = ("claude-", "anthropic.", "anthropic/")


def _model(told: Any, prices: Mapping[str, Price], *, strict: bool) -> Model:
    if isinstance(told, Model):
        return told
    if strict and isinstance(told, str) and told and not told.startswith(_KNOWN):
        raise ValueError(
            f"unknown model {told!r}: names of the Messages API begin with claude-; "
            "give a gateway's own names with base_url=, or as Model(…)"
        )
    return Model(told, price=prices.get(told))


def check_params(params: Mapping[str, Any], *, counting: bool = False) -> None:
    """Raises InvalidError for what cannot be sent."""
    if "stream" in params:
        raise InvalidError(
            "stream= is not taken here: use create() for a whole answer and stream() for a stream"
        )
    limit = params.get("max_tokens")
    if not counting and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise InvalidError(f"max_tokens must be a whole number of 1 or more, got {limit!r}")
    messages = params.get("messages")
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise InvalidError("messages must be a list of at least one message")
