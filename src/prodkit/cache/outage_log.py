"""Invalidations made while Redis was away, to be replayed when it is back."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

__all__ = ["OutageLog", "Pending"]


class Pending(NamedTuple):
    """A part of the log."""

    everything: bool
    keys: tuple[str, ...]
    tags: tuple[str, ...]
    patterns: tuple[str, ...]


class OutageLog:
    """Keys, tags and patterns to invalidate, each once. Past `limit` of them: everything.

    Args:
        limit: the most names kept; beyond it the whole namespace is invalidated instead.
    """

    __slots__ = ("everything", "keys", "limit", "patterns", "tags")

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        self.keys: dict[str, None] = {}
        self.tags: dict[str, None] = {}
        self.patterns: dict[str, None] = {}
        self.everything: bool = False

    def __len__(self) -> int:
        return 1 if self.everything else len(self.keys) + len(self.tags) + len(self.patterns)

    def add(
        self,
        *,
        keys: tuple[str, ...] = (),
        tags: tuple[str, ...] = (),
        patterns: tuple[str, ...] = (),
        everything: bool = False,
    ) -> None:
        """Remember invalidations.

        Args:
            keys: keys that were deleted or written.
            tags: tags that were invalidated.
            patterns: patterns that were invalidated.
            everything: the namespace was cleared.
        """
        if self.everything:
            return
        self.keys.update(dict.fromkeys(keys))
        self.tags.update(dict.fromkeys(tags))
        self.patterns.update(dict.fromkeys(patterns))
        if everything or len(self) > self.limit:
            self.everything = True
            self.keys.clear()
            self.tags.clear()
            self.patterns.clear()

    def take(self, most: int) -> Pending:
        """Take out up to `most` of each kind.

        Args:
            most: the size of one part.
        """
        everything, self.everything = self.everything, False
        return Pending(everything, _take(self.keys, most), _take(self.tags, most), _take(self.patterns, most))


def _take(names: dict[str, None], most: int) -> tuple[str, ...]:
    taken = tuple(islice(names, most))
    for name in taken:
        del names[name]
    return taken
