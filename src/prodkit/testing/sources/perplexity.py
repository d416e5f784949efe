"""Perplexity: ``POST /chat/completions`` and ``POST /search``, with citations, dates and OpenAI-like errors."""

from __future__ import annotations

import math
from typing import Any, Final

from prodkit.testing.sources.reply import Api, Query, Reply, chance_of, day_of, opinion_of

__all__ = ["Perplexity"]

_PATHS: Final = frozenset({"/chat/completions", "/v1/chat/completions", "/search"})
_TYPES: Final = {
    400: "bad_request",
    401: "invalid_api_key",
    402: "insufficient_quota",
    403: "permission_denied",
    404: "not_found",
    422: "validation_error",
    429: "rate_limit_exceeded",
}
_PLACES: Final = ("jornal.example", "revista.example", "blog-do-bairro.example", "estudos.example")


class Perplexity(Api):
    """The answers of a model that searches the web."""

    name = "perplexity"

    def answer(self, query: Query, *, empty: bool, left: int | None) -> Reply:
        """Return a completion, or search results."""
        if query.path not in _PATHS:
            return self._refused(404, f"Unknown path: {query.path}")
        if query.method != "POST":
            return self._refused(405, "Method not allowed")
        scheme, _, key = query.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key or "invalid" in key:
            return self._refused(401, "Invalid API key provided.")
        if not isinstance(query.body, dict):
            return self._refused(400, "The request body is not valid JSON.")
        if query.path == "/search":
            return self._search(query.body, empty=empty)
        return self._completion(query.body, empty=empty)

    def error(self, status: int) -> Reply:
        """Return an error in the form of the API."""
        return self._refused(status, {429: "Rate limit exceeded"}.get(status, "The simulator says no"))

    def quota(self) -> Reply:
        """Return the 401 that Perplexity sends when the credits are used up."""
        return self._refused(
            401, "You exceeded your current quota, please check your plan.", "insufficient_quota"
        )

    def _refused(self, status: int, message: str, kind: str = "") -> Reply:
        error = {
            "message": message,
            "type": kind or _TYPES.get(status, "internal_server_error"),
            "code": status,
        }
        return Reply(status=status, data={"error": error})

    def _completion(self, body: dict[str, Any], *, empty: bool) -> Reply:
        messages = body.get("messages")
        if not body.get("model") or not isinstance(messages, list) or not messages:
            return self._refused(400, "model and messages are required")
        if body.get("stream"):
            return self._refused(400, "this simulator does not stream")
        asked = str(messages[-1].get("content", "")) if isinstance(messages[-1], dict) else ""
        found = [] if empty else _found(asked, 4)
        text = _text(asked, found)
        prompt = max(1, math.ceil(sum(len(str(each)) for each in messages) / 4))
        completion = max(1, math.ceil(len(text) / 4))
        return Reply(
            data={
                "id": f"sim-{chance_of(asked).getrandbits(64):016x}",
                "model": body["model"],
                "created": 1_795_000_000,
                "usage": {
                    "prompt_tokens": prompt,
                    "completion_tokens": completion,
                    "total_tokens": prompt + completion,
                    "search_context_size": "low",
                },
                "citations": [each["url"] for each in found],
                "search_results": found,
                "object": "chat.completion",
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": text},
                        "delta": {"role": "assistant", "content": ""},
                    }
                ],
            }
        )

    def _search(self, body: dict[str, Any], *, empty: bool) -> Reply:
        asked = body.get("query")
        if not asked or not isinstance(asked, str | list):
            return self._refused(422, "query: Field required")
        most = body.get("max_results", 10)
        if not isinstance(most, int) or not 1 <= most <= 20:
            return self._refused(422, "max_results: Input should be between 1 and 20")
        found = [] if empty else _found(str(asked), min(most, 6))
        return Reply(data={"results": found, "id": f"sim-{chance_of(str(asked)).getrandbits(64):016x}"})


def _found(asked: str, count: int) -> list[dict[str, Any]]:
    chance = chance_of(f"perplexity\0{asked}")
    found: list[dict[str, Any]] = []
    for number in range(count):
        day = day_of(chance)
        found.append(
            {
                "title": f"Reportagem {number + 1}: como as pessoas decidem",
                "url": f"https://{chance.choice(_PLACES)}/{day.year}/{chance.getrandbits(24):06x}",
                "date": day.isoformat(),
                "last_updated": day.isoformat(),
                "snippet": f"Segundo a reportagem, o público {opinion_of(chance, 1)[0]}.",
            }
        )
    return found


def _text(asked: str, found: list[dict[str, Any]]) -> str:
    if not found:
        return "Não encontrei fontes públicas sobre isso."
    sentences = opinion_of(chance_of(asked), 3)
    return " ".join(f"Fontes públicas dizem que {each} [{n}]." for n, each in enumerate(sentences, start=1))
