"""Answers from a cache, for requests that are sent twice. Any object with ``get`` and ``set`` serves."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from prodkit.llm.call import Call
from prodkit.llm.results import Answer, message_of

__all__ = ["AnswerCache", "kept_answer", "key_of", "store"]


class AnswerCache(Protocol):
    """The side of a cache that the client uses; ``prodkit.cache.Cache`` is one."""

    async def get(self, key: str, /) -> Any:
        """Return the value of `key`; anything that is not a stored answer counts as a miss."""
        ...

    async def set(self, key: str, value: Any, /, *, ttl: float) -> Any:
        """Keep `value`, a JSON object, under `key` for `ttl` seconds."""
        ...


def key_of(call: Call) -> str | None:
    """Return a key for the whole request, without its text; None for parameters that are not plain JSON."""
    try:
        body = json.dumps({"model": call.report.requested, **call.params}, sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError):
        return None
    return f"llm:{hashlib.sha256(body.encode()).hexdigest()}"


async def kept_answer(cache: AnswerCache, key: str, call: Call) -> Answer | None:
    """Return the answer kept under `key`; None where there is none, or the cache fails."""
    kept: Any = None
    with suppress(Exception):
        kept = await cache.get(key)
    if not isinstance(kept, dict) or (message := message_of(kept.get("message") or {})) is None:
        return None
    call.report.finished("ok", model=kept["model"], stop_reason=message.get("stop_reason"), cached=True)
    return replace(call.report.answer(message, kept["model"]), cost=0.0, cached=True)


async def store(cache: AnswerCache, key: str, answer: Answer, ttl: float) -> None:
    """Keep a complete `answer` under `key` for `ttl` seconds; a cache that fails is ignored."""
    if answer.stop_reason in ("end_turn", "stop_sequence"):
        with suppress(Exception):
            await cache.set(key, {"model": answer.model, "message": dict(answer.message)}, ttl=ttl)
