"""The tables of a ledger in PostgreSQL and their statements.

A row of ``llm_ledger`` carries the id of its request: writing it again after an unknown outcome changes nothing.
"""

from __future__ import annotations

from typing import Final

__all__ = ["HOLD", "LOCK", "RELEASE", "REPORT", "SCHEMA", "SETTLE", "USED"]

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS llm_ledger (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    day date NOT NULL,
    caller text NOT NULL,
    model text NOT NULL,
    provider text NOT NULL,
    outcome text NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cache_creation_input_tokens bigint NOT NULL,
    cache_read_input_tokens bigint NOT NULL,
    cost double precision
);
ALTER TABLE llm_ledger ADD COLUMN IF NOT EXISTS request uuid;
CREATE UNIQUE INDEX IF NOT EXISTS llm_ledger_request ON llm_ledger (request);
CREATE INDEX IF NOT EXISTS llm_ledger_caller_day ON llm_ledger (caller, day);
CREATE TABLE IF NOT EXISTS llm_ledger_reserved (
    id uuid PRIMARY KEY,
    caller text NOT NULL,
    day date NOT NULL,
    amount double precision NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS llm_ledger_reserved_caller_day ON llm_ledger_reserved (caller, day);
"""
"""The tables of a ledger in PostgreSQL; ``Ledger.create_tables`` makes them."""

LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('llm_ledger ' || $1, 0))"
USED: Final = """
SELECT coalesce((SELECT sum(cost) FROM llm_ledger WHERE caller = $1 AND day = $2), 0)
     + coalesce((SELECT sum(amount) FROM llm_ledger_reserved
                 WHERE caller = $1 AND day = $2 AND expires_at > now()), 0)
"""
HOLD: Final = """
INSERT INTO llm_ledger_reserved (id, caller, day, amount, expires_at)
VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5))
"""
SETTLE: Final = """
WITH gone AS (DELETE FROM llm_ledger_reserved WHERE id = $1)
INSERT INTO llm_ledger (request, day, caller, model, provider, outcome, input_tokens, output_tokens,
                        cache_creation_input_tokens, cache_read_input_tokens, cost)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (request) DO NOTHING
"""
RELEASE: Final = "DELETE FROM llm_ledger_reserved WHERE id = $1"
REPORT: Final = """
SELECT day, caller, model, count(*) AS requests, sum(input_tokens)::bigint, sum(output_tokens)::bigint,
       sum(cache_creation_input_tokens)::bigint, sum(cache_read_input_tokens)::bigint, coalesce(sum(cost), 0)
FROM llm_ledger WHERE day >= $1 GROUP BY day, caller, model
"""
_EXPIRY: Final = 3600.0  # seconds after which the reservation of a killed process counts no more
