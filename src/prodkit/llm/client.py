"""Client: calls Claude and comes back with a whole answer, or with an error that says what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prodkit.core.check import CheckResult, Status
from prodkit.core.lifespan import Managed
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.secret import Revealable, reveal
from prodkit.errors import InvalidError
from prodkit.llm.call import Call
from prodkit.llm.cost import Budget, Price
from prodkit.llm.lanes import Lane
from prodkit.llm.model import Model
from prodkit.llm.options import DEFAULT_MODELS, Options
from prodkit.llm.records import Answer
from prodkit.llm.stream import Stream
from prodkit.llm.whole import run_whole
from prodkit.llm.wire import SdkWire, Send, build_sdk, check_sdk
from prodkit.policies.breaker import SharedState
from prodkit.policies.slots import Slots

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
        fallback_on_refusal: bool = False,
        sdk: AsyncAnthropic | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        if isinstance(models, str | Model):
            raise ValueError(  # noqa: TRY004 - one kind of error for all options
                f"models takes a sequence of models, got {models!r}: write models=({models!r},)"
            )
        if sdk is not None:
            check_sdk(sdk)
        elif api_key is None or not reveal(api_key).strip():
            raise ValueError("api_key is empty: the Messages API needs a key (a simulator takes any)")
        self._key = api_key
        self._base_url = base_url
        self._sdk = sdk
        self._own_sdk = sdk is None
        self.runtime = runtime
        self.options = Options(
            models=tuple(
                _model(each, prices or {}, strict=base_url is None and sdk is None) for each in models
            ),
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
            fallback_on_refusal=fallback_on_refusal,
        )
        self._lanes = tuple(
            Lane(model, failures=failures, open_for=open_for, shared=shared, runtime=runtime)
            for model in self.options.models
        )
        self._slots = Slots(concurrency, max_queue=max_queue, order="fifo")
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

    def _started(self) -> Send:
        if self._closed:
            raise RuntimeError("this llm.Client is closed")
        if self._wire is None:
            sdk = self._sdk
            if sdk is None:
                assert self._key is not None
                sdk = build_sdk(reveal(self._key), self._base_url, connections=self.options.concurrency)
            self._wire = SdkWire(sdk)
        return self._wire.send

    # ------------------------------------------------------------------ calls
    async def create(self, *, timeout: float | None = None, **params: Any) -> Answer:
        """A whole answer to `params`, the parameters of the Messages API; `model` may name a later one of the chain.

        All attempts, waits and fallbacks together take at most `timeout` seconds (the client's own by default), or
        what is left of the Deadline.

        Raises:
            LlmError: no model gave a whole answer.
            InvalidError: the parameters cannot be sent.
        """
        send = self._started()
        call = self._call(params, "create", timeout=self.options.timeout if timeout is None else timeout)
        return await run_whole(call, send)

    def stream(self, **params: Any) -> Stream:
        """The answer as it comes; see :class:`Stream`. Takes the same parameters as :meth:`create`."""
        send = self._started()
        return Stream(self._call(params, "stream", timeout=None), send)

    def _call(self, params: dict[str, Any], operation: str, *, timeout: float | None) -> Call:
        start = self._start(params.pop("model", None))
        _check(params)
        return Call(
            params,
            options=self.options,
            lanes=self._lanes,
            slots=self._slots,
            runtime=self.runtime,
            timeout=timeout,
            start=start,
            operation=operation,
            streamed=operation == "stream",
            key=reveal(self._key) if self._key is not None else "",
        )

    def _start(self, model: str | None) -> int:
        names = [lane.model.name for lane in self._lanes]
        if model is None:
            return 0
        if model not in names:
            raise InvalidError(f"unknown model {model!r}: this client was made for {', '.join(names)}")
        return names.index(model)

    # ----------------------------------------------------------------- health
    async def check(self) -> CheckResult:
        """Whether the models may be asked, without asking them: ``degraded`` when one is spared, ``down`` for all."""
        states = {lane.model.name: lane.breaker.state for lane in self._lanes}
        spared = [name for name, state in states.items() if state in ("open", "isolated")]
        details = {"models": states, "in_flight": self._slots.inflight, "waiting": self._slots.waiting}
        if not spared:
            return CheckResult("up", details=details)
        status: Status = "down" if len(spared) == len(states) else "degraded"
        return CheckResult(status, f"spared after failures: {', '.join(spared)}", details)

    def __repr__(self) -> str:
        names = ", ".join(model.name for model in self.options.models)
        return f"Client(models=({names}), attempts={self.options.attempts}, timeout={self.options.timeout:g})"


def _model(told: Any, prices: Mapping[str, Price], *, strict: bool) -> Model:
    if isinstance(told, Model):
        return told
    if (
        strict
        and isinstance(told, str)
        and told
        and not told.startswith(("claude-", "anthropic.", "anthropic/"))
    ):
        raise ValueError(
            f"unknown model {told!r}: names of the Messages API begin with claude-; give a gateway's own names with "
            "base_url=, or as Model(…)"
        )
    return Model(told, price=prices.get(told))


def _check(params: Mapping[str, Any]) -> None:
    if "stream" in params:
        raise InvalidError(
            "stream= is not taken here: use create() for a whole answer and stream() for a stream"
        )
    limit = params.get("max_tokens")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise InvalidError(f"max_tokens must be a whole number of 1 or more, got {limit!r}")
    messages = params.get("messages")
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise InvalidError("messages must be a list of at least one message")
