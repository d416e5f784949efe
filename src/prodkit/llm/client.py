"""Client: calls Claude and comes back with a whole answer, or with an error that says what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prodkit.core.check import CheckResult
from prodkit.core.lifespan import Managed
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.secrets import Revealable, reveal
from prodkit.errors import InvalidError
from prodkit.llm.cached import AnswerCache, cached_answer
from prodkit.llm.cost import Budget, Price
from prodkit.llm.engine import Engine, chain
from prodkit.llm.model import Model
from prodkit.llm.options import DEFAULT_MODELS, Options
from prodkit.llm.records import Answer
from prodkit.llm.stream import Stream
from prodkit.llm.whole import answer_of, count_of, message_of, run_whole
from prodkit.llm.wire import SdkWire, build_sdk, check_sdk
from prodkit.policies.breaker import CircuitBreaker
from prodkit.policies.shared_state import SharedState

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

__all__ = ["Client"]


class Client(Managed):
    """Calls the Messages API through a chain of models.

    ::

        async with Client(key, models=("claude-sonnet-5-5", "claude-haiku-5-5")) as claude:
            answer = await claude.create(max_tokens=800, messages=[{"role": "user", "content": "…"}])
            print(answer.text, answer.model, answer.usage)
    """

    name = "llm"

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
        patience: float = 30.0,
        backoff: float = 1.0,
        jitter: bool = False,
        prices: Mapping[str, Price] | None = None,
        budget: Budget | float | None = None,
        hedge_after: float | None = None,
        hedge_share: float = 0.1,
        cache: AnswerCache | None = None,
        cache_ttl: float = 3600.0,
        fallback_on_refusal: bool = False,
        sdk: AsyncAnthropic | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        if sdk is not None:
            check_sdk(sdk)
        elif api_key is None or not reveal(api_key).strip():
            raise ValueError("api_key is empty: the Messages API needs a key (a simulator takes any)")
        self._key = api_key
        self._base_url = base_url
        self._sdk = sdk
        self._own_sdk = sdk is None
        self._cache = cache
        self._cache_ttl = cache_ttl
        self.runtime = runtime
        self.options = Options(
            models=chain(models, prices, strict=base_url is None and sdk is None),
            attempts=attempts,
            timeout=timeout,
            first_content_timeout=first_content_timeout,
            stall_timeout=stall_timeout,
            attempt_timeout=attempt_timeout,
            backoff=backoff,
            jitter=jitter,
            patience=patience,
            failures=failures,
            open_for=open_for,
            concurrency=concurrency,
            max_queue=max_queue,
            budget=Budget(budget) if isinstance(budget, int | float) else budget,
            hedge_after=hedge_after,
            hedge_share=hedge_share,
            fallback_on_refusal=fallback_on_refusal,
        )
        self._engine = Engine(
            self.options, shared=shared, runtime=runtime, key=reveal(api_key) if api_key is not None else ""
        )
        self._wire: SdkWire | None = None
        self._closed = False

    # --------------------------------------------------------------- lifetime
    async def start(self) -> None:
        """Loads the SDK and makes its client; a call does so too when it comes first. Sends nothing."""
        self._started()

    async def aclose(self) -> None:
        """Closes the connections; may be called more than once. A client of your own stays open."""
        self._closed = True
        wire, self._wire = self._wire, None
        if wire is not None and self._own_sdk:
            await wire.client.close()

    def _started(self) -> SdkWire:
        if self._closed:
            raise RuntimeError("this llm.Client is closed")
        if self._wire is None:
            sdk = self._sdk
            if sdk is None:
                assert self._key is not None
                sdk = build_sdk(reveal(self._key), self._base_url, connections=self.options.concurrency)
            self._wire = SdkWire(sdk)
        return self._wire

    # ------------------------------------------------------------------ calls
    async def create(self, *, timeout: float | None = None, **params: Any) -> Answer:
        """A whole answer to `params`, the parameters of the Messages API; `model` may name a later one of the chain.

        All attempts, waits and fallbacks together take at most `timeout` seconds (the client's own by default), or
        what is left of the Deadline. Cancelling closes the connection.

        Raises:
            LlmError: no model gave a whole answer; :class:`LlmTimeoutError`, :class:`LlmDeadlineError`,
                :class:`LlmCircuitOpenError` and :class:`LlmRateLimitedError` are kinds of it.
            BudgetExceededError: the request would pass the budget; it was not sent.
            BulkheadFullError: too many calls are under way, and none ended in time; it was not sent.
            InvalidError: the parameters cannot be sent.
        """
        wire = self._started()
        call = self._engine.call(params, "create", timeout=self._limit(timeout))
        if self._cache is None:
            message, ticket, _ = await run_whole(call, wire.send, message_of)
            return answer_of(call, message, ticket.lane.model.name)
        return await cached_answer(self._cache, self._cache_ttl, call, wire.send)

    def stream(self, **params: Any) -> Stream:
        """The answer as it comes; see :class:`Stream`. Takes the same parameters as :meth:`create`."""
        wire = self._started()
        return Stream(self._engine.call(params, "stream", timeout=None, streamed=True), wire.send)

    async def count_tokens(self, *, timeout: float | None = None, **params: Any) -> int:
        """The input tokens that `params` come to; retried and bounded as :meth:`create` is."""
        wire = self._started()
        call = self._engine.call(params, "count_tokens", timeout=self._limit(timeout))
        count, ticket, _ = await run_whole(call, wire.count, count_of)
        call.finished("ok", model=ticket.lane.model.name)
        return count

    def _limit(self, timeout: float | None) -> float:
        if timeout is None:
            return self.options.timeout
        if not timeout > 0:
            raise InvalidError(f"timeout must be a positive number of seconds, got {timeout!r}")
        return timeout

    # ----------------------------------------------------------------- health
    @property
    def breakers(self) -> Mapping[str, CircuitBreaker]:
        """The circuit breaker of each model."""
        return {lane.model.name: lane.breaker for lane in self._engine.lanes}

    async def check(self) -> CheckResult:
        """Whether the models may be asked, without asking them: ``degraded`` when one is spared, ``down`` for all."""
        return await self._engine.check()

    def __repr__(self) -> str:
        names = ", ".join(model.name for model in self.options.models)
        return f"Client(models=({names}), attempts={self.options.attempts}, timeout={self.options.timeout:g})"
