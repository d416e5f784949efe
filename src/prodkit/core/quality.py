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
from string import ascii_lowercase

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

_LONG_WORDS = re.compile(
    r"change|replace|secret|segredo|passw|senha|session|default|product|develop|example|exemplo|sample|admin|qwerty"
    r"|welcome|please|super|random|string|character|hello|world|should|minha|quick|brown|jumps|nunca|sempre|never"
    r"|always|love|wife|forever|amor|familia|family|company|empresa|server|master|private|public|iloveyou|teamo",
    re.IGNORECASE,
)
_MANY_LETTERS = 12

_ROWS = ["1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./"]
_BESIDE = {a + b for row in _ROWS for a, b in pairwise(row)}
_ABOVE = {a + b for upper, lower in pairwise(_ROWS) for a, b in zip(upper, lower, strict=False)}
_SLANTED = {b + a for upper, lower in pairwise(_ROWS) for a, b in zip(upper[1:], lower, strict=False)}
_NEIGHBOURS = frozenset(pair for each in _BESIDE for pair in (each, each[::-1]))
_AROUND = _NEIGHBOURS | {pair for each in _ABOVE | _SLANTED for pair in (each, each[::-1])}

# Of 32 characters and more. token_hex(16) measured over 10 million draws stays above 84.
_MIN_BITS = 72.0
# A character of a shorter text. token_hex(8) stays above 34 of 16 characters in 200,000 draws.
_MIN_BITS_EACH = 2.1


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
        if (
            inner.isprintable()
            and len(inner) >= 8
            and (len(inner) >= 16 or inner.isalpha() or _is_dated(inner) or _LONG_WORDS.search(inner))
        ):
            return True  # random bytes are printable once in 10**7 for 16 of them, and letters once in 10**5 for 8
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
    enough = min(_MIN_BITS, _MIN_BITS_EACH * len(text))
    if _periodic(folded) or _nearly_periodic(folded) or _bits(text) < enough:
        return True
    if sum(map(str.isalpha, text.split())) >= 3:
        return True
    lettered = sum(map(str.isalpha, text)) * 5 >= len(text) * 3
    if lettered and (_reads_as_words(text, _STRONG_EVIDENCE) or (_is_phrase(text) and _reads_as_words(text))):
        return True
    if _is_dated(text):
        return True
    classes = sum(any(map(test, text)) for test in (str.isdigit, str.islower, str.isupper))
    classes += len(set(_SIGNS.findall(text))) > 1
    if classes < 2 and (not text.rstrip("=").isalpha() or _reads_as_words(text, _SOME_EVIDENCE)):
        return True  # only digits, or letters of one case that spell words; base32 may have no digit
    steps = sum(abs(ord(b) - ord(a)) <= 1 or a + b in _NEIGHBOURS for a, b in pairwise(folded))
    if steps * 5 >= 3 * len(text):
        return True  # abcdef…, 123456…, qwerty…
    if sum(a + b in _AROUND for a, b in pairwise(folded)) * 10 >= 7 * (len(text) - 1):
        return True  # 1q2w3e…
    left = re.sub(r"[-_.:/\s]", "", _WORDS.sub("", folded))
    return _bits(left) < enough * 0.6


_SIGNS = re.compile(r"[^A-Za-z0-9]")
# What people put behind a name: a year, 123…, the same digit again and again, and signs.
_DATES = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d|0?123(?:4(?:5(?:6(?:7(?:8(?:9(?:10?)?)?)?)?)?)?)?|(\d)\1+)+(?!\d)|[\W_]+"
)

_DATED = 24  # characters; of longer random texts too many have the form


def _is_dated(text: str) -> bool:
    """Return True for short names with a year or a row of digits: ``Flamengo@2024!!!``, ``JoaoDaSilva123456``."""
    if len(text) > _DATED or not any(map(str.isdigit, text)):
        return False
    left = _DATES.sub(" ", text)
    runs = [run for part in left.split() for run in _SPELT.findall(part)]
    if left == text or not runs or not all(part.isalpha() for part in left.split()) or len(runs) > 4:
        return False
    return sum(map(len, runs)) >= 4 * len(runs) - 2 and all(
        _sayable(run) or _LONG_WORDS.search(run) for run in runs
    )


def _is_phrase(text: str) -> bool:
    """Return True when most of `text` can be spoken; so can one of a hundred texts of random letters."""
    runs = [run for run in _RUNS.findall(text) if _sayable(run)]
    spoken = sum(map(len, runs))
    if spoken * 100 >= sum(map(str.isalnum, text)) * 90:
        return True  # correct-horse-battery-staple
    if (
        len(runs) >= 3
        and not text.islower()
        and not text.isupper()
        and len(_NUMBERS.findall(text)) <= 2
        and spoken * 100 >= sum(map(str.isalpha, text)) * 80
        and spoken >= 5 * len(runs)
    ):
        return True  # with a year: Iwasbornin1990inSaoPaulo
    return _listed(text)


def _nearly_periodic(text: str) -> bool:
    """Return True when a piece of at most two thirds repeats with two exceptions: ``cafebabecafebabe…7``."""
    size = len(text)
    return any(
        sum(a != b for a, b in zip(text, text[period:], strict=False)) <= min(2, (size - period) // 5)
        for period in range(1, size * 2 // 3)
    )


# How much more often two letters stand together in words of English, Portuguese and five further languages than in
# random text: log2 of the ratio plus 5, a row for each first letter. Counted on lists of words.
_PAIRS_TEXT = """
    56772463624878562877653254 62007000520600500530500020 70507008705500800516600020 70038030700220700541510030
    74776564734779363987564634 60016500600300600503500000 50007034500404500532600020 70007000600313600515402010
    74767562053668753777360304 40014000003002410020310000 30006000402302400241300000 72258333703730720145531050
    74018000600251660130500020 70777474614225702278540033 45665553524678660876755231 70007213500611750734500020
    00000000000000000000600000 82569351804455831667542053 60618205713331762078613040 82418006800321710756613053
    55556342611657340766233222 60007000600100600400110000 50006005500103500331000000 30203000400000040003000000
    12004000100113420042000000 40005000500000400001302002
"""
_PAIRS = {
    first + second: int(digit) - 5
    for first, row in zip(ascii_lowercase, _PAIRS_TEXT.split(), strict=True)
    for second, digit in zip(ascii_lowercase, row, strict=True)
}
_SPELT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_MIN_EVIDENCE = (
    12  # bits; 32 random letters have 11 or more once in 10,000 draws, a phrase of that length 16 or more
)
_SOME_EVIDENCE = 5
_STRONG_EVIDENCE = 22


def _reads_as_words(text: str, enough: int = _MIN_EVIDENCE) -> bool:
    """Return True when the pairs of letters in `text` speak for words rather than for a generator."""
    weights = [_PAIRS[a + b] for run in _SPELT.findall(text) for a, b in pairwise(run.lower())]
    evidence = sum(weights)
    if evidence >= enough and (enough < _STRONG_EVIDENCE or evidence * 4 >= 3 * len(weights)):
        return True
    return sum(map(len, _LONG_WORDS.findall(text))) >= _MANY_LETTERS


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
