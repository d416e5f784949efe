"""Typed answers: the request for a JSON schema, the validation of the reply, and one repair."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Generic, TypeVar, cast

from prodkit.errors import InvalidError, LlmError, MissingExtraError
from prodkit.llm.results import Answer

__all__ = ["Parsed", "Shape", "parsed_answer"]

T = TypeVar("T")

_REPAIR: Final = """Your reply does not match the schema:
{problems}

Reply again with the whole JSON, corrected, and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Parsed(Answer, Generic[T]):
    """A complete message whose text was validated; ``parsed`` is the value.

    Args:
        parsed: an instance of the type that was asked for.
        repaired: the first reply did not match, and a further request corrected it.
        text: as in :class:`Answer`, like the following.
        model: the label of the model that finished it.
        requested_model: the label of the model that was asked first.
        usage: token counts, summed over all attempts.
        attempts: one record per HTTP request, those of a reply that did not match included.
        stop_reason: the API's reason why the model stopped.
        cost: US dollars, summed over all attempts; None where a price is not known.
        cached: it came from the cache; nothing was sent.
        message: the message in the API's spelling.
        continuations: where the answer was joined from several attempts.
    """

    parsed: T
    repaired: bool = False

    @property
    def parsed_output(self) -> T:
        """The value, by the SDK's name for it."""
        return self.parsed


class Shape(Generic[T]):
    """A type as the API and the validator see it: a pydantic model, a dataclass, or any type pydantic knows."""

    def __init__(self, kind: type[T]) -> None:
        try:
            from anthropic import transform_schema
            from pydantic import TypeAdapter
        except ImportError:
            raise MissingExtraError.named("anthropic", "llm") from None
        if isinstance(kind, str):
            raise InvalidError(
                f"parse(model=…) takes the type of the reply, got {kind!r}; the language model is use_model="
            )
        self.name: str = getattr(kind, "__name__", str(kind))
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)
        self.schema: dict[str, Any] = dict(transform_schema(self._adapter.json_schema()))

    def request(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return `params` with the request for this shape."""
        config = dict(params.get("output_config") or {})
        if config.get("format") or params.get("output_format"):
            raise InvalidError("parse sets the output format itself: leave output_config.format out")
        return {
            **params,
            "output_config": {**config, "format": {"type": "json_schema", "schema": self.schema}},
        }

    def read(self, text: str) -> tuple[T | None, str]:
        """Return the value of a reply, or None and what is wrong with it, without its values."""
        from pydantic import ValidationError

        try:
            return self._adapter.validate_json(_bare(text)), ""
        except ValidationError as error:
            lines = [
                f"- {'.'.join(map(str, each['loc'])) or 'reply'}: {each['msg']}"
                for each in error.errors(include_url=False, include_input=False)[:20]
            ]
            return None, "\n".join(lines)

    @staticmethod
    def repair(params: Mapping[str, Any], text: str, problems: str) -> dict[str, Any]:
        """Return the request for a corrected reply.

        Args:
            params: the request.
            text: the reply that does not match.
            problems: what is wrong with it.
        """
        messages = [
            *params["messages"],
            {"role": "assistant", "content": [{"type": "text", "text": text if text.strip() else "…"}]},
            {"role": "user", "content": _REPAIR.format(problems=problems)},
        ]
        return {**params, "messages": messages}


def _bare(text: str) -> str:
    """Return the JSON of a reply without the words or the code fence around it (gateways may ignore schemas)."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text[3:-3].partition("\n")[2] if "\n" in text else text[3:-3]
    try:
        json.loads(text)
    except ValueError:
        begins = [at for at in (text.find("{"), text.find("[")) if at >= 0]
        begin = min(begins, default=0)
        end = text.rfind("}" if text[begin : begin + 1] == "{" else "]")
        return text[begin : end + 1] if begins and begin < end else text
    return text


def _joined(answer: Answer, before: Answer | None, parsed: T) -> Parsed[T]:
    """Return the typed answer; `before` is the reply that did not match, whose attempts and cost count too."""
    values = {each.name: getattr(answer, each.name) for each in fields(Answer)}
    if before is not None:
        values["attempts"] = (*before.attempts, *answer.attempts)
        values["usage"] = before.usage + answer.usage
        costs = (before.cost, answer.cost)
        values["cost"] = None if None in costs else sum(cost for cost in costs if cost is not None)
    return Parsed(parsed=parsed, repaired=before is not None, **values)


async def parsed_answer(
    create: Callable[..., Awaitable[Answer]],
    shape: Shape[T],
    params: Mapping[str, Any],
    limit: float,
    now: Callable[[], float],
) -> Parsed[T]:
    """Return a typed answer; a reply that does not match is corrected once.

    Args:
        create: makes one answer.
        shape: the type.
        params: the request.
        limit: seconds for everything.
        now: the clock.

    Raises:
        LlmError: the corrected reply does not match either, or the reply was cut or refused.
    """
    began = now()
    request = shape.request(params)
    before: Answer | None = None
    while True:
        answer = await create(timeout=max(limit - (now() - began), 0.001), **request)
        parsed, problems = shape.read(answer.text)
        if not problems:
            return _joined(answer, before, cast("T", parsed))
        stopped = answer.truncated or answer.stop_reason == "refusal"
        if stopped or before is not None:
            reason = (
                f"was stopped by {answer.stop_reason}"
                if stopped
                else f"does not match {shape.name}:\n{problems}"
            )
            raise LlmError(
                f"the reply {reason}",
                code="invalid_reply",
                attempts=(*(before.attempts if before else ()), *answer.attempts),
                partial={"role": "assistant", "content": answer.content},
            )
        before = answer
        request = shape.repair(request, answer.text, problems)
