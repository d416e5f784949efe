"""Random texts that a regular expression matches: rule lists of secret scanners become test cases at run time."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterable
from typing import Any

_parser: Any = re._parser  # type: ignore[attr-defined] # the standard library's own; sre_parse is deprecated
_constants: Any = re._constants  # type: ignore[attr-defined]
_WORD = string.ascii_letters + string.digits
_CATEGORIES = {
    _constants.CATEGORY_WORD: _WORD + "_",
    _constants.CATEGORY_DIGIT: string.digits,
    _constants.CATEGORY_SPACE: " ",
    _constants.CATEGORY_NOT_SPACE: _WORD,
}
_MORE = 12  # characters beyond the least number of an open repetition


def sample(pattern: str, rng: random.Random) -> str:
    """Return a random text that `pattern` matches; assertions and anchors in it are left out."""
    return _of(_parser.parse(pattern), rng)


def _of(nodes: Iterable[Any], rng: random.Random) -> str:
    return "".join(_one(kind, value, rng) for kind, value in nodes)


def _one(kind: Any, value: Any, rng: random.Random) -> str:
    if kind is _constants.LITERAL:
        return chr(value)
    if kind is _constants.IN:
        return rng.choice(_characters(value))
    if kind is _constants.BRANCH:
        return _of(rng.choice(value[1]), rng)
    if kind is _constants.SUBPATTERN:
        return _of(value[3], rng)
    if kind in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
        least, most, inner = value
        count = rng.randint(least, max(least, min(most, least + _MORE)))
        return "".join(_of(inner, rng) for _ in range(count))
    if kind is _constants.ANY:
        return rng.choice(_WORD)
    if kind in (_constants.AT, _constants.ASSERT, _constants.ASSERT_NOT):
        return ""
    raise ValueError(f"the sampler does not know {kind}")


def _characters(parts: Iterable[Any]) -> str:
    found = ""
    inverted = False
    for kind, value in parts:
        if kind is _constants.NEGATE:
            inverted = True
        elif kind is _constants.LITERAL:
            found += chr(value)
        elif kind is _constants.RANGE:
            found += "".join(map(chr, range(value[0], value[1] + 1)))
        else:
            found += _CATEGORIES[value]
    return "".join(char for char in _WORD if char not in found) if inverted else found
