"""The console's sections that show the present: policies with their settings, and the queue of jobs. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from prodkit.web import console_parts as parts
from prodkit.web.console_records import text

__all__ = ["HasSnapshot", "Policies", "jobs_section", "policies_section"]


class Policies(Protocol):
    """A set of named policies, such as ``pk.PolicySet``."""

    def snapshot(self) -> Mapping[str, Sequence[Any]]:
        """Return one ``PolicySnapshot`` for each policy, outermost first, by pipeline."""
        ...


class HasSnapshot(Protocol):
    """A queue that shows itself, such as ``jobs.Runs``."""

    async def snapshot(self, *, limit: int = 20) -> Any:
        """Return the queue in numbers and its unfinished runs, without arguments and results."""
        ...


def policies_section(sets: Sequence[Policies]) -> str:
    """Return the section of the policies in force, or an empty text.

    Args:
        sets: the policy sets.
    """
    rows = [
        _policy("" if place else pipeline, policy)
        for each in sets
        for pipeline, policies in _read(each).items()
        for place, policy in enumerate(policies)
    ]
    heads = ("pipeline", "policy", "state", "settings", "now")
    return parts.section("Policies", parts.table(heads, rows)) if rows else ""


def _read(policies: Policies) -> Mapping[str, Sequence[Any]]:
    """Return the set's snapshot; none while it fails, because a policy may ask a function of the service."""
    try:
        return policies.snapshot()
    except Exception:  # noqa: BLE001 - whatever that function raises: the page is needed most then
        return {f"{policies!r} could not be read": (None,)}


def _policy(pipeline: str, policy: Any) -> list[object]:
    if policy is None:
        return [pipeline, "", "", "", ""]
    refusing = policy.type == "RetryAfterGate" and policy.state == "closed"
    settings = ", ".join(f"{name}={value}" for name, value in policy.settings.items())
    figures = ", ".join(
        f"{name}={_figure(value)}" for name, value in policy.figures.items() if value is not None
    )
    state = parts.state(policy.state, "bad" if refusing else "") if policy.state else ""
    return [pipeline, f"{policy.kind} {policy.name}".strip(), state, settings, figures]


def _figure(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def jobs_section(found: Any) -> str:
    """Return the section of the queue.

    Args:
        found: a ``jobs.Snapshot``, or None while the queue cannot be read.
    """
    if found is None:
        return parts.section("Jobs", "<p>The queue could not be read.</p>")
    stats = found.stats
    heads = ("job", "queued", "due", "running", "waiting", "dead", "ended, 1 min", "oldest due")
    names = ("queued", "due", "running", "waiting", "dead")
    rows: list[list[object]] = [
        [each.kind, *(getattr(each, name) for name in names), each.ended, _age(each.oldest_due)]
        for each in found.kinds
    ]
    rows.append(
        [
            "all",
            *(getattr(stats, name) for name in names),
            sum(each.ended for each in found.kinds),
            _age(stats.oldest_due),
        ]
    )
    workers = f"<p>{stats.workers} workers hold runs.</p>"
    runs: list[list[object]] = [
        [
            parts.state(each.status),
            each.kind,
            f"{str(each.id)[:8]}…",
            each.attempts,
            each.due_at.strftime("%H:%M:%S"),
            text(each.error),
        ]
        for group in (found.dead, found.running, found.waiting)
        for each in group
    ]
    return parts.section(
        "Jobs",
        workers,
        parts.table(heads, rows, numbers=range(1, 8)),
        parts.table(("run", "job", "id", "failed attempts", "due", "last error"), runs, numbers={3}),
    )


def _age(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds > 0 else "–"
