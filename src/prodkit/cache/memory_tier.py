"""L1: the memory of this process, bounded by entries and bytes, least recently used out first."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from prodkit.cache.entry import MISSING, Entry

__all__ = ["MemoryTier", "deep_size"]

# The entry object (168 bytes), its four floats (96), its node in the ordered table (about 200), measured with
# tracemalloc on Python 3.11; tests/cache/test_memory_tier.py keeps the sum within 10 % of the truth.
_OVERHEAD: Final = 400
_SCALARS: Final = frozenset((str, int, float, bool, type(None), bytes))


class MemoryTier:
    """Entries by key. Not locked: it belongs to one loop and never waits.

    Args:
        max_entries: the most entries.
        max_bytes: the most bytes, the decoded values included.
    """

    __slots__ = ("_entries", "_max_bytes", "_max_entries", "bytes", "evictions", "get", "touch")

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self.bytes: int = 0
        self.evictions: int = 0
        self.get: Callable[[str], Entry | None] = self._entries.get
        self.touch: Callable[[str], None] = (
            self._entries.move_to_end
        )  # of a key that is there: it was just used

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        return iter(tuple(self._entries.items()))

    def put(self, key: str, entry: Entry) -> None:
        """Store or replace. A value too large for the whole tier is not kept.

        Args:
            key: the key.
            entry: its payload is dropped where the decoded value is kept: once is enough.
        """
        before = self._entries.pop(key, None)
        if before is not None:
            self.bytes -= before.size
        entry.size = size = _OVERHEAD + sys.getsizeof(key) + _size(entry)
        if size > self._max_bytes:
            self.evictions += 1
            return
        self._entries[key] = entry
        self.bytes += size
        while self.bytes > self._max_bytes or len(self._entries) > self._max_entries:
            _, evicted = self._entries.popitem(last=False)
            self.bytes -= evicted.size
            self.evictions += 1

    def remove(self, key: str) -> bool:
        """Remove `key`; return whether it was there.

        Args:
            key: the key.
        """
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self.bytes -= entry.size
        return True

    def clear(self) -> None:
        """Remove everything."""
        self._entries.clear()
        self.bytes = 0


def _size(entry: Entry) -> int:
    size = sys.getsizeof(entry.head) if entry.head else 0
    if entry.tags:
        size += sys.getsizeof(entry.tags) + sum(map(sys.getsizeof, entry.tags))
    if entry.value is MISSING:
        return size + sys.getsizeof(entry.payload)
    kind = type(entry.value)
    return size + (sys.getsizeof(entry.value) if kind in _SCALARS else deep_size(entry.value))


def deep_size(value: object) -> int:
    """Return the bytes of `value` and of everything in it, shared parts counted each time.

    Args:
        value: a decoded document: containers of plain values.
    """
    size, todo = 0, [value]
    while todo:
        item = todo.pop()
        size += sys.getsizeof(item)
        if isinstance(item, dict):
            todo += item.keys()
            todo += item.values()
        elif isinstance(item, list | tuple | set | frozenset):
            todo += item
        elif hasattr(item, "__dict__"):
            todo.append(vars(item))
    return size
