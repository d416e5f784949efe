"""Long lists in pages: the newest first, older ones behind a link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from starlette.requests import Request

__all__ = ["SIZE", "Paging", "number_of"]

T = TypeVar("T")
SIZE: Final = 30
_MOST: Final = 1000


def number_of(request: Request) -> int:
    """The page that the address names, from 1; the first one for anything else."""
    text = request.query_params.get("pagina", "")
    return min(max(int(text), 1), _MOST) if text.isascii() and text.isdigit() and len(text) < 10 else 1


@dataclass(frozen=True, slots=True)
class Paging(Generic[T]):
    """One page of a list.

    Args:
        number: of the page, from 1.
        found: the entries from this page on, one more than it shows where there are more.
    """

    number: int
    found: Sequence[T]

    @property
    def entries(self) -> Sequence[T]:
        """The entries of this page."""
        return self.found[:SIZE]

    @property
    def more(self) -> bool:
        """True when there is another page."""
        return len(self.found) > SIZE

    @property
    def results(self) -> str:
        """``3 resultados``, as far as it is known."""
        count = (self.number - 1) * SIZE + len(self.entries)
        if self.more:
            return f"Mais de {count} resultados"
        return "1 resultado" if count == 1 else f"{count} resultados"
