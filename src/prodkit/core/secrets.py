"""How parts accept a secret: as plain text, or as anything that shows it only when asked."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = ["Revealable", "reveal"]


@runtime_checkable
class Revealable(Protocol):
    """A value whose ``repr`` and ``str`` hide it, such as ``env.Secret`` or ``env.PostgresUrl``."""

    def reveal(self) -> str:
        """The value itself."""
        ...


def reveal(value: str | Revealable) -> str:
    """The text of `value`, whether it is hidden or not."""
    return value if isinstance(value, str) else value.reveal()
