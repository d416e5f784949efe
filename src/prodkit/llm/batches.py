"""Batches of requests: submit, wait, read the results, each once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from prodkit.core.deadline import Deadline
from prodkit.errors import InvalidError
from prodkit.llm.errors import LlmDeadlineError
from prodkit.llm.provider import Reply
from prodkit.llm.results import message_of
from prodkit.llm.service import Service

__all__ = ["Batch", "BatchResult", "Batches"]

_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of requests.

    Args:
        id: its id; store it to take the batch up again.
        status: "in_progress", "canceling" or "ended".
        counts: requests by state: processing, succeeded, errored, canceled, expired.
        raw: the API's object.
    """

    id: str
    status: str
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    raw: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def ended(self) -> bool:
        """True when every request has a result."""
        return self.status == "ended"


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The result of one request of a batch.

    Args:
        custom_id: the id that the request was given.
        type: "succeeded", "errored", "canceled" or "expired".
        text: the text of the message, "" without one.
        message: the message in the API's spelling, None without one.
        error: the API's error object, None without one.
    """

    custom_id: str
    type: str
    text: str = ""
    message: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """True when there is a message."""
        return self.type == "succeeded"


class Batches:
    """Batches of requests: submit, wait, read the results. Made by ``Client.batches`` for its `service`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def _raw(self) -> Any:
        return self._service.provider.sdk.messages.batches.with_raw_response

    async def submit(self, requests: Sequence[Mapping[str, Any]] | Mapping[str, Mapping[str, Any]]) -> Batch:
        """Submit a batch; store its ``batch_id`` to take it up again after a restart.

        A failure after which the API may have accepted the batch is not retried: it would be paid twice.

        Args:
            requests: by id the parameters of each request, or the API's list of ``custom_id`` and ``params``.
        """
        if isinstance(requests, Mapping):
            made = [{"custom_id": name, "params": dict(params)} for name, params in requests.items()]
        else:
            made = [dict(each) for each in requests]
        ids = [each.get("custom_id") for each in made]
        if not made or len(set(ids)) != len(ids) or not all(ids):
            raise InvalidError("a batch needs at least one request, and each a custom_id of its own")
        service = self._service
        return await service.run(
            "batches.submit",
            lambda: service.provider.raw(self._raw.create, requests=made),
            _batch_of,
            once=True,
        )

    async def get(self, batch_id: str) -> Batch:
        """Return the state of the batch `batch_id`."""
        service = self._service
        return await service.run(
            "batches.get", lambda: service.provider.raw(self._raw.retrieve, batch_id), _batch_of
        )

    async def cancel(self, batch_id: str) -> Batch:
        """Cancel the batch `batch_id`; requests that run are finished."""
        service = self._service
        return await service.run(
            "batches.cancel", lambda: service.provider.raw(self._raw.cancel, batch_id), _batch_of
        )

    async def wait(self, batch_id: str, *, poll: float = 2.0, max_poll: float = 60.0) -> Batch:
        """Wait until the batch `batch_id` has ended, at most until the caller's Deadline.

        Args:
            batch_id: of the batch.
            poll: seconds before the second look; each wait is half as long again, with a random tenth.
            max_poll: the longest wait between two looks.

        Raises:
            LlmDeadlineError: the Deadline comes before the next look; the batch goes on.
        """
        engine = self._service.engine
        seconds = poll
        while not (batch := await self.get(batch_id)).ended:
            wait = seconds * engine.runtime.rng.uniform(1.0, 1.1)
            if engine.now() + wait >= Deadline.instant():
                raise LlmDeadlineError(
                    f"the batch {batch_id} has not ended before the Deadline", code="deadline"
                )
            await engine.sleep(wait)
            seconds = min(seconds * 1.5, max_poll)
        return batch

    def results(self, batch_id: str) -> AsyncIterator[BatchResult]:
        """Iterate over the results of the batch `batch_id`, in any order, each once.

        A connection that breaks is opened again, and results that were delivered are skipped.

        Args:
            batch_id: of a batch that has ended.

        Raises:
            LlmError: the results cannot be read.
        """
        results = self._service.provider.sdk.messages.batches.with_streaming_response.results
        provider = self._service.provider
        lines = _ResultLines(self, batch_id)
        return self._service.read("batches.results", lambda: provider.streamed(results, batch_id), lines)

    async def list(self, *, limit: int = 100) -> list[Batch]:
        """Return the newest batches, such as one whose submission ended in an error after it was accepted.

        Args:
            limit: how many.
        """
        if not 1 <= limit <= _PAGE:
            raise InvalidError(f"limit must be from 1 to {_PAGE}, got {limit!r}")
        service = self._service
        page = await service.run(
            "batches.list",
            lambda: service.provider.raw(self._raw.list, limit=limit),
            lambda body: body if isinstance(body.get("data"), list) else None,
        )
        return [batch for each in page["data"] if (batch := _batch_of(each)) is not None]


class _ResultLines:
    """The results in JSON lines, each once; a connection that breaks begins again with the first."""

    def __init__(self, batches: Batches, batch_id: str) -> None:
        self._batches = batches
        self._batch_id = batch_id
        self._seen: set[str] = set()
        self._rest = b""

    def begin(self, reply: Reply, /) -> None:
        """Begin with the first line again."""
        self._rest = b""

    def feed(self, data: bytes, /) -> list[BatchResult]:
        """Return the new results in the lines that `data` completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        new: list[BatchResult] = []
        for line in lines:
            if line.strip() and (result := _result_of(line)).custom_id not in self._seen:
                self._seen.add(result.custom_id)
                new.append(result)
        return new

    def end(self) -> list[BatchResult]:
        """Return the result in a last line that lacks its line end."""
        return self.feed(b"\n")

    async def whole(self) -> bool:
        """Return True when there was a result for every request of the batch."""
        batch = await self._batches.get(self._batch_id)
        return len(self._seen) >= sum(batch.counts.values())


def _batch_of(body: dict[str, Any]) -> Batch | None:
    if not isinstance(body.get("id"), str) or "processing_status" not in body:
        return None
    return Batch(body["id"], body["processing_status"], dict(body.get("request_counts") or {}), body)


def _result_of(line: bytes) -> BatchResult:
    body = json.loads(line)
    if not isinstance(body, dict) or not isinstance(body.get("custom_id"), str):
        raise ValueError("a line of the results has no custom_id")  # noqa: TRY004 - it is a broken body
    result = body.get("result") or {}
    message = message_of(result.get("message") or {})
    text = "".join(block.get("text") or "" for block in message["content"]) if message else ""
    return BatchResult(body["custom_id"], result.get("type", "errored"), text, message, result.get("error"))
