"""Web search: Perplexity's chat completions, whose answers cite pages with dates."""

from __future__ import annotations

import json
from typing import Any, Final

import httpx

from advisory.research.model import Item
from advisory.sources.client import Guarded, number
from advisory.sources.errors import SourceError

__all__ = ["LIMIT", "judge", "search_web"]

LIMIT: Final = 60.0
_SYSTEM: Final = (
    "Responda em português do Brasil, em até 200 palavras, só com fatos de fontes públicas, cada um com a sua citação. "
    "Nada de vida privada. Se não houver fontes, diga isso."
)


async def search_web(client: Guarded, query: str) -> dict[str, Any]:
    """A text and its citations: ``{"text": …, "items": […]}``."""
    answer = await client.search(
        "/chat/completions",
        {
            "model": "sonar",
            "max_tokens": 700,
            "messages": [
                {"role": "system", "content": _SYSTEM},
                {"role": "user", "content": f"O que as fontes públicas dizem sobre: {query}"},
            ],
        },
        within=LIMIT,
    )
    try:
        text = answer["choices"][0]["message"]["content"]
        if not isinstance(text, str):
            raise SourceError("shape")
        items = [
            Item(title=str(each["title"]), url=str(each["url"]), date=str(each.get("date") or ""))
            for each in answer.get("search_results") or []
        ] or [Item(title=str(url), url=str(url)) for url in answer.get("citations") or []]
    except (KeyError, IndexError, TypeError, AttributeError):
        raise SourceError("shape") from None
    if not items:  # an answer without a source is the model's opinion
        raise SourceError("nothing")
    return {"text": text, "items": items}


def judge(response: httpx.Response, body: bytes) -> SourceError:
    """Perplexity's errors: 401 stands for a wrong key and for used-up credits, distinguished by the type."""
    status = response.status_code
    if status == 429:
        return SourceError("busy", retry_after=number(response.headers.get("retry-after")))
    if status in (401, 402, 403):
        return SourceError("quota" if status == 402 or _type(body) == "insufficient_quota" else "credential")
    return SourceError("down" if status >= 500 else "refused")


def _type(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["type"])
    except (ValueError, KeyError, TypeError):
        return ""
