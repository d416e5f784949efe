"""Long lists in pages: the newest first, older ones behind a link."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from starlette.requests import Request

from advisory.store.cursor import Cursor

__all__ = ["SIZE", "Paging", "cursor_of", "number_of", "page_of"]

T = TypeVar("T")
SIZE: Final = 30
_MOST: Final = 1000


def number_of(request: Request) -> int:
    """The page that the address names, from 1; the first one for anything else."""
    text = request.query_params.get("pagina", "")
    return min(max(int(text), 1), _MOST) if text.isascii() and text.isdigit() and len(text) < 10 else 1


def cursor_of(request: Request) -> Cursor | None:
    """The entry behind which (``depois``) or before which (``antes``) the page begins; None for the first page."""
    found = Cursor.read(request.query_params.get("depois", ""))
    return found or Cursor.read(request.query_params.get("antes", ""), newer=True)


@dataclass(frozen=True, slots=True)
class Paging(Generic[T]):
    """One page of a list.

    Args:
        number: of the page, from 1.
        found: the entries from this page on, one more than it shows where there are more.
        by: the entries' attribute by which the list is sorted.
        cursor: the entry from which this page was asked for.
    """

    number: int
    found: Sequence[T]
    by: str = "created_at"
    cursor: Cursor | None = None

    @property
    def entries(self) -> Sequence[T]:
        """The entries of this page, the newest first."""
        shown = self.found[:SIZE]
        return shown[::-1] if self._newer else shown

    @property
    def more(self) -> bool:
        """True when there is another page of older entries."""
        return self._newer or len(self.found) > SIZE

    @property
    def following(self) -> str:
        """The query of the page of older entries."""
        return f"pagina={self.number + 1}&depois={self._at(-1)}"

    @property
    def preceding(self) -> str:
        """The query of the page of newer entries. The first page is the newest, whatever has been added since."""
        if self.number == 2 or not self.entries:
            return f"pagina={self.number - 1}"
        return f"pagina={self.number - 1}&antes={self._at(0)}"

    @property
    def results(self) -> str:
        """``3 resultados``, as far as it is known."""
        count = (self.number - 1) * SIZE + len(self.entries)
        if self.more:
            return f"Mais de {count} resultados"
        return "1 resultado" if count == 1 else f"{count} resultados"

    @property
    def _newer(self) -> bool:
        return self.cursor is not None and self.cursor.newer

    def _at(self, index: int) -> Cursor:
        entry = self.entries[index]
        return Cursor(getattr(entry, self.by), entry.id)  # type: ignore[attr-defined]  # runs and conversations have one


async def page_of(
    request: Request, read: Callable[..., Awaitable[list[T]]], *, by: str = "created_at", **wanted: object
) -> Paging[T]:
    """The page that the address asks for, by its cursor; an address without one counts pages.

    Args:
        request: the request.
        read: a store's history.
        by: the attribute by which it is sorted.
        wanted: its other arguments.
    """
    number, cursor = number_of(request), cursor_of(request)
    skip = 0 if cursor is not None else (number - 1) * SIZE
    found = await read(limit=SIZE + 1, skip=skip, cursor=cursor, **wanted)
    return Paging(number, found, by, cursor)
