"""Operations of a client that are built on its calls: validated replies, tool loops, batches, files, models."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from prodkit.llm.batches import Batches
from prodkit.llm.context_window import Fitted, fit_counted
from prodkit.llm.engine import Engine
from prodkit.llm.files import Files
from prodkit.llm.models import Models
from prodkit.llm.options import Options, positive
from prodkit.llm.provider import Provider
from prodkit.llm.results import Answer
from prodkit.llm.service import Service
from prodkit.llm.structured import Parsed, Shape, parsed_answer
from prodkit.llm.tools import Tool, ToolRun, run_tools
from prodkit.llm.transport import SdkProvider

__all__ = ["Operations"]

T = TypeVar("T")


class Operations(ABC):
    """The base of ``llm.Client``: everything that needs no more than ``create`` and ``count_tokens``."""

    options: Options
    _engine: Engine
    _provider: Provider
    _services: Service | None = None

    @abstractmethod
    async def create(
        self, *, timeout: float | None = None, betas: Sequence[str] = (), caller: str = "", **params: Any
    ) -> Answer:
        """Return a whole answer."""

    @abstractmethod
    async def count_tokens(
        self, *, timeout: float | None = None, betas: Sequence[str] = (), **params: Any
    ) -> int:
        """Return the number of input tokens of a request."""

    async def parse(
        self,
        *,
        model: type[T],
        use_model: str | None = None,
        timeout: float | None = None,
        betas: Sequence[str] = (),
        caller: str = "",
        **params: Any,
    ) -> Parsed[T]:
        """Return an answer whose text is validated as `model`; a reply that does not match is corrected once.

        Args:
            model: the type of the reply: a pydantic model, a dataclass, or any type that pydantic knows.
            use_model: the language model of the chain to begin with.
            timeout: seconds for everything, the correction included; None is the client's own.
            betas: names of the API's beta features.
            caller: the name to account the cost to in the ledger.
            **params: the parameters of the Messages API; the output format is set here.

        Raises:
            LlmError: no model gave a whole answer, or the corrected reply does not match either (code "invalid_reply",
                ``partial`` holds it).
        """
        request = params if use_model is None else {**params, "model": use_model}
        limit = self.options.timeout if timeout is None else positive(timeout)
        create = functools.partial(self.create, betas=betas, caller=caller)
        return await parsed_answer(create, Shape(model), request, limit, self._engine.now)

    async def run_tools(
        self,
        *,
        tools: Sequence[Tool | Callable[..., Any]],
        resume: Mapping[str, Any] | None = None,
        max_steps: int = 20,
        timeout: float | None = None,
        on_step: Callable[[ToolRun], Any] | None = None,
        **params: Any,
    ) -> ToolRun:
        """Call the model and execute its tool calls until it answers.

        Each step has the retries and fallbacks of :meth:`create`; the budget and the ledger count all steps. A tool
        that raises is reported to the model. Calls of one answer are executed at once.

        Args:
            tools: :class:`Tool` objects, or functions with annotated parameters and a docstring.
            resume: the state of a run that was cut (``LlmError.partial`` or ``ToolRun.state()``, stored by `on_step`):
                tool calls that had finished are not executed again.
            max_steps: requests for an answer, after which LlmError "max_steps" is raised.
            timeout: seconds for the whole loop, tools included; None has no limit but the caller's Deadline.
            on_step: called after every answer and every finished tool call, to store ``run.state()``; it may be
                asynchronous.
            **params: the parameters of :meth:`create`, with `messages` unless `resume` is given.

        Raises:
            LlmError: a step failed; ``partial`` is the state to resume from.
            BudgetExceededError: a step would exceed the budget; ``partial`` is the state to resume from.
            DeadlineExceededError: the time for the whole loop passed.
        """
        return await run_tools(
            self.create, tools, params, resume=resume, max_steps=max_steps, timeout=timeout, on_step=on_step
        )

    async def fit(
        self,
        messages: Sequence[Mapping[str, Any]],
        limit: int,
        *,
        keep_first: int = 0,
        keep_last: int = 1,
        **params: Any,
    ) -> Fitted:
        """Return the newest messages that fit into a context window, counted by the API; see :func:`llm.fit`.

        Args:
            messages: the conversation in the API's spelling.
            limit: input tokens, ``max_tokens`` not included.
            keep_first: messages at the beginning that stay.
            keep_last: messages at the end that stay.
            **params: other parts of the request that count: `system`, `tools`, `model`.
        """

        async def count(kept: Sequence[Mapping[str, Any]]) -> int:
            return await self.count_tokens(messages=kept, **params)

        return await fit_counted(messages, limit, count, keep_first=keep_first, keep_last=keep_last)

    # --------------------------------------------------------------- resources
    @property
    def batches(self) -> Batches:
        """Batches of requests at half the price, processed within a day: submit, wait, results."""
        return Batches(self._service())

    @property
    def files(self) -> Files:
        """Files that the API keeps and requests name by their id."""
        return Files(self._service())

    @property
    def models(self) -> Models:
        """The models that the API knows, with their line and lifecycle."""
        return Models(self._service())

    def _service(self) -> Service:
        if not isinstance(self._provider, SdkProvider):
            raise TypeError("batches, files and models need Anthropic's own API")
        if self._services is None:
            self._services = Service(self._engine, self._provider)
        return self._services
