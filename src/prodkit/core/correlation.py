"""Names that follow a request across parts and processes: its id and its trace context.

The web middleware sets them, logs show them, ``prodkit.http`` sends them on.
"""

from __future__ import annotations

import re
import secrets
import sys
from contextvars import ContextVar
from typing import Final

__all__ = ["next_traceparent", "request_id", "traceparent"]

request_id: Final[ContextVar[str | None]] = ContextVar("prodkit_request_id", default=None)
"""The id of the request being served here, or None; tasks started by the request inherit it."""

traceparent: Final[ContextVar[str | None]] = ContextVar("prodkit_traceparent", default=None)
"""The W3C trace context that the request brought, or None."""

_VALID: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})\Z")


def next_traceparent() -> str:
    """Return the ``traceparent`` for a request that is sent now (W3C Trace Context, level 1).

    The current OpenTelemetry span is the parent, where that library is in use; else the trace of the request being
    served goes on with a new parent id; else a new trace begins, unsampled.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None:
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}"
    if (found := _VALID.match(traceparent.get() or "")) is not None:
        return f"00-{found[1]}-{secrets.token_hex(8)}-{found[3]}"
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
