"""Private attributes of anthropic, all in one place, read from its versions 2.12.0 and 2.13.0.

``tests/contracts/test_anthropic_internals.py`` runs against the installed version and fails where one has changed.
Nothing is imported from anthropic here: this module is loaded before the SDK is.
"""

from __future__ import annotations

import logging
from typing import Any, Final

__all__ = ["client_behind", "hold_back_prompts", "observe", "response_parts"]

_LOGGER: Final = "anthropic._base_client"


def http_client_of(sdk: Any) -> Any:
    """Return the HTTP client of an SDK client, None where it cannot be found."""
    return getattr(sdk, "_client", None)


class _Trace:
    """Learns whether a request opened its connection or took one that was kept alive.

    It is the ``trace`` extension of httpcore, called as the request proceeds.
    """

    reused = True

    async def __call__(self, name: str, info: Any) -> None:
        if name.startswith("connection.connect_"):
            self.reused = False


class _SyncTrace:
    """The same for a synchronous client."""

    reused = True

    def __call__(self, name: str, info: Any) -> None:
        if name.startswith("connection.connect_"):
            self.reused = False


async def _trace(request: Any) -> None:
    request.extensions.setdefault("trace", _Trace())


def _sync_trace(request: Any) -> None:
    request.extensions.setdefault("trace", _SyncTrace())


def observe(sdk: Any, *, sync: bool = False) -> None:
    """Mark the requests of an SDK client, so that a failure shows whether its connection was reused.

    Uses the public event hooks of the HTTP client; a client that has none is left alone.

    Args:
        sdk: the SDK client.
        sync: it is a synchronous one.
    """
    hooks = getattr(http_client_of(sdk), "event_hooks", None)
    trace = _sync_trace if sync else _trace
    if isinstance(hooks, dict) and trace not in hooks.get("request", []):
        http_client_of(sdk).event_hooks = {**hooks, "request": [*hooks.get("request", []), trace]}


class _HoldBack(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Request options")


_FILTER: Final = _HoldBack()


def hold_back_prompts() -> None:
    """Drop the DEBUG record of the SDK that holds the whole request, prompt included."""
    logging.getLogger(_LOGGER).addFilter(_FILTER)


def client_behind(call_next: Any, depth: int = 8) -> Any:
    """Return the SDK client at the end of a middleware chain, None where it cannot be found.

    The SDK does not say whose request a middleware handles; the closures of `call_next` do.
    """
    for _ in range(depth):
        following = None
        for cell in getattr(call_next, "__closure__", None) or ():
            value = cell.cell_contents
            if hasattr(value, "max_retries") and hasattr(value, "base_url"):
                return value
            if callable(value) and hasattr(value, "__closure__"):
                following = value
        if following is None:
            return None
        call_next = following
    return None


def response_parts(response: Any) -> dict[str, Any]:
    """Return what a second response of the SDK needs of the first: type, client, stream class, options."""
    return {
        "cast_to": response._cast_to,
        "client": response._client,
        "stream_cls": response._stream_cls,
        "options": response._options,
        "retries_taken": response.retries_taken,
    }
