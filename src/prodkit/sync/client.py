"""The LLM client for synchronous code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from prodkit import llm as asynchronous
from prodkit.llm import Answer
from prodkit.sync.service import Part, on_loop

if TYPE_CHECKING:
    from prodkit.llm import Parsed, Tool, ToolRun
    from prodkit.llm.streaming.typed import StreamEvent

__all__ = ["Client", "Stream"]

Item = TypeVar("Item")
T = TypeVar("T")


class Stream:
    """A streamed answer for synchronous code. Made by :meth:`Client.stream`; use it in ``with``.

    Args:
        stream: the asynchronous stream.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    @property
    def text(self) -> Iterator[str]:
        """The pieces of text as they arrive."""
        return _iterate(self._stream.text)

    @property
    def answer(self) -> Answer:
        """The whole answer, once the text has ended."""
        found: Answer = self._stream.answer
        return found

    @property
    def events(self) -> Iterator[StreamEvent]:
        """Everything as it arrives, typed: text, thinking, tool input, citations, usage, attempts, joints."""
        return _iterate(self._stream.events)

    @property
    def partial(self) -> dict[str, Any] | None:
        """The text that has arrived so far, as an assistant message to resume from."""
        found: dict[str, Any] | None = self._stream.partial
        return found

    def __enter__(self) -> Self:
        on_loop(self._stream.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        on_loop(self._stream.__aexit__, kind, error, trace)


class Client(Part):
    """A :class:`prodkit.llm.Client` for threads.

    ::

        claude = sync.Client(llm.Client(api_key, models=("claude-sonnet-5-5",)))
        with sync.running(claude):
            answer = claude.create(max_tokens=200, messages=[…])
            with claude.stream(max_tokens=200, messages=[…]) as stream:
                for text in stream.text: ...

    Args:
        client: the asynchronous client.
    """

    def __init__(self, client: asynchronous.Client) -> None:
        super().__init__(client, "create", "a prodkit.llm.Client")
        self._client = client

    def create(self, *, timeout: float | None = None, **params: Any) -> Answer:
        """Return one whole answer.

        Args:
            timeout: seconds for the whole call; the client's own when None.
            params: those of the Messages API.
        """
        return on_loop(self._client.create, timeout=timeout, **params)

    def stream(self, **params: Any) -> Stream:
        """Return an answer that arrives piece by piece; `params` are those of the Messages API."""
        return Stream(self._client.stream(**params))

    def parse(
        self, *, model: type[T], use_model: str | None = None, timeout: float | None = None, **params: Any
    ) -> Parsed[T]:
        """Return an answer whose text is validated as `model`; a reply that does not match is corrected once.

        Args:
            model: the type of the reply: a pydantic model, a dataclass, or any type that pydantic knows.
            use_model: the language model of the chain to begin with.
            timeout: seconds for everything; the client's own when None.
            params: those of the Messages API.
        """
        return on_loop(self._client.parse, model=model, use_model=use_model, timeout=timeout, **params)

    def run_tools(
        self, *, tools: Sequence[Tool | Callable[..., Any]], timeout: float | None = None, **params: Any
    ) -> ToolRun:
        """Call the model and execute its tool calls until it answers.

        Args:
            tools: functions with annotated parameters and a docstring; they run in threads of the loop.
            timeout: seconds for the whole loop; None has no limit but the caller's Deadline.
            params: those of :meth:`prodkit.llm.Client.run_tools` and of the Messages API.
        """
        return on_loop(self._client.run_tools, tools=tools, timeout=timeout, **params)

    def count_tokens(self, *, timeout: float | None = None, **params: Any) -> int:
        """Return the number of input tokens of a request.

        Args:
            timeout: seconds; the client's own when None.
            params: those of the Messages API.
        """
        return on_loop(self._client.count_tokens, timeout=timeout, **params)

    def __repr__(self) -> str:
        return f"sync.{self._client!r}"


_END = object()


def _iterate(items: AsyncIterator[Item]) -> Iterator[Item]:
    async def step() -> Any:
        return await anext(items, _END)

    while (item := on_loop(step)) is not _END:
        yield item
