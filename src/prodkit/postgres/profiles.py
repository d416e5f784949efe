"""Sizes of a pool that are known to be sensible, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DEVELOPMENT", "PRODUCTION", "Profile"]


@dataclass(frozen=True, slots=True)
class Profile:
    """How many connections a pool keeps, and how many it may open."""

    min_size: int
    max_size: int

    @classmethod
    def of(cls, environment: str) -> Profile:
        """The profile for ``development``, ``test``, ``staging`` or ``production``."""
        return PRODUCTION if environment in ("staging", "production") else DEVELOPMENT


DEVELOPMENT: Final = Profile(5, 20)
"""What the service that prodkit was made for asked for on a laptop."""

PRODUCTION: Final = Profile(10, 50)
"""What the same service asked for in production. A pool past about ten connections a core slows a server down, so
add up ``max_size`` × workers × replicas before raising it."""
