"""How long answers stay, for the application that prodkit was made for."""

from __future__ import annotations

from typing import Final

__all__ = ["COUNCIL_TTL", "PERSONA_TTL"]

COUNCIL_TTL: Final = 3600.0
"""An answer of the council: the same question within the hour is not asked again."""
PERSONA_TTL: Final = 86400.0
"""An enriched persona: its sources change from day to day, not from hour to hour."""
