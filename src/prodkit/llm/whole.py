"""A call whose answer comes in one piece."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any

from prodkit.llm.call import Call, FaultError, Ticket
from prodkit.llm.classify import Failure, of_error_object, of_exception, of_response
from prodkit.llm.records import Answer, Usage
from prodkit.llm.wire import Send

__all__ = ["message_of", "run_whole"]


async def run_whole(call: Call, send: Send) -> Answer:
    """Asks until there is a whole answer.

    Raises:
        LlmError: there is none to be had.
    """
    while True:
        ticket = await call.next()
        try:
            message = await _attempt(ticket, send)
        except FaultError as fault:
            ticket.settle(fault.failure, Usage())
            call.after(fault.failure)
            continue
        except BaseException:
            ticket.settle(None, Usage(), cancelled=True)
            call.finished("cancelled")
            raise
        usage = Usage.of(message.get("usage"))
        if message.get("stop_reason") == "refusal" and call.options.fallback_on_refusal and _another(call):
            refused = Failure("refusal", status=ticket.status, request_id=ticket.request_id)
            ticket.settle(refused, usage)
            call.plan.refuse_on()
            continue
        ticket.settle(None, usage)
        return _answer(call, ticket, message)


def _another(call: Call) -> bool:
    return call.plan.index < len(call.lanes) - 1


def _answer(call: Call, ticket: Ticket, message: dict[str, Any]) -> Answer:
    answer = Answer(
        text="".join(block.get("text") or "" for block in message["content"] if block.get("type") == "text"),
        model=ticket.lane.model.name,
        requested_model=call.requested,
        usage=call.usage,
        attempts=tuple(call.attempts),
        stop_reason=message.get("stop_reason"),
        cost=call.cost,
        message=message,
    )
    call.finished("ok", model=answer.model, stop_reason=answer.stop_reason)
    return answer


async def _attempt(ticket: Ticket, send: Send) -> dict[str, Any]:
    """One request; raises FaultError for whatever is not a whole message."""
    call = ticket.call
    limit = call.until
    own = call.options.attempt_timeout
    early = own is not None and ticket.started + own < limit
    if early and own is not None:
        limit = ticket.started + own
    clock = call.runtime.clock
    try:
        async with asyncio.timeout_at(limit):
            reply = await send(ticket.params, False)
            ticket.answered(reply.status, reply.headers)
            body = await reply.body()
    except TimeoutError:
        raise FaultError(Failure("attempt_timeout") if early else call.late()) from None
    except Exception as error:  # noqa: BLE001 - the table of failures decides
        raise FaultError(of_exception(error)) from None
    if reply.status >= 400:
        raise FaultError(of_response(reply.status, reply.headers, body, clock.now()))
    return message_of(body, reply.status, reply.headers, clock.now())


def message_of(body: bytes, status: int, headers: Any, now: datetime) -> dict[str, Any]:
    """The message in a body with a good status, or the FaultError for what else it is."""
    try:
        told = json.loads(body)
    except ValueError:
        raise FaultError(Failure("bad_response", status=status, error_type="json")) from None
    if isinstance(told, dict):
        if told.get("type") == "error":
            raise FaultError(of_error_object(told, status=status, headers=headers, now=now))
        content = told.get("content")
        if isinstance(content, list) and all(isinstance(b, dict) and "type" in b for b in content):
            return told
    raise FaultError(Failure("bad_response", status=status, error_type="message"))
