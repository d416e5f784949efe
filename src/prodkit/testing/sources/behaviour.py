"""The behaviour of a simulated source towards one request, as a value and as a short name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from prodkit.testing.behaviours import changed_fields, read_behaviour

__all__ = ["KINDS", "Behaviour", "BehaviourLike"]

KINDS: Final = frozenset(
    (
        "ok",
        "status",  # an error in the source's own shape, with `status`, `retry_after`, `headers`
        "quota",  # the source's own refusal of a client that has used up its quota
        "html",  # an HTML page with `status`, as proxies send
        "bad_json",  # status 200 and half a JSON
        "other_shape",  # status 200 and JSON without what the documentation promises
        "body",  # status 200 and the JSON text `body`, as it is
        "empty",  # a search without results
        "short_body",  # content-length promises more than is sent
        "reset",  # the connection is reset before any byte of the answer
        "mid_reset",  # the connection is reset in the middle of the body
        "hang",  # nothing is ever answered
        "drip",  # the body in 20 pieces, `seconds` apart
    )
)

_SHORT: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    (r"status-(?P<status>\d+)", {"kind": "status"}),
    (r"(?P<status>[45]\d\d)", {"kind": "status"}),
    (r"ra-(?P<retry_after>.+)", {"kind": "status", "status": 429}),
    (r"html-?(?P<status>\d+)", {"kind": "html"}),
    (r"bad-?json", {"kind": "bad_json"}),
    (r"other-?shape", {"kind": "other_shape"}),
    (r"short-?body", {"kind": "short_body"}),
    (r"rst-?0", {"kind": "reset"}),
    (r"mid-?rst", {"kind": "mid_reset"}),
    (r"drip-(?P<seconds>[\d.]+)", {"kind": "drip"}),
    (r"slow-(?P<seconds>[\d.]+)", {"kind": "ok"}),
)

_NUMBERS: Final = {"status": int, "seconds": float}


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """The behaviour towards one request.

    Args:
        kind: the fault, see the table in docs/reference/testing-sources.md.
        status: the HTTP status of ``status`` and ``html``.
        retry_after: the ``retry-after`` header, as it is sent.
        headers: further response headers.
        body: the whole body of the kind ``body``.
        seconds: the wait before the first byte of the answer; the distance of the pieces for ``drip``.
    """

    kind: str = "ok"
    status: int = 200
    retry_after: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown behaviour {self.kind!r}; known are {', '.join(sorted(KINDS))}")
        if self.kind == "status" and not 400 <= self.status <= 599:
            raise ValueError(f"behaviour 'status' needs an error status, got {self.status!r}")
        if self.seconds < 0:
            raise ValueError(f"seconds must not be negative, got {self.seconds!r}")

    @classmethod
    def of(cls, value: BehaviourLike) -> Behaviour:
        """Return `value` as a behaviour: one already, its fields as a mapping, or a short name such as ``"503"``.

        Short names: any kind but ``status``, ``status-503`` or ``503``, ``ra-30`` (429 with that retry-after),
        ``html200``, ``html502``, ``badjson``, ``othershape``, ``shortbody``, ``rst0``, ``midrst``, ``drip-0.5``,
        ``slow-2.5``.

        Args:
            value: what stands for a behaviour.
        """
        if isinstance(value, Behaviour):
            return value
        return read_behaviour(cls, value, short=_SHORT, kinds=KINDS, numbers=_NUMBERS)

    def as_json(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults."""
        return changed_fields(self, _PLAIN)


BehaviourLike: TypeAlias = Behaviour | Mapping[str, Any] | str

_PLAIN: Final = Behaviour()
