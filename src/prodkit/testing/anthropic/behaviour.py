"""The behaviour of the simulated Messages API towards one request, as a value and as a short name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from prodkit.testing.anthropic.personalities import PERSONALITIES
from prodkit.testing.behaviours import changed_fields, read_behaviour

__all__ = ["ERROR_TYPES", "Behaviour", "BehaviourLike"]

ERROR_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""The ``error.type`` that the API sends with a status."""

KINDS: Final = frozenset(
    (
        "ok",
        "status",  # an error body with `status`, `error_type`, `error_code`, `retry_after`, `headers`
        "html",  # an HTML page with `status`, as proxies and captive portals send
        "bad_json",  # status 200 and a body that is not JSON
        "error_200",  # status 200 and an error object as the body
        "short_body",  # content-length promises more than is sent
        "reset",  # the connection is reset before any byte of the answer
        "hang",  # nothing is ever answered
        "sse_error",  # a stream whose event number `after` is `event: error` (0: before message_start)
        "mid_reset",  # a stream that is reset after `after` deltas
        "mid_cut",  # a stream whose chunked body ends without its last chunk
        "mid_eof",  # a stream that ends cleanly after `after` deltas, without message_stop
        "no_stop",  # everything but message_stop
        "mid_bad_json",  # an event whose data is not JSON
        "mid_stall",  # silence after `after` deltas
        "mid_stall_pings",  # only pings after `after` deltas
        "ping_only",  # message_start, then pings for ever
        "comment_only",  # SSE comments for ever
        "data_only",  # events without an `event:` line
        "drip",  # the answer, a byte at a time, `seconds` apart
        "empty_stream",  # status 200, event-stream, no event at all
        "json_stream",  # a whole JSON message where a stream was asked for
        "no_usage",  # a message without `usage`
        "no_content",  # a message whose content is null
        "refusal",  # stop_reason refusal, no content
        "sse",  # the stream `sse`, byte for byte
        "no_range",  # a file is sent from its beginning where a part of it was asked for
        "chunked",  # a file without a content-length
    )
)

_SHORT: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    (r"status-(?P<status>\d+)", {"kind": "status"}),
    (r"(?P<status>[45]\d\d)", {"kind": "status"}),
    (r"overloaded", {"kind": "status", "status": 529}),
    (r"rate-limited", {"kind": "status", "status": 429}),
    (r"ra-(?P<retry_after>.+)", {"kind": "status", "status": 429}),
    (r"spend", {"kind": "status", "status": 429, "error_code": "enforced_spend_limit_reached"}),
    (r"html-?(?P<status>\d+)", {"kind": "html"}),
    (r"bad-?json", {"kind": "bad_json"}),
    (r"err-?200", {"kind": "error_200"}),
    (r"short-?body", {"kind": "short_body"}),
    (r"rst-?0", {"kind": "reset"}),
    (r"err-?1", {"kind": "sse_error", "after": 0}),
    (r"mid-?err-(?P<error_type>[a-z_]+)", {"kind": "sse_error"}),
    (r"mid-?err", {"kind": "sse_error"}),
    (r"mid-?rst", {"kind": "mid_reset"}),
    (r"mid-?eof", {"kind": "mid_cut"}),
    (r"mid-?clean", {"kind": "mid_eof"}),
    (r"bad-?sse", {"kind": "mid_bad_json"}),
    (r"stall", {"kind": "mid_stall"}),
    (r"ping-?stall", {"kind": "mid_stall_pings"}),
    (r"ping-?only", {"kind": "ping_only"}),
    (r"slow-(?P<seconds>[\d.]+)", {"kind": "ok"}),
    (r"words-(?P<words>\d+)", {"kind": "ok"}),
    (r"continue-(?P<continuation>[a-z_]+)", {"kind": "ok"}),
)

_NUMBERS: Final = {"status": int, "seconds": float, "words": int}


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """The behaviour towards one request.

    Args:
        kind: the fault, see the table in docs/reference/testing-anthropic.md.
        status: the HTTP status of an error.
        error_type: the ``error.type`` of an error body; by default that of the status.
        error_code: the ``error.details.error_code``.
        message: the ``error.message``.
        retry_after: the ``retry-after`` header, as it is sent.
        headers: further response headers.
        after: text deltas that are sent before the fault; half of them when None.
        seconds: the wait before the first byte of the answer; the distance of bytes for ``drip``.
        delay: seconds between deltas; None is the simulator's own.
        text: the text of the answer.
        words: an answer of so many words that never repeat.
        content: the content blocks of the answer.
        stop_reason: the stop reason of the answer.
        continuation: how a cut answer is continued, one of ``PERSONALITIES``; "" is the simulator's own.
        sse: the whole stream of the kind ``sse``.
    """

    kind: str = "ok"
    status: int = 200
    error_type: str = ""
    error_code: str = ""
    message: str = ""
    retry_after: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    after: int | None = None
    seconds: float = 0.0
    delay: float | None = None
    text: str | None = None
    words: int | None = None
    content: list[dict[str, Any]] | None = None
    stop_reason: str = ""
    continuation: str = ""
    sse: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown behaviour {self.kind!r}; known are {', '.join(sorted(KINDS))}")
        if self.kind == "status" and not 400 <= self.status <= 599:
            raise ValueError(f"behaviour 'status' needs an error status, got {self.status!r}")
        if self.continuation and self.continuation not in PERSONALITIES:
            raise ValueError(
                f"unknown continuation {self.continuation!r}; known are {', '.join(PERSONALITIES)}"
            )

    @classmethod
    def of(cls, value: BehaviourLike) -> Behaviour:
        """Return `value` as a behaviour: one already, its fields as a mapping, or a short name such as ``"529"``.

        Short names: ``ok``, any kind, ``status-529`` or ``529``, ``overloaded``, ``rate-limited``, ``ra-120`` (429
        with that retry-after), ``spend``, ``html200``, ``html502``, ``badjson``, ``err200``, ``shortbody``,
        ``rst0``, ``err1``, ``miderr``, ``miderr-api_error``, ``midrst``, ``mideof``, ``midclean``, ``badsse``,
        ``stall``, ``pingstall``, ``pingonly``, ``slow-2.5``, ``words-200``, ``continue-more``.
        """
        if isinstance(value, Behaviour):
            return value
        return read_behaviour(cls, value, short=_SHORT, kinds=KINDS, numbers=_NUMBERS)

    def as_json(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults."""
        return changed_fields(self, _PLAIN)


BehaviourLike: TypeAlias = Behaviour | Mapping[str, Any] | str

_PLAIN: Final = Behaviour()
