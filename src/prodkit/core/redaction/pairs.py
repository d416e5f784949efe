"""Names and their values inside a text: ``password=…``, headers, JSON, XML, argument lists, SQL, flags. Pure.

The text is searched for separators, which are rarer than words, and from each one the name is read backwards::

    … db_password  :=  "hunter2" …
      ◀───────────┘└──▶ value_at
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Final

from prodkit.core.redaction.names import STRONG, before_key, strength
from prodkit.core.redaction.randomness import looks_random
from prodkit.core.redaction.values import hides, value_at

__all__ = ["mask_comparisons", "mask_flags", "mask_links", "mask_pairs", "mask_phrases", "mask_schemes"]

_MARKS: Final = bytes(1 if chr(code) in "=:,>(%" else 0 for code in range(256))
# The rarer separators, which need something around them.
_SEPARATOR: Final = re.compile(
    r"(?<=[\"'],)(?=\s{0,2}[bu]?\\?[\"'])"  # ("name", "value")
    r"|(?<=[A-Za-z0-9_]>)(?=[^\s<>=\"'])"  # <name>value
    r"|(?<=[A-Za-z0-9_]\()(?=[\"'])"  # name("value")
    r"|(?<=%)3[AaDd]"  # name%3Dvalue
)
# Read on the reversed text: what may stand between a name and its separator, then the name.
_NAME_BEFORE: Final = re.compile(
    r"(?:\]\d{0,3}\[|[\s\"'`\\\])!?+|]|;43#&|;93#&|;touq&|22%){0,10}([A-Za-z0-9_.$\u00c0-\u00ff-]{1,80})"
)
_NO_NAME: Final = frozenset(("", *":=,(<{;&@#*/%~^"))
_REMEMBERED: Final = 4096
_LONGEST_WORD: Final = 32
_harmless: set[str] = (
    set()
)  # words before a separator that hold no sensitive name: ``id``, ``"level"``, ``{'page'``
_WINDOW: Final = 640  # characters; more than a value is judged by
_MAX_JUDGED: Final = 2_000


def mask_pairs(text: str, mask: str) -> str:
    """Return `text` with the values of sensitive names replaced by `mask`."""
    marks = text.encode("latin-1", "replace").translate(_MARKS)
    begin = marks.find(1)
    if begin < 0:
        return text
    parts: list[str] = []
    at = 0
    judge = _Judge(text)
    while begin >= 0:
        span = _pair(text, begin, at, judge)
        if span is not None and at <= span[0] < span[1]:
            parts += (text[at : span[0]], mask)
            at = span[1]
        begin = marks.find(1, max(at, begin + 1))
    return "".join((*parts, text[at:])) if parts else text


def _pair(text: str, begin: int, at: int, judge: _Judge) -> tuple[int, int] | None:
    """Return the span of the secret value behind the separator at `begin`, or None."""
    word = text[max(0, begin - _LONGEST_WORD) : begin].rpartition(" ")[2]
    if word in _harmless:
        return None
    if text[begin - 1 : begin] in _NO_NAME:
        return None
    sign = text[begin]
    end = begin + 1
    if sign in "=:":
        if text.startswith("//", end):
            return None
    else:
        found = _SEPARATOR.match(text, end)
        if found is None:
            return None
        end = found.end()
    reversed_head = text[max(0, begin - 92) : begin][::-1]
    before = _NAME_BEFORE.match(reversed_head)
    if before is None:
        return None
    name = before.group(1)[::-1].strip("-.$")
    if sign in "=:" and name.lower() in _TAILS:
        words = _WORDS_BEFORE.match(reversed_head, before.end())
        return _spoken(words.group()[::-1] if words else "", end, name, sign == ":", judge)
    kind = strength(name)
    if kind:
        return judge.span(end, kind if sign in "=:%" else min(kind, STRONG), name, sign == ":")
    if name in _LABELS:
        return _labelled(text, end)
    if before.end() <= len(word) < _LONGEST_WORD:  # the name lies within the word
        if len(_harmless) >= _REMEMBERED:
            _harmless.clear()
        _harmless.add(word)
    return None


# Last words of names that are written with blanks: "token de acesso", "API key", "API key provided".
_TAILS: Final = frozenset(
    """
    acesso api secreta privada mestra banco passe verificação verificacao segurança seguranca autenticação autenticacao
    usuário usuario key keys code código codigo number provided received given used
    """.split()  # noqa: SIM905
)
_WORDS_BEFORE: Final = re.compile(r"(?: {1,2}[A-Za-z_\u00c0-\u00ff]{2,20}){1,3}")  # on the reversed text
_LINKS: Final = frozenset(("de", "do", "da", "dos", "das", "of", "for", "the", "para", "your", "seu", "sua"))


def _spoken(before: str, end: int, name: str, colon: bool, judge: _Judge) -> tuple[int, int] | None:
    """The value of a name of several words. In a sentence it needs a digit: "senha do banco: alterada" has none."""
    words = [word for word in before.split() if word.lower() not in _LINKS]
    kind = strength(name)
    if words and kind < STRONG:
        whole = [strength("_".join((*words[-count:], name))) for count in range(1, len(words) + 1)]
        if max(whole) >= STRONG:
            span = judge.span(end, STRONG, name, colon)
            value = judge.text[span[0] : span[1]] if span else ""
            return span if any(map(str.isdigit, value)) or looks_random(value) else None
        if not whole[0] and before_key(words[-1]):
            return None  # "cache key: …"
    return judge.span(end, kind, name, colon) if kind else None


class _Judge:
    """Judges the values of one text; equal ones, which a hostile text repeats by the thousand, once."""

    __slots__ = ("known", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.known: dict[tuple[int, str, bool, str], tuple[int, int] | None] = {}

    def span(self, at: int, kind: int, name: str, colon: bool) -> tuple[int, int] | None:
        """Return where the secret value at `at` begins and ends, or None."""
        if len(self.text) < 2 * _WINDOW:  # nothing to gain
            return value_at(self.text, at, kind, name, colon)
        key = (kind, name, colon, self.text[at : at + _WINDOW])
        if key in self.known:
            found = self.known[key]
            return None if found is None else (at + found[0], at + found[1])
        if len(self.known) >= _MAX_JUDGED:  # no honest text: hide without judging
            rest = _UNJUDGED.match(self.text, at)
            return rest.span(1) if rest else None
        span = value_at(self.text, at, kind, name, colon)
        if span is None or span[1] < at + _WINDOW:  # decided within the window
            self.known[key] = None if span is None else (span[0] - at, span[1] - at)
        return span


_UNJUDGED: Final = re.compile(r"[\s\"'`=>]*([^\s\"'`,;&<>|]+)")


_REVERSED: Final = re.compile(r"[!=]={1,2}(?<=[\"'` =!]..)\s?([A-Za-z_][\w.]{1,80})")
_QUOTED_BEFORE: Final = re.compile(r"\s{0,2}[!=]{0,2}\s{0,2}([\"'`])([^\r\n]{1,256}?)\1")


def mask_comparisons(text: str, mask: str) -> str:
    """Return `text` with the literal masked that is compared with a sensitive name: ``if "…" == password:``."""
    parts: list[str] = []
    at = 0
    for found in _REVERSED.finditer(text):
        if strength(found.group(1)) < STRONG:
            continue
        before = _QUOTED_BEFORE.match(text[max(at, found.start() - 262) : found.start()][::-1])
        if before is None or not hides(before.group(2)[::-1], STRONG, found.group(1)):
            continue
        begin, end = found.start() - before.end(2), found.start() - before.start(2)
        if begin >= at:
            parts += (text[at:begin], mask)
            at = end
    return "".join((*parts, text[at:])) if parts else text


_LABELS: Final = frozenset(("name", "key", "Name", "Key", "NAME", "KEY", "header", "k", "field", "param"))
_LABELLED: Final = re.compile(
    r"\s{0,3}\\?[\"']([\w.-]{1,80})\\?[\"']\s{0,3},?\s{0,8}\\?[\"']?(?:[Vv]alue|VALUE|v|val)\\?[\"']?\s{0,3}[:=]\s{0,3}\\?([\"'])"
)


def _labelled(text: str, at: int) -> tuple[int, int] | None:
    """The value of ``{"name": "API_KEY", "value": "…"}`` or ``<add key="Password" value="…"/>``."""
    found = _LABELLED.match(text, at)
    if found is None:
        return None
    kind = strength(found.group(1))
    end = text.find(found.group(2), found.end())
    end = len(text) if end < 0 else end
    if not kind or not hides(text[found.end() : end].rstrip("\\"), kind, found.group(1)):
        return None
    return found.end(), end


_FLAG: Final = re.compile(
    r"-(?<![^\s\"'`\[(,]-)(-?)([A-Za-z][\w-]{0,60})[\"']?(,\s{0,2}|[ \t]{1,3})(?=[^\s-]|-[^-\s])"
)
_FLAG_VALUE: Final = re.compile(r"[\"']?([^\s\"']+)")
_USER: Final = re.compile(
    r"(?:(?<=\s)|(?<=[\"'\[]))(?:-u|--user|--proxy-user|-U)[\"']?(?:,\s?|[ \t]{0,3}|=)[\"']?"
    r"([^\s\"':@/]{0,80}):([^\s\"']+)"
)
_COMMAND: Final = re.compile(
    r"\b(?:(?:sshpass|redis-cli|mongo(?:sh|dump|restore)?|docker login|helm registry login|podman login|ldapsearch|"
    r"rabbitmqadmin)"
    r"\b[^\n|;&]{0,80}?\s(?:-p|-a|-w)[ \t]?|(?:mysql(?:dump|admin)?|mariadb(?:-dump)?)\b[^\n|;&]{0,80}?\s-p)"
    r"[\"']?(?=[^\s\"'-])([^\s\"']+)"
)


def mask_flags(text: str, mask: str) -> str:
    """Return `text` with the values of command line flags masked: ``--password x``, ``-u user:x``, argv lists."""
    parts: list[str] = []
    at = 0
    for found in _FLAG.finditer(text):
        if found.start() < at:
            continue
        name = found.group(2)
        kind = strength(name)
        if not kind or (not found.group(1) and len(name) < 3):
            continue
        value = _FLAG_VALUE.match(text, found.end())
        if value and hides(value.group(1), kind, name) and not value.group(1).startswith("--"):
            parts += (text[at : value.start(1)], mask)
            at = value.end(1)
    text = "".join((*parts, text[at:])) if parts else text
    if "-u" in text or "-U" in text:
        text = _USER.sub(lambda found: _after(found, 2, mask), text)
    if " -p" in text or " -a" in text or " -w" in text:
        text = _COMMAND.sub(lambda found: _after(found, 1, mask), text)
    return text


def _after(found: re.Match[str], group: int, mask: str) -> str:
    value = found.group(group)
    if not hides(value, STRONG, "password") or value.isdigit():
        return found.group()
    return found.group()[: found.start(group) - found.start()] + mask


_SCHEME: Final = re.compile(
    r"\b(bearer|basic|token|apikey|api-key|bot|negotiate|splunk|genie|key)([ \t]{1,4})([A-Za-z0-9+/=_.~%:-]{6,})",
    re.IGNORECASE,
)
_DIGEST: Final = re.compile(
    r"\bdigest[ \t]{1,4}\w+=\"?[^\r\n]{8,}|\baws4-hmac-sha256[ \t]{1,4}[^\r\n]{8,}", re.IGNORECASE
)


def mask_schemes(text: str, mask: str) -> str:
    """Return `text` with credentials after ``Bearer``, ``Basic`` and their like masked."""
    if "igest " in text or "AWS4-" in text:
        text = _DIGEST.sub(lambda found: found.group().split(maxsplit=1)[0] + " " + mask, text)
    return _SCHEME.sub(_once(_scheme, mask), text)


def _once(shown: Callable[[re.Match[str], str], str], mask: str) -> Callable[[re.Match[str]], str]:
    """Judge equal matches, which a hostile text repeats by the thousand, once. `shown` reads the match alone."""
    known: dict[str, str] = {}

    def judged(found: re.Match[str]) -> str:
        value = found.group()
        answer = known.get(value)
        if answer is None:
            answer = known[value] = shown(found, mask)
        return answer

    return judged


def _scheme(found: re.Match[str], mask: str) -> str:
    word, blank, value = found.groups()
    kind = word.lower()
    if kind == "basic":
        try:
            hidden = b":" in base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
        except (binascii.Error, ValueError):
            hidden = False
    elif kind == "bearer":
        inner = value[1:]
        hidden = ("=" not in value.rstrip("=") and any(map(str.isdigit, value))) or (
            inner != inner.lower() and len(value) >= 16
        )
    else:
        hidden = (
            looks_random(value)
            and not value.endswith((":", "="))
            and "=" not in value.rstrip("=")
            and len(value) >= 16
        )
        hidden = hidden and (kind != "key" or not re.fullmatch(r"[0-9a-f-]+", value))
    return f"{word}{blank}{mask}" if hidden else found.group()


_PHRASES: Final = (
    re.compile(r"(?i)\blogin[ \t]{1,4}\S+[ \t]{1,4}password[ \t]{1,4}(\S+)"),
    re.compile(
        r"(?i)\b(?:identified[ \t]{1,4}(?:with[ \t]{1,4}\w+[ \t]{1,4})?by|password)[ \t]{1,4}"
        r"(?:password[ \t]{1,4})?(?:e|n|u&)?['\"]([^'\"\r\n]+)"
    ),
    re.compile(
        r"(?i)\b(?:pass(?:word|wd|phrase|code)?|senha|secret|segredo|token|api[ _-]?key|chave|pin|otp|code"
        r"|c[\u00f3o]digo|credentials?)(?:[ \t](?:de|do|da)[ \t]\w{2,20})?[ \t]{1,4}"
        r"(?:is|was|were|as|to|of|with|=|é|era|foi|para|->)[ \t]{0,2}:?[ \t]{0,2}['\"`]?([^\s'\"`,;]{4,})"
    ),
)
_BESIDE: Final = re.compile(
    r"(?i)\b(?:password|passwd|passphrase|passcode|pwd|senha|secret|segredo|credentials?|token|chave|otp|"
    r"basic[ -]auth [\w.@-]{1,64}:)[ \t|]{0,6}(?<=[ \t|:])['\"`]?([^\s'\"`,;|<>]{8,})"
)
_CODE: Final = re.compile(
    r"(?i)\b(?:otp|totp|2fa|cvv2?|cvc2?|ssn)(?:[ -]code)?[ \t]{1,3}#?(\d{3}(?:-?\d){0,6})(?![\w-]|[.:]\d)"
)


def mask_phrases(text: str, mask: str) -> str:
    """Return `text` with secrets in sentences and statements masked: ``IDENTIFIED BY 'x'``, "the password is x1"."""
    login, statement, sentence = _PHRASES
    text = login.sub(lambda found: _phrase(found, mask, False), text)
    text = statement.sub(lambda found: _phrase(found, mask, False), text)
    text = sentence.sub(lambda found: _phrase(found, mask, True), text)
    text = _BESIDE.sub(_once(_beside, mask), text)
    return _CODE.sub(lambda found: _put(found, mask), text)


def _beside(found: re.Match[str], mask: str) -> str:
    """ "with password X": only what looks drawn by a generator, since most words there are words."""
    value = found.group(1).rstrip(".:!?)")
    if not looks_random(value) or not hides(value, STRONG, "password"):
        return found.group()
    return _put(found, mask) + found.group(1)[len(value) :]


def _put(found: re.Match[str], mask: str) -> str:
    return (
        found.group()[: found.start(1) - found.start()] + mask + found.group()[found.end(1) - found.start() :]
    )


_LINK: Final = re.compile(
    r"(?i)/(?:reset|recover|verify|confirm|activate|invite|invitation|magic|unsubscribe|redefinir|recuperar|verificar|"
    r"confirmar|ativar|convite)(?:[-_]\w{1,20})?/([A-Za-z0-9_-]{16,})(?![\w-])"
)


def mask_links(text: str, mask: str) -> str:
    """Return `text` with the tokens of links masked that are sent by mail: ``/reset/…``, ``/convite/…``."""
    return _LINK.sub(lambda found: _put(found, mask) if looks_random(found.group(1)) else found.group(), text)


_NUMBERED: Final = re.compile(
    r"(?i)(?:exit|status|error|return|http|response|country|zip|postal|area|reason|result)[ _-]$"
)


def _phrase(found: re.Match[str], mask: str, sentence: bool) -> str:
    value = found.group(1)
    bare = value.rstrip(".!?)")
    if not hides(bare, STRONG, "password"):
        return found.group()
    if sentence and _NUMBERED.search(found.string, max(0, found.start() - 12), found.start()):
        return found.group()  # exit code is 1137
    if sentence and not (any(map(str.isdigit, bare)) or any(char in "!@#$%^*" for char in bare)):
        return found.group()
    head = found.group()[: found.start(1) - found.start()]
    return head + mask + value[len(bare) :] + found.group()[found.end(1) - found.start() :]
