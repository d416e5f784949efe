"""Tokens, cost and time by step. A step that is made again (a seat that is retried) adds to what it has cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from advisory.council.model import Spend

if TYPE_CHECKING:
    from prodkit.postgres.checkout import Connection

__all__ = ["SPEND_COLUMNS", "record", "spend_from"]

SPEND_COLUMNS = "step, model, input_tokens, output_tokens, cost, seconds"


def spend_from(row: Any) -> Spend:
    return Spend(**dict(row))


async def record(tx: Connection, run_id: UUID, spend: Spend) -> None:
    """Add the costs of a step in the transaction that records its result."""
    await tx.execute(
        """insert into spends (run_id, step, model, input_tokens, output_tokens, cost, seconds)
           values ($1, $2, $3, $4, $5, $6, $7)
           on conflict (run_id, step) do update set
               model = case when excluded.model = '' then spends.model else excluded.model end,
               input_tokens = spends.input_tokens + excluded.input_tokens,
               output_tokens = spends.output_tokens + excluded.output_tokens,
               cost = spends.cost + excluded.cost, seconds = spends.seconds + excluded.seconds""",
        run_id,
        spend.step,
        spend.model,
        spend.input_tokens,
        spend.output_tokens,
        spend.cost,
        spend.seconds,
    )
