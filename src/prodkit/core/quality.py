"""Quality of secrets: placeholders, short, repeated and guessable values. Pure, quick enough for every start.

The rules are tuned so that what the usual generators print is not refused (``secrets.token_hex(16)``,
``secrets.token_urlsafe(32)``, ``openssl rand -base64 32``, a random UUID), while what people type by hand is.
"""

from __future__ import annotations

import base64
import math
import re
from collections import Counter
from itertools import pairwise

__all__ = ["is_placeholder", "weakness"]

_PLACEHOLDERS = re.compile(
    r"\A(?:change[-_ ]?(?:me|it|this)|replace[-_ ]?(?:me|it|this)?|to[-_ ]?do|fix[-_ ]?me|x{3,}|\*{3,}|\.{3,}"
    r"|<[\w .,:/'-]{0,200}>|\$?\{[\w .,:/|(){}'\"-]{0,200}\}|\[[\w .,:/'-]{0,200}\]"
    r"|(?:your|my|insert|enter|put|add|seu|sua)[-_ ][a-z_ -]{0,80}"
    r"|.{0,60}[-_ ](?:here|aqui|placeholder)|place[-_ ]?holder|none|null|undefined|secret|password|senha"
    r"|troque[-_ ]?(?:me|isto|isso)?|mude[-_ ]?(?:me|isto|isso)?|dummy|sample|example|exemplo|foo|bar|foobar"
    r"|tbd|n/?a)\W{0,4}\Z",
    re.IGNORECASE,
)

_WORDS = re.compile(
    r"change|replace|placeholder|insecure|unsafe|secret|segredo|password|passwort|passwd|senha|session|sessao|token"
    r"|default|production|development|staging|django|fastapi|flask|example|exemplo|sample|dummy|admin|root"
    r"|qwerty|azerty|letmein|welcome|testing|please|super|very|long|short|random|string|chars?|characters?|least"
    r"|hello|world|abc|123|key|chave|test|teste|this|that|must|should|your|minha|meu|some|here|aqui|jwt|api|app|foo"
    r"|bar|baz|the|and|not|for|use|with|dev|prod|me|my|it|is|a[st]|in|of|or",
    re.IGNORECASE,
)

_ROWS = ["1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./"]
_BESIDE = {a + b for row in _ROWS for a, b in pairwise(row)}
_ABOVE = {a + b for upper, lower in pairwise(_ROWS) for a, b in zip(upper, lower, strict=False)}
_SLANTED = {b + a for upper, lower in pairwise(_ROWS) for a, b in zip(upper[1:], lower, strict=False)}
_NEIGHBOURS = frozenset(pair for each in _BESIDE for pair in (each, each[::-1]))
_AROUND = _NEIGHBOURS | {pair for each in _ABOVE | _SLANTED for pair in (each, each[::-1])}

_MIN_BITS = 72.0  # token_hex(16) measured over 10 million draws stays above 84


def is_placeholder(text: str) -> bool:
    """Return True when `text` is what a template holds before it is filled in."""
    return _PLACEHOLDERS.match(text.strip()[:400]) is not None


def weakness(text: str, min_length: int) -> str | None:
    """Return the rule that `text` breaks, or None.

    Args:
        text: the value.
        min_length: least number of characters; from 16 on the value must also look random.

    Returns:
        ``blank``, ``placeholder``, ``too_short``, ``low_entropy`` or None.
    """
    stripped = text.strip()
    if not stripped:
        return "blank"
    if is_placeholder(stripped) or _periodic(stripped, is_placeholder):
        return "placeholder"
    if len(stripped) < min_length:
        return "too_short"
    if min_length >= 16 and (_predictable(stripped) or _encoded(stripped)):
        return "low_entropy"
    return None


def _encoded(text: str) -> bool:
    """Return True when `text` is base64 or hex of a guessable text, such as ``changeme`` four times."""
    for decode in (_base64, bytes.fromhex):
        try:
            inner = decode(text).decode("ascii")
        except ValueError:  # not that encoding, or random bytes
            continue
        if len(inner) >= 8 and inner.isprintable():
            return True  # random bytes are printable once in 10**9 for 24 of them
        if len(set(inner)) <= 4:
            return True
    return False


