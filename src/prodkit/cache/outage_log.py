"""What Redis has to be told when it is back."""

from __future__ import annotations

from itertools import islice

__all__ = ["Journal"]


class Journal:
    """Keys, tags and patterns to invalidate, each once. Past `limit` of them: everything."""

    __slots__ = ("everything", "keys", "limit", "patterns", "tags")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.keys: dict[str, None] = {}
        self.tags: dict[str, None] = {}
        self.patterns: dict[str, None] = {}
        self.everything = False

    def __len__(self) -> int:
        return 1 if self.everything else len(self.keys) + len(self.tags) + len(self.patterns)

    def add(
        self,
        *,
        keys: tuple[str, ...] = (),
        tags: tuple[str, ...] = (),
        pattern: str | None = None,
        everything: bool = False,
    ) -> None:
        if self.everything:
            return
        self.keys.update(dict.fromkeys(keys))
        self.tags.update(dict.fromkeys(tags))
        if pattern is not None:
            self.patterns[pattern] = None
        if everything or len(self) > self.limit:
            self.everything = True
            self.keys.clear()
            self.tags.clear()
            self.patterns.clear()

    def take(self, most: int) -> tuple[bool, tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Takes out up to `most` of each: whether everything, keys, tags, patterns."""
        everything, self.everything = self.everything, False
        return everything, _take(self.keys, most), _take(self.tags, most), _take(self.patterns, most)


def _take(names: dict[str, None], most: int) -> tuple[str, ...]:
    taken = tuple(islice(names, most))
    for name in taken:
        del names[name]
    return taken
