"""Answers from a cache, for whoever asks the same thing twice. Any object with ``get`` and ``set`` serves."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import Any, Protocol

from prodkit.llm.call import Call
from prodkit.llm.records import Answer, Usage
from prodkit.llm.whole import answer_of, message_of, run_whole
from prodkit.llm.wire import Send

__all__ = ["AnswerCache", "cached_answer", "key_of"]


class AnswerCache(Protocol):
    """What the client asks of a cache; ``prodkit.cache.Cache`` is one."""

    async def get(self, key: str, /) -> Any:
        """The value of `key`, None when there is none."""
        ...

    async def set(self, key: str, value: Any, /, *, ttl: float) -> Any:
        """Keeps `value`, a JSON object, for `ttl` seconds."""
        ...


def key_of(call: Call) -> str | None:
    """A key for the whole request, without its text; None for parameters that are not plain JSON."""
    try:
        told = json.dumps({"model": call.requested, **call.params}, sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError):
        return None
    return f"llm:{hashlib.sha256(told.encode()).hexdigest()}"


async def cached_answer(cache: AnswerCache, ttl: float, call: Call, send: Send) -> Answer:
    """The answer from the cache, or asked for and put there. A cache that fails is passed over."""
    key = key_of(call)
    kept: Any = None
    if key is not None:
        with suppress(Exception):
            kept = await cache.get(key)
    if isinstance(kept, dict) and (message := message_of(kept.get("message") or {})) is not None:
        call.finished("ok", model=kept["model"], stop_reason=message.get("stop_reason"), cached=True)
        return Answer(
            text="".join(block.get("text") or "" for block in message["content"] if block["type"] == "text"),
            model=kept["model"],
            requested_model=call.requested,
            usage=Usage(),
            stop_reason=message.get("stop_reason"),
            cost=0.0,
            cached=True,
            message=message,
        )
    fresh, ticket, _ = await run_whole(call, send, message_of)
    answer = answer_of(call, fresh, ticket.lane.model.name)
    if key is not None and answer.stop_reason in ("end_turn", "stop_sequence"):
        with suppress(Exception):
            await cache.set(key, {"model": answer.model, "message": dict(answer.message)}, ttl=ttl)
    return answer