def _base64(text: str) -> bytes:
    if len(text) % 4 == 1:
        raise ValueError
    standard = text.rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)


def _periodic(text: str, test: object = None) -> bool:
    """Return True when `text` is one piece repeated and, with a test, that piece passes it."""
    period = (text + text).find(text, 1)
    if period > len(text) // 2:
        return False
    return not callable(test) or bool(test(text[:period]))


def _predictable(text: str) -> bool:
    folded = text.lower()
    if _periodic(folded) or _nearly_periodic(folded) or _bits(text) < _MIN_BITS:
        return True
    if sum(map(str.isalpha, text.split())) >= 3:
        return True
    runs = [run for run in _RUNS.findall(text) if _sayable(run)]
    spoken = sum(map(len, runs))
    if spoken * 100 >= sum(map(str.isalnum, text)) * 90:
        return True  # a phrase: correct-horse-battery-staple
    if (
        len(runs) >= 3
        and not text.islower()
        and not text.isupper()
        and len(_NUMBERS.findall(text)) <= 2
        and spoken * 100 >= sum(map(str.isalpha, text)) * 80
        and spoken >= 5 * len(runs)
    ):
        return True  # a phrase with a year: Iwasbornin1990inSaoPaulo
    if _listed(text):
        return True
    classes = sum(any(map(test, text)) for test in (str.isdigit, str.islower, str.isupper))
    if classes < 2:
        return True  # only small letters, or only digits: no generator in use prints that
    steps = sum(abs(ord(b) - ord(a)) <= 1 or a + b in _NEIGHBOURS for a, b in pairwise(folded))
    if steps * 5 >= 3 * len(text):
        return True  # abcdef…, 123456…, qwerty…
    if sum(a + b in _AROUND for a, b in pairwise(folded)) * 10 >= 7 * (len(text) - 1):
        return True  # 1q2w3e…
    left = re.sub(r"[-_.:/\s]", "", _WORDS.sub("", folded))
    return _bits(left) < _MIN_BITS * 0.6


def _nearly_periodic(text: str) -> bool:
    """Return True when a piece of at most two thirds repeats with two exceptions: ``cafebabecafebabe…7``."""
    size = len(text)
    return any(
        sum(a != b for a, b in zip(text, text[period:], strict=False)) <= 2
        for period in range(1, size * 2 // 3)
    )


_RUNS = re.compile(r"[A-Z][a-z]{2,}|[a-z]{4,}|[A-Z]{5,}")
_CLUSTER = re.compile(r"[^aeiouy]{4}|[aeiouy]{4}", re.IGNORECASE)
_NUMBERS = re.compile(r"\d+")
_VOWELS = frozenset("aeiouyAEIOUY")


def _listed(text: str) -> bool:
    """Return True for words in a row: ``name-prod-db-password-2024``, ``correcthorsebatterystaple2026!!!``."""
    parts = [part for part in re.split(r"[-_. ]+", text.lower()) if part]
    if len(parts) >= 4 and all(
        (part.isdigit() and len(part) <= 4) or (part.isalpha() and (len(part) <= 3 or _sayable(part)))
        for part in parts
    ):
        return True
    core = re.sub(r"\A[\W\d_]+|[\W\d_]+\Z", "", text)
    return len(core) >= 16 and core.isalpha() and core.islower() and _sayable(core)


def _sayable(run: str) -> bool:
    """A fifth of the letters or more are vowels, and four consonants or vowels stand together only in long runs."""
    if sum(char in _VOWELS for char in run) * 5 < len(run):
        return False
    return len(_CLUSTER.findall(run)) <= len(run) // 12


def _bits(text: str) -> float:
    """Shannon's estimate over the characters that occur, in bits for the whole text."""
    size = len(text)
    return -sum(count * math.log2(count / size) for count in Counter(text).values())
