"""The LLM client for synchronous code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Self

from prodkit import llm as asynchronous
from prodkit.llm import Answer
from prodkit.sync.service import Part, call

__all__ = ["Client", "Stream"]


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

    def __enter__(self) -> Self:
        call(self._stream.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        call(self._stream.__aexit__, kind, error, trace)


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
        return call(self._client.create, timeout=timeout, **params)

    def stream(self, **params: Any) -> Stream:
        """Return an answer that arrives piece by piece; `params` are those of the Messages API."""
        return Stream(self._client.stream(**params))

    def __repr__(self) -> str:
        return f"sync.{self._client!r}"


_END = object()


def _iterate(items: AsyncIterator[str]) -> Iterator[str]:
    async def step() -> Any:
        return await anext(items, _END)

    while (item := call(step)) is not _END:
        yield item
