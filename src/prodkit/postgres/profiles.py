"""Sizes of a pool for each environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DEVELOPMENT", "PRODUCTION", "Profile"]

_NAMES: Final = {
    "development": "development",
    "dev": "development",
    "local": "development",
    "test": "development",
    "testing": "development",
    "ci": "development",
    "staging": "production",
    "stage": "production",
    "production": "production",
    "prod": "production",
    "live": "production",
}


@dataclass(frozen=True, slots=True)
class Profile:
    """The sizes of a pool.

    Args:
        min_size: connections that the pool keeps open.
        max_size: connections that it may open.
    """

    min_size: int
    max_size: int

    @classmethod
    def of(cls, environment: str) -> Profile:
        """Return the profile of an environment.

        Args:
            environment: ``development``, ``test``, ``staging`` or ``production``, or one of their usual short forms,
                in any case.

        Raises:
            ValueError: the name is not known.
        """
        known = _NAMES.get(str(environment).strip().lower())
        if known is None:
            raise ValueError(
                f"environment must be one of development, test, staging and production, got {environment!r}"
            )
        return PRODUCTION if known == "production" else DEVELOPMENT


DEVELOPMENT: Final = Profile(5, 20)
"""The sizes that the first service on prodkit asked for on a laptop."""

PRODUCTION: Final = Profile(10, 50)
"""The sizes that the same service asked for in production. Past about ten connections a core of the server a pool
makes it slower: give ``fleet=`` (workers × replicas), so that the sum is compared with the server's slots."""
