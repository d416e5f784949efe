"""Call Claude and return a whole answer, or an error that says why there is none."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from prodkit.core.check import CheckResult
from prodkit.core.lifespan import Managed
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.secrets import Revealable, reveal
from prodkit.llm.cached import AnswerCache, kept_answer, key_of, store
from prodkit.llm.call import Call
from prodkit.llm.completion import count_of, run_whole
from prodkit.llm.engine import Accounts, Engine
from prodkit.llm.operations import Operations
from prodkit.llm.options import DEFAULT_MODELS, Model, Options, chain, positive
from prodkit.llm.pricing import Budget, Price
from prodkit.llm.provider import Provider
from prodkit.llm.results import Answer, message_of, stored_text
from prodkit.llm.streaming.stream import Stream
from prodkit.llm.transport import SdkProvider, build_sdk, check_sdk
from prodkit.policies.breaker import CircuitBreaker
from prodkit.policies.shared_state import SharedState

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

__all__ = ["Client"]


class Client(Operations, Managed):
    """Calls the Messages API through a chain of models.

    ::

        async with Client(key, models=("claude-sonnet-5-5", "claude-haiku-5-5")) as claude:
            answer = await claude.create(max_tokens=800, messages=[{"role": "user", "content": "…"}])
            print(answer.text, answer.model, answer.usage)

    Durations are seconds. The sooner of the limits below and the caller's Deadline counts, everywhere.

    Args:
        api_key: the API key, as text or ``env.Secret``; not needed with `sdk`, or when every model has a provider.
        base_url: another address of the API, such as a gateway or the simulator.
        models: the fallback chain, the preferred model first: names, or :class:`Model` for what a model needs.
        attempts: requests to each model, the first one included; between them it waits 1, 2, 4 … seconds.
        timeout: for a whole ``create``: attempts, waits and fallbacks together. A stream waits no longer than this
            for its turn, and has no total limit.
        first_content_timeout: from sending to the first content of a stream; pings are not content.
        stall_timeout: silence in mid-stream; only the client's waiting counts, not the time that the reader takes.
        attempt_timeout: for one attempt of a ``create``, so that time is left for the next model; None is no limit.
        failures: consecutive failed requests that open a model's circuit breaker.
        open_for: how long an open breaker refuses before one request probes the model.
        shared: shares the breakers between processes, such as ``prodkit.redis.SharedBreakers``.
        concurrency: requests in flight at once, which is also the size of the connection pool.
        max_queue: calls that may wait for a slot; more are refused with BulkheadFullError.
        max_model_wait: the longest wait for a model (Retry-After, rate limit) while another one is left.
        backoff: the first wait between two attempts; it doubles each time.
        max_backoff: the longest wait between two attempts.
        jitter: make each wait a random part of the schedule; use it where many processes fail together.
        prices: US dollars a million tokens by model name; needed for `budget` and for ``Answer.cost``.
        budget: a hard limit in US dollars, or a :class:`Budget` shared by several clients.
        hedge_after: send a second request when a stream shows no content within this time; None sends none.
        hedge_share: the share of requests that may be second ones, from 0 to 1.
        cache: keeps answers by request, such as ``prodkit.cache.Cache``.
        cache_ttl: how long it keeps them.
        fallback_on_refusal: ask the next model when one declines to answer.
        ledger: accounts costs by caller and keeps budgets a day, such as :class:`Ledger`.
        log_prompts: let the SDK's DEBUG logging write whole requests, prompts included.
        sdk: an SDK client of yours, made with ``max_retries=0``; it is not closed by this client.
        runtime: clock, chance and events.
    """

    name: str = "llm"

    def __init__(
        self,
        api_key: str | Revealable | None = None,
        *,
        base_url: str | None = None,
        models: Sequence[str | Model] = DEFAULT_MODELS,
        attempts: int = 3,
        timeout: float = 60.0,
        first_content_timeout: float = 60.0,
        stall_timeout: float = 30.0,
        attempt_timeout: float | None = None,
        failures: int = 5,
        open_for: float = 300.0,
        shared: SharedState | None = None,
        concurrency: int = 50,
        max_queue: int = 1000,
        max_model_wait: float = 30.0,
        backoff: float = 1.0,
        max_backoff: float = 8.0,
        jitter: bool = False,
        prices: Mapping[str, Price] | None = None,
        budget: Budget | float | None = None,
        hedge_after: float | None = None,
        hedge_share: float = 0.1,
        cache: AnswerCache | None = None,
        cache_ttl: float = 3600.0,
        fallback_on_refusal: bool = False,
        ledger: Accounts | None = None,
        log_prompts: bool = False,
        sdk: AsyncAnthropic | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        made = chain(models, prices, strict=base_url is None and sdk is None)
        own = any(model.provider is None for model in made)  # a model that the client's own API serves
        if sdk is not None:
            check_sdk(sdk)
        elif own and (api_key is None or not reveal(api_key).strip()):
            raise ValueError("api_key is empty: the Messages API needs a key (a simulator takes any)")
        unpriced = [model.label for model in made if model.price is None]
        if unpriced and getattr(ledger, "limited", False):
            raise ValueError(
                f"daily budgets need the price of every model: give prices= for {', '.join(unpriced)}"
            )
        key = "" if api_key is None else reveal(api_key)
        self._cache = cache
        self._cache_ttl = cache_ttl
        self.runtime: Runtime = runtime
        self.options: Options = Options(
            models=made,
            attempts=attempts,
            timeout=timeout,
            first_content_timeout=first_content_timeout,
            stall_timeout=stall_timeout,
            attempt_timeout=attempt_timeout,
            backoff=backoff,
            max_backoff=max(backoff, max_backoff),
            jitter=jitter,
            max_model_wait=max_model_wait,
            failures=failures,
            open_for=open_for,
            concurrency=concurrency,
            max_queue=max_queue,
            budget=_budget(budget),
            hedge_after=hedge_after,
            hedge_share=hedge_share,
            fallback_on_refusal=fallback_on_refusal,
        )
        self._engine = Engine(self.options, shared=shared, runtime=runtime, key=key, ledger=ledger)
        self._provider: Provider = SdkProvider(
            (lambda: sdk) if sdk is not None else lambda: build_sdk(key, base_url, connections=concurrency),
            own=sdk is None,
            log_prompts=log_prompts,
        )
        self._engine.connect(self._provider)
        self._view = False

    # ---------------------------------------------------------------- lifetime
    async def start(self) -> None:
        """Load the SDK and make its client; the first call does so too. Sends nothing."""
        if self._engine.lifetime.closed:
            raise RuntimeError("this llm.Client is closed")
        if isinstance(self._provider, SdkProvider) and any(m.provider is None for m in self.options.models):
            _ = self._provider.sdk

    async def aclose(self) -> None:
        """Close the connections and end calls in flight with LlmError, code "closed". May be called more than once.

        An SDK client of yours stays open, and so does the client of which this is a copy (:meth:`with_options`).
        """
        if self._view or self._engine.lifetime.closed:
            return
        self._engine.close()
        await self._provider.aclose()
        for model in self.options.models:
            if model.provider is not None:
                await model.provider.aclose()

    def with_options(self, **changes: Any) -> Self:
        """Return a client with other options for its calls; models, breakers, rates, slots and connections are shared.

        Args:
            **changes: parameters of the constructor: `attempts`, `timeout`, `first_content_timeout`, `stall_timeout`,
                `attempt_timeout`, `max_model_wait`, `backoff`, `max_backoff`, `jitter`, `budget`, `hedge_after`,
                `fallback_on_refusal`.

        Raises:
            TypeError: an option belongs to the whole client and cannot be changed for a copy.
        """
        if wrong := sorted(set(changes) - _PER_CALL):
            raise TypeError(f"with_options cannot change {', '.join(wrong)}: make another client for that")
        if "budget" in changes:
            changes["budget"] = _budget(changes["budget"])
        other = copy.copy(self)
        other._engine = self._engine.with_options(**changes)
        other.options = other._engine.options
        other._view = True
        if self._services is not None:
            other._services = self._services.with_options(**changes)
        return other

    # ------------------------------------------------------------------- calls
    def _call(
        self,
        params: dict[str, Any],
        operation: str,
        timeout: float | None,
        betas: Sequence[str] = (),
        caller: str = "",
    ) -> Call:
        if betas:
            headers = dict(params.get("extra_headers") or {})
            given = [beta for beta in (headers.pop("anthropic-beta", ""),) if beta]
            params["extra_headers"] = {**headers, "anthropic-beta": ",".join(dict.fromkeys([*given, *betas]))}
        return Call(self._engine, params, operation, timeout=timeout, caller=caller)

    async def create(
        self,
        *,
        timeout: float | None = None,
        betas: Sequence[str] = (),
        caller: str = "",
        **params: Any,
    ) -> Answer:
        """Return a whole answer.

        Cancelling closes the connection.

        Args:
            timeout: seconds for all attempts, waits and fallbacks together; None is the client's own.
            betas: names of the API's beta features.
            caller: the name to account the cost to in the ledger, such as a user or tenant.
            **params: the parameters of the Messages API as they are; `model` may name a later one of the chain.

        Raises:
            LlmError: no model gave a whole answer; :class:`LlmTimeoutError`, :class:`LlmDeadlineError`,
                :class:`LlmCircuitOpenError` and :class:`LlmRateLimitedError` are kinds of it.
            BudgetExceededError: the request would exceed the budget; it was not sent.
            BulkheadFullError: too many calls are in flight, and none ended in time; it was not sent.
            InvalidError: the parameters cannot be sent.
        """
        limit = self.options.timeout if timeout is None else positive(timeout)
        call = self._call(params, "create", limit, betas, caller)
        key = None
        if self._cache is not None and (key := key_of(call)) is not None:
            kept = await kept_answer(self._cache, key, call)
            if kept is not None:
                return kept
        message, attempt, _ = await run_whole(call, message_of)
        answer = call.report.answer(message, attempt.label)
        if self._cache is not None and key is not None:
            await store(self._cache, key, answer, self._cache_ttl)
        return answer

    def stream(
        self,
        *,
        resume: Answer | Mapping[str, Any] | str | None = None,
        betas: Sequence[str] = (),
        caller: str = "",
        **params: Any,
    ) -> Stream:
        """Return the answer as it arrives, see :class:`Stream`.

        Args:
            resume: an answer that was cut, to be continued: its text, ``LlmError.partial`` or ``Stream.partial``,
                stored by this process or another one. The stream delivers the rest; ``stream.answer`` is the whole.
            betas: names of the API's beta features.
            caller: the name to account the cost to in the ledger.
            **params: the parameters of the Messages API as they are; with `resume` those of the first part.
        """
        call = self._call(params, "stream", None, betas, caller)
        return Stream(call, resume="" if resume is None else stored_text(resume))

    async def count_tokens(
        self, *, timeout: float | None = None, betas: Sequence[str] = (), **params: Any
    ) -> int:
        """Return the number of input tokens of a request; retried and bounded as :meth:`create` is.

        Args:
            timeout: seconds; None is the client's own.
            betas: names of the API's beta features.
            **params: the parameters of the Messages API.
        """
        call = self._call(
            params, "count_tokens", self.options.timeout if timeout is None else positive(timeout), betas
        )
        count, attempt, _ = await run_whole(call, count_of, method="count")
        call.report.finished("ok", model=attempt.label)
        return count

    # ------------------------------------------------------------------ health
    @property
    def breakers(self) -> Mapping[str, CircuitBreaker]:
        """The circuit breaker of each model, by its label."""
        return {state.model.label: state.breaker for state in self._engine.states}

    async def check(self) -> CheckResult:
        """Return the health without sending anything: ``degraded`` when a model's breaker is open, ``down`` for all."""
        return await self._engine.check()

    def __repr__(self) -> str:
        names = ", ".join(model.label for model in self.options.models)
        return f"Client(models=({names}), attempts={self.options.attempts}, timeout={self.options.timeout:g})"


_PER_CALL = frozenset(
    (
        "attempts", "timeout", "first_content_timeout", "stall_timeout", "attempt_timeout", "max_model_wait", "backoff",
        "max_backoff", "jitter", "budget", "hedge_after", "fallback_on_refusal",
    )
)  # fmt: skip


def _budget(budget: Budget | float | None) -> Budget | None:
    return budget if budget is None or isinstance(budget, Budget) else Budget(budget)
