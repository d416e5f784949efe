"""A call whose answer comes in one piece."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypeVar

from prodkit.llm.call import Call
from prodkit.llm.classify import Failure, of_error_object, of_exception, of_response
from prodkit.llm.records import Answer, Usage
from prodkit.llm.ticket import FaultError, Ticket
from prodkit.llm.wire import Reply, Send

__all__ = ["answer_of", "count_of", "message_of", "run_whole"]

T = TypeVar("T")


async def run_whole(
    call: Call, send: Send, read: Callable[[dict[str, Any]], T | None]
) -> tuple[T, Ticket, Reply]:
    """Asks until there is a whole answer; `read` makes something of a JSON object, or None when it is none of ours.

    Raises:
        LlmError: there is none to be had.
    """
    while True:
        ticket = await _next(call)
        failure: Failure
        usage = Usage()
        try:
            reply, told = await _attempt(ticket, send)
            usage = Usage.of(told.get("usage"))
            result = _checked(call, ticket, told, read)
        except FaultError as fault:
            failure = fault.failure
        except BaseException:
            ticket.settle(None, usage, cancelled=True)
            call.finished("cancelled")
            raise
        else:
            ticket.settle(None, usage)
            return result, ticket, reply
        # Outside of the except block: what is raised from here on carries no trace of the request.
        ticket.settle(failure, usage)
        call.after(failure)


async def _next(call: Call) -> Ticket:
    try:
        return await call.next()
    except asyncio.CancelledError:
        call.finished("cancelled")
        raise


def _checked(
    call: Call, ticket: Ticket, told: dict[str, Any], read: Callable[[dict[str, Any]], T | None]
) -> T:
    result = read(told)
    if result is None:
        raise FaultError(Failure("bad_response", status=ticket.status, error_type="message"))
    refused = told.get("stop_reason") == "refusal"
    if refused and call.options.fallback_on_refusal and not call.last_model:
        raise FaultError(Failure("refusal", status=ticket.status))
    return result


async def _attempt(ticket: Ticket, send: Send) -> tuple[Reply, dict[str, Any]]:
    """One request and the JSON object that came back; raises FaultError for everything else."""
    call = ticket.call
    limit, own = call.until, call.options.attempt_timeout
    early = own is not None and ticket.started + own < limit
    if early and own is not None:
        limit = ticket.started + own
    try:
        async with asyncio.timeout_at(limit):
            reply = await send(ticket.params, False)
            ticket.answered(reply.status, reply.headers)
            body = await reply.body()
    except TimeoutError:
        raise FaultError(Failure("attempt_timeout") if early else call.late()) from None
    except Exception as error:  # noqa: BLE001 - the table of failures decides
        raise FaultError(of_exception(error)) from None
    now = call.runtime.clock.now
    if reply.status >= 400:
        raise FaultError(of_response(reply.status, reply.headers, body, now()))
    try:
        told = json.loads(body)
    except ValueError:
        raise FaultError(Failure("bad_response", status=reply.status, error_type="json")) from None
    if not isinstance(told, dict):
        raise FaultError(Failure("bad_response", status=reply.status, error_type="message"))
    if told.get("type") == "error":
        raise FaultError(of_error_object(told, status=reply.status, headers=reply.headers, now=now()))
    return reply, told


def message_of(told: dict[str, Any]) -> dict[str, Any] | None:
    """`told` if it is a message: it has a list of blocks."""
    content = told.get("content")
    whole = isinstance(content, list) and all(
        isinstance(block, dict) and "type" in block for block in content
    )
    return told if whole else None


def count_of(told: dict[str, Any]) -> int | None:
    """The number in the answer of count_tokens."""
    count = told.get("input_tokens")
    return count if isinstance(count, int) else None


def answer_of(call: Call, message: dict[str, Any], model: str) -> Answer:
    """The answer that a call ends with."""
    answer = Answer(
        text="".join(block.get("text") or "" for block in message["content"] if block["type"] == "text"),
        model=model,
        requested_model=call.requested,
        usage=call.usage,
        attempts=tuple(call.attempts),
        stop_reason=message.get("stop_reason"),
        cost=call.cost,
        message=message,
    )
    call.finished("ok", model=model, stop_reason=answer.stop_reason)
    return answer
