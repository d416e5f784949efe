"""The shapes of secrets inside a text.

Every pattern is bounded, or starts where no other match can: the cost grows with the length of the text only.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Final

from prodkit.core.redaction.documents import is_card, is_cnpj, is_cpf
from prodkit.core.redaction.names import is_sensitive
from prodkit.core.secrets import MASK

__all__ = ["scrub"]

_TOKENS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-ant-[A-Za-z0-9_-]{8,300}|sk-[A-Za-z0-9_-]{16,300}|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{8,200}"
    r"|gh[pousr]_[A-Za-z0-9]{16,300}|github_pat_[A-Za-z0-9_]{20,300}|gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent)-[\w-]{16,200}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{8,300}|xapp-[A-Za-z0-9-]{8,300}|(?:AKIA|ASIA|AROA|AIDA)[0-9A-Z]{16}(?![0-9A-Z])"
    r"|AIza[A-Za-z0-9_-]{30,60}|ya29\.[A-Za-z0-9_-]{16,400}|GOCSPX-[A-Za-z0-9_-]{16,60}|npm_[A-Za-z0-9]{20,100}"
    r"|pypi-[A-Za-z0-9_-]{30,400}|hf_[A-Za-z0-9]{16,100}|SG\.[A-Za-z0-9_-]{16,40}\.[A-Za-z0-9_-]{16,80}"
    r"|pplx-[A-Za-z0-9]{16,100}|dop_v1_[a-f0-9]{32,80}|whsec_[A-Za-z0-9+/=]{16,120}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{16,80}"
    r"|AGE-SECRET-KEY-1[A-Z0-9]{20,100}|APP_USR-[A-Za-z0-9-]{16,120}|hvs\.[A-Za-z0-9_-]{16,200}|xkeysib-[a-z0-9-]{16,120}"
    r"|key-[a-f0-9]{32}(?![a-f0-9])|sq0(?:atp|csp)-[A-Za-z0-9_-]{16,80}|tfp_[A-Za-z0-9_-]{16,80}|dckr_pat_[\w-]{16,80}"
    r"|lin_api_[A-Za-z0-9]{16,80}|ATATT3[A-Za-z0-9_=-]{16,300}|EAA[A-Za-z0-9]{60,300}|gsk_[A-Za-z0-9]{20,100}"
    r")"
)
_JWT = re.compile(
    r"(?<![\w-])eyJ[A-Za-z0-9_-]{6,8000}\.[A-Za-z0-9_-]{4,8000}(?:\.[A-Za-z0-9_-]{0,8000}){0,3}"
)
_SCHEMES = re.compile(
    r"(?i)(?<![a-z])(bearer|basic|token|apikey|digest)([ \t]{1,4})([A-Za-z0-9+/=_.~:-]{6,8000})"
)
_PAIR = re.compile(
    r"""(?<![A-Za-z0-9_.])(?<![A-Za-z0-9_.]-)([A-Za-z_][A-Za-z0-9_.-]{0,79})   # a key
        (?:(\\{0,3}["'])?[ \t]{0,3}(?:=>|:=|[:=])            # = or :
          |(\\{0,3}["'])[ \t]{0,2},)                         # or the comma of a quoted pair
        [ \t]{0,4}(b?\\{0,3}["'`])?""",
    re.VERBOSE,
)
_FLAG = re.compile(r"(?<![\w-])--?([A-Za-z][A-Za-z0-9-]{1,60})[ \t]{1,3}(?=[^\s-])")
_BARE = re.compile(r"[^\s,;&\"'<>(){}\[\]|\\]{1,4096}")
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)")
_CPF = re.compile(r"(?<![\w.-])\d{3}\.?\d{3}\.?\d{3}-?\d{2}(?![\w-]|\.\d)")
_CNPJ = re.compile(r"(?<![\w.-])[0-9A-Z]{2}\.?[0-9A-Z]{3}\.?[0-9A-Z]{3}/?[0-9A-Z]{4}-?\d{2}(?![\w-]|\.\d)")
_URL_END = re.compile(r"[\s\"'<>`|\\]")
# What stands after "password:" in a sentence about passwords.
_PROSE_WORDS = """
    none null nil true false required missing invalid expired empty ok wrong incorrect must is was not too the a
    an str string int bytes bool optional undefined unset unknown changed reset yes no set enabled disabled and or
    for secret obrigatória inválida inválido ausente expirada expirado incorreta vazia deve nenhuma mismatch
    rejected refreshed revoked rotated created updated deleted verified accepted valid ***
"""
_PROSE = frozenset(_PROSE_WORDS.split())
_WEB = ("http", "https", "ws", "wss")


def scrub(text: str) -> str:
    """`text` with every secret that can be recognised replaced by ``***``. Takes time linear in its length."""
    for marker, rule in _RULES:
        if marker is None or marker in text:
            text = rule(text)
    return text


def _pem(text: str) -> str:
    parts: list[str] = []
    at = 0
    while (begin := text.find("-----BEGIN ", at)) >= 0:
        head = text.find("-----", begin + 11, begin + 80)
        if head < 0 or "PRIVATE KEY" not in text[begin:head]:
            parts.append(text[at : begin + 11])
            at = begin + 11
            continue
        parts.append(text[at:begin] + MASK)
        end = text.find("-----END ", head)
        if end < 0:
            return "".join(parts)
        close = text.find("-----", end + 9, end + 80)
        at = close + 5 if close >= 0 else end + 9
    parts.append(text[at:])
    return "".join(parts)


def _urls(text: str) -> str:
    parts: list[str] = []
    at = 0
    while (mark := text.find("://", at)) >= 0:
        start = mark + 3
        stop = _URL_END.search(text, start, start + 2048)
        end = stop.start() if stop else min(len(text), start + 2048)
        parts.append(text[at:start])
        parts.append(_authority(text[max(0, mark - 12) : mark], text[start:end]))
        at = end
    parts.append(text[at:])
    return "".join(parts)


def _authority(scheme: str, rest: str) -> str:
    if "@" not in rest:
        return rest
    path = rest.partition("?")[0]
    scope = re.split(r"[/?#]", rest, maxsplit=1)[0] if scheme.lower().endswith(_WEB) else path
    if "@" not in scope:
        scope = rest if "@" not in path and ":" in rest.partition("@")[0] else scope
    user, at, _ = scope.rpartition("@")
    if not at:
        return rest
    name, colon, password = user.partition(":")
    if colon and password:
        return f"{name}:{MASK}{rest[len(user) :]}"
    if not colon and len(name) >= 20:  # a token in the place of a user
        return f"{MASK}{rest[len(user) :]}"
    return rest


def _pairs(text: str) -> str:
    parts: list[str] = []
    at = 0
    match = _PAIR.search(text)
    while match is not None:
        key, after, comma, opening = match.groups()
        resume = match.end()
        if (comma is None or opening is not None) and is_sensitive(key):
            value, end = _value(text, match.end(), opening, key)
            if value is not None:
                parts.append(text[at : match.end()])
                parts.append(value)
                at = resume = end
        elif opening is None and after is None:
            resume = max(match.end(1), match.start() + 1)
        match = _PAIR.search(text, max(resume, match.start() + 1))
    parts.append(text[at:])
    return "".join(parts)


def _value(text: str, start: int, opening: str | None, key: str) -> tuple[str | None, int]:
    """The mask for the value that begins at `start`, and where the value ends; None when it is no secret."""
    if opening is not None:
        end = _closing(text, start, opening.removeprefix("b"))
        inside = text[start:end]
        return (None, end) if inside.strip().lower() in _PROSE or not inside.strip() else (MASK, end)
    bare = _BARE.match(text, start)
    if bare is None:
        return None, start
    end = bare.end()
    if bare.group().rstrip(".!?:").lower() in _PROSE:
        return None, end
    if key.lower().endswith(("authorization", "cookie")):
        # A header: its value is the rest of the line.
        line = re.compile(r"[^\r\n\"']{0,4096}").match(text, start)
        end = line.end() if line else end
    return MASK, end


def _closing(text: str, start: int, quote: str) -> int:
    """The end of the quoted value: at the same quote, unless it is escaped; at the end of the text without one."""
    at = start
    while (found := text.find(quote, at)) >= 0:
        slashes = 0
        while found - 1 - slashes >= start and text[found - 1 - slashes] == "\\":
            slashes += 1
        if len(quote) > 1 or slashes % 2 == 0:
            return found
        at = found + 1
    return len(text)


def _flags(text: str) -> str:
    parts: list[str] = []
    at = 0
    for match in _FLAG.finditer(text):
        if match.start() < at or not is_sensitive(match.group(1)):
            continue
        bare = re.compile(r"\S{1,4096}").match(text, match.end())
        if bare and bare.group().lower() not in _PROSE:
            parts += (text[at : match.end()], MASK)
            at = bare.end()
    parts.append(text[at:])
    return "".join(parts)


def _scheme(match: re.Match[str]) -> str:
    word, blank, value = match.groups()
    if word.lower() == "basic":
        try:
            hidden = b":" in base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
        except (binascii.Error, ValueError):
            hidden = False
    else:
        inner = value[1:]
        hidden = any(char.isdigit() for char in value) or (inner != inner.lower() and len(value) >= 16)
    return f"{word}{blank}{MASK}" if hidden else match.group()


def _checked(test: Callable[[str], bool]) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        plain = re.sub(r"[ ./-]", "", match.group())
        return MASK if test(plain) else match.group()

    return replace


def _masked(_: re.Match[str]) -> str:
    return MASK


def _numbers(text: str) -> str:
    text = _CARD.sub(_checked(is_card), text)
    text = _CPF.sub(_checked(is_cpf), text)
    return _CNPJ.sub(_checked(is_cnpj), text)


_DIGIT_RUN = re.compile(r"[0-9A-Z./ -]{11}")

_RULES: Final[tuple[tuple[str | None, Callable[[str], str]], ...]] = (
    ("-----BEGIN ", _pem),
    ("://", _urls),
    (None, lambda text: _SCHEMES.sub(_scheme, text)),
    (None, _pairs),
    ("-", _flags),
    ("eyJ", lambda text: _JWT.sub(_masked, text)),
    (None, lambda text: _TOKENS.sub(_masked, text)),
    (None, lambda text: _numbers(text) if _DIGIT_RUN.search(text) else text),
)
