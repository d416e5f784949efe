"""Batches, files and models of the API, with the retries, waits and limits of the client."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from prodkit.core.deadline import Deadline
from prodkit.errors import InvalidError, LlmError
from prodkit.llm.call import Call
from prodkit.llm.completion import message_of, run_whole
from prodkit.llm.engine import Engine
from prodkit.llm.errors import LlmDeadlineError
from prodkit.llm.failures import Failure, FaultError, of_error_object, of_exception
from prodkit.llm.options import Model
from prodkit.llm.provider import Reply
from prodkit.llm.transport import SdkProvider

__all__ = ["Batch", "BatchResult", "Batches", "Files", "ModelInfo", "Models", "StoredFile"]

T = TypeVar("T")


class Service:
    """Calls of the API that ask no model: they share the client's slots and have a breaker of their own."""

    def __init__(self, engine: Engine, provider: SdkProvider) -> None:
        options = replace(
            engine.options, models=(Model("api"),), budget=None, hedge_after=None, fallback_on_refusal=False
        )
        self.engine: Engine = Engine(options, runtime=engine.runtime, key=engine.key)
        self.engine.slots = engine.slots
        self.engine.lifetime = engine.lifetime
        self.engine.connect(provider)
        self.provider = provider

    async def run(
        self,
        operation: str,
        send: Callable[[], Any],
        read: Callable[[dict[str, Any]], T | None],
        *,
        once: bool = False,
    ) -> T:
        """Send until there is a valid response.

        Args:
            operation: named in events.
            send: calls the SDK and returns its reply.
            read: makes the result of the JSON object, None when it is not valid.
            once: the request must not be processed twice: it is repeated only when it cannot have been.
        """
        call = Call(self.engine, {}, operation, timeout=self.engine.options.timeout, once=once)

        async def sent(params: Mapping[str, Any], stream: bool, /) -> Reply:
            reply: Reply = await send()
            return reply

        result, attempt, _ = await run_whole(call, read, send=sent)
        call.report.finished("ok", model=attempt.label)
        return result


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
            wait = seconds * random.uniform(1.0, 1.1)
            if engine.now() + wait >= Deadline.instant():
                raise LlmDeadlineError(
                    f"the batch {batch_id} has not ended before the Deadline", code="deadline"
                )
            await engine.sleep(wait)
            seconds = min(seconds * 1.5, max_poll)
        return batch

    async def results(self, batch_id: str) -> AsyncIterator[BatchResult]:
        """Iterate over the results of the batch `batch_id`, in any order, each once.

        A connection that breaks is opened again, and results that were delivered are skipped.

        Args:
            batch_id: of a batch that has ended.

        Raises:
            LlmError: the results cannot be read.
        """
        seen: set[str] = set()
        failures = 0
        service, engine = self._service, self._service.engine
        while True:
            failure: Failure | None = None
            count = len(seen)
            try:
                async for result in self._lines(batch_id):
                    if result.custom_id not in seen:
                        seen.add(result.custom_id)
                        yield result
                batch = await self.get(batch_id)
                total = sum(batch.counts.values())
                if len(seen) >= total:
                    return
                failure = Failure("truncated")
            except FaultError as fault:
                failure = fault.failure
            failures = 1 if len(seen) > count else failures + 1
            if not failure.verdict.retry or failures >= engine.options.attempts:
                raise LlmError(
                    f"the results of {batch_id} broke off ({failure.code}) after {len(seen)}",
                    code=failure.code,
                )
            await engine.sleep(service.engine.options.wait(failures, engine.runtime.rng))

    async def _lines(self, batch_id: str) -> AsyncIterator[BatchResult]:
        sdk = self._service.provider.sdk
        try:
            async with sdk.messages.batches.with_streaming_response.results(batch_id) as response:
                rest = b""
                async for data in response.http_response.aiter_bytes():
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        if line.strip():
                            yield _result_of(line)
                if rest.strip():
                    yield _result_of(rest)
        except Exception as error:  # noqa: BLE001 - the table of failures decides
            status = getattr(error, "status_code", None)
            if isinstance(status, int):
                now = self._service.engine.runtime.clock.now()
                headers = error.response.headers  # type: ignore[attr-defined]
                body = getattr(error, "body", None)
                raise FaultError(of_error_object(body, status=status, headers=headers, now=now)) from None
            raise FaultError(of_exception(error)) from None


