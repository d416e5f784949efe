"""Limits on what a visitor may do, with a page that says when to come back.

Asking the council, enriching a persona and cloning an expert cost money, so each has a limit a user; registration,
login and uploads use the library's presets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from starlette.requests import Request

from advisory.services import services
from advisory.store.refunds import Refunds
from prodkit import ratelimit
from prodkit.errors import ProdkitError

__all__ = [
    "AUTO_CLONE",
    "CHAT",
    "COUNCIL",
    "ENRICHMENT",
    "RECOVERY",
    "RECOVERY_IP",
    "SOURCE_AGAIN",
    "TRIAL",
    "PausedError",
    "TooManyError",
    "Use",
    "ready",
    "spending",
    "take",
]

COUNCIL: Final = ratelimit.Limit(
    "10/hour",
    name="council",
    texts={
        "pt-BR": "Você atingiu o limite de consultas ao conselho.",
        "en": "You have reached the limit of council questions.",
    },
)
ENRICHMENT: Final = ratelimit.Limit(
    "3/day",
    name="enrichment",
    texts={
        "pt-BR": "Você atingiu o limite de enriquecimentos de persona.",
        "en": "You have reached the limit of persona enrichments.",
    },
)
AUTO_CLONE: Final = ratelimit.Limit(
    "5/day",
    name="auto-clone",
    texts={
        "pt-BR": "Você atingiu o limite de clones automáticos.",
        "en": "You have reached the limit of automatic clones.",
    },
)
SOURCE_AGAIN: Final = ratelimit.Limit(
    "10/hour",
    name="source-again",
    texts={
        "pt-BR": "Você atingiu o limite de novas tentativas de fontes.",
        "en": "You have reached the limit of repeated sources.",
    },
)
TRIAL: Final = ratelimit.Limit(
    "20/hour",
    name="trial",
    texts={
        "pt-BR": "Você atingiu o limite de experimentos com especialistas.",
        "en": "You have reached the limit of trials.",
    },
)
CHAT: Final = ratelimit.Limit(
    "60/hour",
    name="chat",
    texts={
        "pt-BR": "Você atingiu o limite de perguntas em conversas.",
        "en": "You have reached the limit of questions in conversations.",
    },
)
RECOVERY: Final = ratelimit.Limit(
    "3/hour",
    name="recovery",
    texts={
        "pt-BR": "Você já pediu a recuperação desta senha algumas vezes.",
        "en": "You have asked to recover this password a few times.",
    },
)
"""Links to one address, whether it has an account or not."""
RECOVERY_IP: Final = ratelimit.Limit("10/hour", name="recovery-ip")


class TooManyError(Exception):
    """A limit was reached; the handler answers 429 with the decision's wait, or 503 without a counter."""

    def __init__(self, decision: ratelimit.Decision) -> None:
        super().__init__("limit reached")
        self.decision = decision


class PausedError(Exception):
    """Every model's breaker is open: nothing was asked, and nothing is counted against the user's limits."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("the models are paused")
        self.retry_after = retry_after


async def ready(request: Request) -> None:
    """Raise PausedError while every model's breaker is open, so that a refused council costs no quota."""
    result = await services(request).claude.check()
    if result.status == "down":
        raise PausedError(waiting(result.details))


def waiting(details: Mapping[str, Any]) -> float:
    """Seconds until the first breaker lets a call through."""
    waits = [float(each) for each in details["retry_after"].values() if each is not None]
    return max(1.0, min(waits, default=30.0))


async def take(request: Request, *limits: tuple[ratelimit.Limit, str]) -> ratelimit.Decision:
    """Counts one use of each limit, or none of them and raises TooManyError."""
    decision = await services(request).limiter.check(*limits)
    if not decision.allowed:
        raise TooManyError(decision)
    return decision


class Use:
    """One use of a limit, for the block that asks."""

    def __init__(self) -> None:
        self.kept = True

    def give_back(self) -> None:
        """Nothing was asked after all."""
        self.kept = False


@asynccontextmanager
async def spending(
    request: Request, limit: ratelimit.Limit, owner_id: int, refunds: Refunds | None = None
) -> AsyncIterator[Use]:
    """Count one use of `limit` for a block that asks; a refund of an earlier outage pays for it where there is one.

    While every model is paused, nothing is counted and the block does not run. A block that raises costs nothing.
    """
    await ready(request)
    paid = await refunds.take(owner_id) if refunds is not None else None
    decision = None if paid is not None else await take(request, (limit, str(owner_id)))
    use = Use()
    try:
        yield use
    except BaseException:
        use.give_back()
        raise
    finally:
        if not use.kept:
            with suppress(ProdkitError):  # the reason why it is given back may be that the database is away
                if decision is not None:
                    await services(request).limiter.refund(decision)
                elif refunds is not None and paid is not None:
                    await refunds.put_back(paid)
