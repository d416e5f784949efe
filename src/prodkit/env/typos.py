"""Misspelt variables: names in the environment that look like one of ours and are not. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

__all__ = ["Index", "typos"]

# Names that other programs own, however close they come to one of ours.
_FOREIGN: Final = re.compile(
    r"\A(?:PG[A-Z]+|LC_\w+|PYTHON\w+|npm_\w+|XDG_\w+|SSH_\w+|GIT_\w+|[A-Z]+_(?:PORT|SERVICE)_\w+)\Z"
)
_POINTER: Final = "_FILE"
_EDITS: Final = 2


def typos(
    names: Iterable[str],
    index: Index,
    set_names: Collection[str],
    prefix: str,
    nested: str,
    closed: tuple[str, ...] = (),
) -> Iterable[tuple[str, str | None]]:
    """Yield names that look like ours and are not, each with the known name that was probably meant.

    Without a prefix only near misses of a name that is *not* set count: the rest belongs to other programs.

    Args:
        names: the variables of the environment, in capitals.
        index: the variables of the service.
        set_names: those of them that are set.
        prefix: the common prefix of the service's variables, or an empty text.
        nested: the delimiter of nested names, or an empty text.
        closed: beginnings of nested names, such as ``DB__``, after which only known names make sense.
    """
    known = index.known
    begins = (prefix.upper(), *closed) if prefix else closed
    for name in index.candidates(names, begins):
        owned = bool(begins) and name.startswith(begins)
        if name in known or name.removesuffix(_POINTER) in known:
            continue
        if _FOREIGN.match(name):
            continue
        if nested and not name.startswith(closed or "\0") and _is_nested(name, known, nested):
            continue
        taken: Collection[str] = () if owned else set_names
        meant = index.nearest(name, taken) or (index.nearest_pointer(name, taken) if "_" in name else None)
        if meant is not None or owned:
            yield name, meant


def _is_nested(name: str, known: Collection[str], nested: str) -> bool:
    return any(name.startswith(f"{each}{nested}".upper()) for each in known)


class Index:
    """Known names by length and first or last letter, so that most foreign names meet no candidate at all.

    Two edits rarely change the first *and* the last letter; a name where they did is not recognised.

    Args:
        known: the variables of the service, in capitals.
    """

    __slots__ = ("_firsts", "_lasts", "known", "places")

    def __init__(self, known: Collection[str]) -> None:
        self.known: frozenset[str] = frozenset(known)
        self.places: dict[tuple[object, ...], list[str]] = {}
        self._firsts: dict[str, set[int]] = {}
        self._lasts: dict[str, set[int]] = {}
        for name in known:
            if len(name) < 4:
                continue
            sizes = range(len(name) - _EDITS, len(name) + _EDITS + 1)
            self._firsts.setdefault(name[0], set()).update(sizes)
            self._lasts.setdefault(name[-1], set()).update(sizes)
            for size in sizes:
                self.places.setdefault((size, name[0]), []).append(name)
                self.places.setdefault((size, name[-1], 1), []).append(name)

    def candidates(self, names: Iterable[str], begins: tuple[str, ...]) -> list[str]:
        """Return those of `names` that can be near a known name, and those that start with one of `begins`."""
        firsts, lasts = self._firsts, self._lasts
        found = [
            name
            for name in names
            if name
            and (
                (name[0] in firsts and len(name) in firsts[name[0]])
                or (name[-1] in lasts and len(name) in lasts[name[-1]])
            )
        ]
        found += [name for name in names if "FIL" in name or "ILE" in name]
        if begins:
            found += [name for name in names if name.startswith(begins)]
        return list(dict.fromkeys(found))

    def nearest(self, name: str, taken: Collection[str]) -> str | None:
        """Return the known name, not in `taken`, that differs from `name` by one or two edits inside its words."""
        best: tuple[int, str] | None = None
        size = len(name)
        found = [*self.places.get((size, name[:1]), ()), *self.places.get((size, name[-1:], 1), ())]
        for each in dict.fromkeys(found):
            shorter = min(len(each), size)
            allowed = 2 if shorter >= 8 else 1 if shorter >= 5 else 0
            if each in taken or abs(len(each) - size) > allowed:
                continue
            distance = _distance(name, each, allowed)
            if distance <= allowed and _same_words(name, each) and (best is None or (distance, each) < best):
                best = distance, each
        return best[1] if best else None

    def nearest_pointer(self, name: str, taken: Collection[str]) -> str | None:
        """Return the ``NAME_FILE`` that was meant: the last word is nearly FILE, the rest nearly a known name."""
        stem, _, last = name.rpartition("_")
        if _distance(last, "FILE", 1) > 1:
            return None
        meant = stem if stem in self.known and stem not in taken else self.nearest(stem, taken)
        return None if meant is None else f"{meant}{_POINTER}"


def _same_words(a: str, b: str) -> bool:
    """Return True when no word became another one: REDIS_PORT is no misspelt REDIS_HOST, two letters apart."""
    left, right = a.split("_"), b.split("_")
    if len(left) != len(right):
        return True
    return all(2 * _distance(x, y, 2) < max(len(x), len(y), 1) for x, y in zip(left, right, strict=True))


def _distance(a: str, b: str, limit: int) -> int:
    """Edits between two names, a swap of neighbours counting as one; more than `limit` is `limit` + 1."""
    if a == b:
        return 0
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        last, before, row = before, row, [i]
        for j, right in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == b[j - 2] and a[i - 2] == right:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
    return row[-1]
