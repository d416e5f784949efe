"""A call whose answer arrives in one piece."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from prodkit.llm.attempt import OpenAttempt
from prodkit.llm.call import Call
from prodkit.llm.failures import Failure, FaultError, of_error_object, of_exception, of_response
from prodkit.llm.provider import Reply, Send
from prodkit.llm.results import Usage

__all__ = ["count_of", "run_whole"]

T = TypeVar("T")


async def run_whole(
    call: Call,
    read: Callable[[dict[str, Any]], T | None],
    *,
    send: Send | None = None,
    method: Literal["send", "count"] = "send",
) -> tuple[T, OpenAttempt, Reply]:
    """Send until there is a whole answer.

    Args:
        call: the admitted call.
        read: makes the result of a JSON object, or None when it is not a valid one.
        send: sends instead of the provider of the attempt's model.
        method: of the provider.

    Raises:
        LlmError: no model gave one.
    """
    while True:
        try:
            attempt = await call.next()
        except asyncio.CancelledError:
            call.report.finished("cancelled")
            raise
        failure: Failure
        usage = Usage()
        try:
            reply, body = await _exchange(call, attempt, send or getattr(attempt.state.provider, method))
            usage = Usage.of(body.get("usage"))
            result = read(body)
            if result is None:
                raise FaultError(Failure("bad_response", status=attempt.status, error_type="message"))  # noqa: TRY301
            if (
                body.get("stop_reason") == "refusal"
                and call.options.fallback_on_refusal
                and not call.last_model
            ):
                raise FaultError(Failure("refusal", status=attempt.status))  # noqa: TRY301
        except FaultError as fault:
            failure = fault.failure
        except BaseException:
            attempt.settle(None, usage, cancelled=True)
            call.report.finished("cancelled")
            raise
        else:
            attempt.settle(None, usage)
            return result, attempt, reply
        # Outside of the except block: an error raised from here on carries no trace of the request.
        call.failed_attempt(attempt, failure, usage)


async def _exchange(call: Call, attempt: OpenAttempt, send: Send) -> tuple[Reply, dict[str, Any]]:
    """Send one request and return the JSON object of its response; raise FaultError for everything else."""
    exchanges = call.engine.lifetime.exchanges
    limit, own = call.until, call.options.attempt_timeout
    early = own is not None and attempt.started + own < limit
    if early and own is not None:
        limit = attempt.started + own
    try:
        async with asyncio.timeout_at(limit) as exchange:
            exchanges.add(exchange)
            try:
                reply = await send(attempt.params, False)
                attempt.responded(reply.status, reply.headers)
                content = await reply.body()
            finally:
                exchanges.discard(exchange)
    except TimeoutError:
        raise FaultError(Failure("attempt_timeout") if early else call.late()) from None
    except Exception as error:  # noqa: BLE001 - the table of failures decides
        raise FaultError(of_exception(error)) from None
    now = call.engine.runtime.clock.now
    if reply.status >= 400:
        raise FaultError(of_response(reply.status, reply.headers, content, now()))
    try:
        body = json.loads(content)
    except ValueError:
        raise FaultError(Failure("bad_response", status=reply.status, error_type="json")) from None
    if not isinstance(body, dict):
        raise FaultError(Failure("bad_response", status=reply.status, error_type="message"))
    if body.get("type") == "error":
        raise FaultError(of_error_object(body, status=reply.status, headers=reply.headers, now=now()))
    return reply, body


def count_of(body: dict[str, Any]) -> int | None:
    """Return the number in the response of count_tokens."""
    count = body.get("input_tokens")
    return count if isinstance(count, int) else None
