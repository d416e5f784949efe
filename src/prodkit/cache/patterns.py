r"""One grammar for patterns, with one meaning in memory and in Redis: ``* ? [a-z] [^x] \x``, over UTF-8 bytes.

* stands for any text, ? for one byte, [a-z] for one of a class, [^x] for one outside it, \x for x itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["Patterns", "compiled", "escape"]

_SPECIAL = re.compile(r"([*?\[\]\\^])")
_BEGINNING = re.compile(rb"[^*?\[\\]*")


def escape(text: str) -> str:
    """Return `text` as a pattern that matches only itself.

    Args:
        text: any text, such as an id from outside.
    """
    return _SPECIAL.sub(r"\\\1", text)


@lru_cache(256)
def compiled(pattern: str) -> re.Pattern[bytes]:
    """Return a regular expression that matches whole keys exactly as Redis' MATCH would.

    Args:
        pattern: the pattern.

    Raises:
        ValueError: a class with characters beyond ASCII.
    """
    glob = pattern.encode("utf-8", "surrogatepass")
    out, at = [b"(?s)"], 0
    while at < len(glob):
        char = glob[at : at + 1]
        at += 1
        if char == b"*":
            if out[-1] != b".*?":
                out.append(b".*?")
        elif char == b"?":
            out.append(b".")
        elif char == b"[":
            at = _class(glob, at, out)
        elif char == b"\\" and at < len(glob):
            out.append(re.escape(glob[at : at + 1]))
            at += 1
        else:
            out.append(re.escape(char))
    return re.compile(b"".join(out))


class Patterns:
    """Many patterns, matched against a key in one step for each length of their fixed beginnings.

    500 patterns such as ``user:17:*`` begin with texts of three lengths, so a key needs three look-ups in a table
    instead of 500 comparisons:

        user:17:*  user:4:*  user:123:*     {8: {"user:17:"}, 7: {"user:4:"}, 9: {"user:123:"}}

    Args:
        patterns: the patterns.
    """

    __slots__ = ("_by_length",)

    def __init__(self, patterns: Iterable[str]) -> None:
        self._by_length: dict[int, dict[bytes, list[re.Pattern[bytes]]]] = {}
        for pattern in patterns:
            glob = pattern.encode("utf-8", "surrogatepass")
            beginning = _BEGINNING.match(glob)
            prefix = beginning.group() if beginning else b""
            self._by_length.setdefault(len(prefix), {}).setdefault(prefix, []).append(compiled(pattern))

    def match(self, key: str) -> bool:
        """Return whether one of the patterns matches `key`.

        Args:
            key: a key as text.
        """
        return self.match_bytes(key.encode("utf-8", "surrogatepass"))

    def match_bytes(self, key: bytes) -> bool:
        """Return whether one of the patterns matches `key`.

        Args:
            key: a key in UTF-8.
        """
        for length, table in self._by_length.items():
            for pattern in table.get(key[:length], ()):
                if pattern.fullmatch(key):
                    return True
        return False


def _class(glob: bytes, at: int, out: list[bytes]) -> int:
    """Read one ``[…]``: Redis lets it run to the end of the pattern when it is not closed, and turns z-a round."""
    start = at
    negated = glob[at : at + 1] == b"^"
    at += negated
    members: set[int] = set()
    while at < len(glob) and glob[at : at + 1] != b"]":
        if glob[at : at + 1] == b"\\" and at + 1 < len(glob):
            members.add(glob[at + 1])
            at += 2
        elif glob[at + 1 : at + 2] == b"-" and at + 2 < len(glob):
            low, high = sorted((glob[at], glob[at + 2]))
            members.update(range(low, high + 1))
            at += 3
        else:
            members.add(glob[at])
            at += 1
    if not glob[start:at].isascii():
        raise ValueError(
            "a [class] in a pattern takes ASCII only: Redis compares bytes, and not everywhere alike"
        )
    if members:
        inside = b"".join(b"\\x%02x" % member for member in sorted(members))
        out.append(b"[%s%s]" % (b"^" if negated else b"", inside))
    else:
        out.append(b"." if negated else b"(?!)")
    return at + 1
