"""L1: what this process keeps, bounded by entries and bytes, least recently used out first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from prodkit.cache.entry import Entry

__all__ = ["MemoryTier"]

_OVERHEAD = 400  # bytes of an entry beside key and payload: the object, its slots, its place in the table


class MemoryTier:
    """Entries by key. Not locked: it belongs to one loop and never waits."""

    __slots__ = ("_entries", "_max_bytes", "_max_entries", "bytes", "evictions", "get", "touch")

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self.bytes = 0
        self.evictions = 0
        self.get = self._entries.get
        self.touch = self._entries.move_to_end  # of a key that is there: it was just used

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        return iter(tuple(self._entries.items()))

    def put(self, key: str, entry: Entry) -> None:
        """Stores or replaces. A payload too large for the whole tier is not kept."""
        self.remove(key)
        size = _size(key, entry)
        if size > self._max_bytes:
            self.evictions += 1
            return
        self._entries[key] = entry
        self.bytes += size
        while self.bytes > self._max_bytes or len(self._entries) > self._max_entries:
            oldest, evicted = self._entries.popitem(last=False)
            self.bytes -= _size(oldest, evicted)
            self.evictions += 1

    def remove(self, key: str) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self.bytes -= _size(key, entry)
        return True

    def clear(self) -> None:
        self._entries.clear()
        self.bytes = 0


def _size(key: str, entry: Entry) -> int:
    return _OVERHEAD + 2 * len(key) + len(entry.payload)
