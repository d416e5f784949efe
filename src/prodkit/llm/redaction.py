"""Clean the API's sentence about a bad request of everything that it quotes from the request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["clean"]

_WORD: Final = re.compile(r"[^\s\"'`:,;()\[\]{}<>]{3,}")
_SAFE: Final = frozenset(
    re.findall(
        r"\w+",
        "the and not this that with for must should model models field required input request requests message "
        "messages conversation end user assistant role content text system tools tool max_tokens temperature "
        "thinking support supported does invalid block blocks signature prompt too long prefill greater than equal",
    )
)


def clean(detail: str, params: Mapping[str, Any], key: str = "") -> str:
    """Return `detail` with every word masked that also stands in a text of the request, common API words aside.

    Args:
        detail: the message to clean; only its first 200 characters are kept.
        params: the body of the request.
        key: the API key.
    """
    if not detail:
        return ""
    spoken = "\n".join(_texts({name: value for name, value in params.items() if name != "model"}))

    def masked(found: re.Match[str]) -> str:
        word = found.group()
        if word.lower() in _SAFE:
            return word
        bare = word.strip(".!?")
        return "…" if bare in spoken or (key and (bare in key or key in bare)) else word

    return _WORD.sub(masked, detail[:200])


def _texts(value: Any) -> Iterator[str]:
    if hasattr(value, "model_dump"):  # blocks of an earlier answer, as the SDK gives them
        value = value.model_dump()
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
