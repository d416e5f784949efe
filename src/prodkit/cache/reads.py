"""Reads of Redis in flight, and the changes since they began.

Changes are numbered. A reply to a read that began before a change of its key may be older than the change: it is
returned to its reader and not kept.

::

    read of k begins at 7 ── change of k is 8 ── reply: 8 > 7, not kept
    read of m begins at 7 ────────────────────── reply: no change of m, kept
"""

from __future__ import annotations

from typing import Final

__all__ = ["Reads"]

_MOST: Final = 10_000  # keys that change while reads are in flight; beyond that, every one counts as changed


class Reads:
    """Decides which replies may be kept."""

    __slots__ = ("_changed", "_changed_all", "_in_flight", "_number")

    def __init__(self) -> None:
        self._number = 0
        self._in_flight = 0
        self._changed: dict[str, int] = {}
        self._changed_all = 0

    def begin(self) -> int:
        """Return the number of the last change, for :meth:`current`. :meth:`end` follows."""
        self._in_flight += 1
        return self._number

    def end(self) -> None:
        """Note that a read has its reply, or failed."""
        self._in_flight -= 1
        if not self._in_flight:
            self._changed.clear()

    def change(self, key: str) -> None:
        """Note a change of `key`.

        Args:
            key: the key.
        """
        if self._in_flight:
            self._number += 1
            if len(self._changed) >= _MOST:
                self.change_all()
            self._changed[key] = self._number

    def change_all(self) -> None:
        """Note that any key may have changed."""
        self._number += 1
        self._changed_all = self._number
        self._changed.clear()

    def current(self, key: str, began: int) -> bool:
        """Return True if nothing has changed `key` since `began`. Asked before :meth:`end`.

        Args:
            key: the key.
            began: from :meth:`begin`.
        """
        return self._changed_all <= began and self._changed.get(key, 0) <= began
