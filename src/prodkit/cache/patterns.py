r"""One grammar for patterns, with one meaning in memory and in Redis: ``* ? [a-z] [^x] \x``, over UTF-8 bytes."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["compiled", "escape"]

_SPECIAL = re.compile(r"([*?\[\]\\^])")


def escape(text: str) -> str:
    """`text` as a pattern that matches only itself."""
    return _SPECIAL.sub(r"\\\1", text)


@lru_cache(256)
def compiled(pattern: str) -> re.Pattern[bytes]:
    """A regular expression that matches whole keys exactly as Redis' MATCH would.

    Raises ValueError for a class with characters beyond ASCII.
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


def _class(glob: bytes, at: int, out: list[bytes]) -> int:
    """One ``[…]``: Redis lets it run to the end of the pattern when it is not closed, and turns z-a round."""
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