def _batch_of(body: dict[str, Any]) -> Batch | None:
    if not isinstance(body.get("id"), str) or "processing_status" not in body:
        return None
    return Batch(body["id"], body["processing_status"], dict(body.get("request_counts") or {}), body)


def _result_of(line: bytes) -> BatchResult:
    body = json.loads(line)
    result = body.get("result") or {}
    message = message_of(result.get("message") or {})
    text = "".join(block.get("text") or "" for block in message["content"]) if message else ""
    return BatchResult(body["custom_id"], result.get("type", "errored"), text, message, result.get("error"))


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that the API keeps.

    Args:
        id: for ``{"type": "file", "file_id": id}`` in a request.
        filename: its name.
        media_type: its MIME type.
        size: bytes.
        raw: the API's object.
    """

    id: str
    filename: str
    media_type: str
    size: int
    raw: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Files:
    """Files that the API keeps. Made by ``Client.files`` for its `service`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def _raw(self) -> Any:
        sdk = self._service.provider.sdk
        return (getattr(sdk, "files", None) or sdk.beta.files).with_raw_response

    async def upload(self, content: bytes, *, filename: str, media_type: str) -> StoredFile:
        """Store a file; retried only when it cannot have been stored.

        Args:
            content: its bytes.
            filename: its name.
            media_type: its MIME type.
        """
        service = self._service
        return await service.run(
            "files.upload",
            lambda: service.provider.raw(self._raw.upload, file=(filename, content, media_type)),
            _file_of,
            once=True,
        )

    async def get(self, file_id: str) -> StoredFile:
        """Return the metadata of the file `file_id`."""
        service = self._service
        return await service.run(
            "files.get", lambda: service.provider.raw(self._raw.retrieve_metadata, file_id), _file_of
        )

    async def delete(self, file_id: str) -> None:
        """Delete the file `file_id`."""
        service = self._service
        await service.run(
            "files.delete", lambda: service.provider.raw(self._raw.delete, file_id), lambda body: body
        )


def _file_of(body: dict[str, Any]) -> StoredFile | None:
    if not isinstance(body.get("id"), str):
        return None
    name, kind = str(body.get("filename", "")), str(body.get("mime_type", ""))
    return StoredFile(body["id"], name, kind, int(body.get("size_bytes") or 0), body)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that the API knows.

    Args:
        id: its name in requests.
        line: such as "sonnet"; never to be read from the id.
        lifecycle: such as "active" or "deprecated".
        retires_at: when it stops answering, "" where that is not decided.
        max_tokens: its upper limit of ``max_tokens``, None where the API does not say.
        raw: the API's object.
    """

    id: str
    line: str = ""
    lifecycle: str = ""
    retires_at: str = ""
    max_tokens: int | None = None
    raw: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Models:
    """The models that the API knows. Made by ``Client.models`` for its `service`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def _raw(self) -> Any:
        return self._service.provider.sdk.models.with_raw_response

    async def list(self) -> list[ModelInfo]:
        """Return all models."""
        service = self._service
        found: list[ModelInfo] = []
        after: dict[str, str] = {}
        while True:
            page = await service.run(
                "models.list",
                lambda after=after: service.provider.raw(self._raw.list, limit=100, **after),  # type: ignore[misc]
                lambda body: body if isinstance(body.get("data"), list) else None,
            )
            found += [_model_of(each) for each in page["data"]]
            if not page.get("has_more") or not page.get("last_id"):
                return found
            after = {"after_id": page["last_id"]}

    async def get(self, model_id: str) -> ModelInfo:
        """Return the model `model_id`, which may be an alias."""
        service = self._service
        return await service.run(
            "models.get",
            lambda: service.provider.raw(self._raw.retrieve, model_id),
            lambda body: _model_of(body) if isinstance(body.get("id"), str) else None,
        )


def _model_of(body: Mapping[str, Any]) -> ModelInfo:
    return ModelInfo(
        str(body.get("id", "")),
        str(body.get("line") or ""),
        str(body.get("lifecycle") or ""),
        str(body.get("retires_at") or ""),
        body.get("max_tokens"),
        body,
    )
