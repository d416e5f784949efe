"""The value beside a name: where it ends, and whether it is a secret rather than a word, a template or code. Pure."""

from __future__ import annotations

import re
from typing import Final

from prodkit.core.redaction.names import HEADER, WEAK
from prodkit.core.redaction.randomness import looks_random

__all__ = ["hides", "value_at"]

_OPEN = re.compile(
    r"[=>~?]{0,3}[ \t\u00a0]{0,16}(?:[bBuUrRfF@$]{0,2}(\\{0,3}[\"'`]|&quot;|&#34;|&#39;|%22|%27))?"
)
_BARE = re.compile(r"[^\s\"'`,;&<>|\\]{1,512}")
_WEAK_BARE = re.compile(r"[^\s\"'`,;&<>|\\]{1,96}")  # _WEAK_JUDGED
_ANGLE = re.compile(r"(?:>+[^\s<>\"'`,;&|\\]{1,512}){1,4}")
_MORE = re.compile(r"[^\s\"'`,;&<>|\\]*")
_WEAK_JUDGED: Final = 96
_JUDGED: Final = 512  # characters; a value is judged by its beginning, so that the scan stays linear
_ENCODED_END = re.compile(r"%(?:26|20|3[bB]|0[aAdD]|22)")
_LINE = re.compile(r"[^\r\n\"']*")
_SCHEME = re.compile(r"(?:bearer|basic|token|apikey|negotiate|digest|aws4-hmac-sha256)[ \t]+", re.IGNORECASE)
_CLOSERS = {")": "(", "]": "[", "}": "{"}

# Words that stand after "password:" in sentences, type names, and values that hide nothing.
_PROSE_TEXT = """
    none null nil true false required missing invalid expired empty ok wrong incorrect must is was not too the a an str
    string int integer bytes bool boolean float optional undefined unset unknown changed reset yes no set enabled
    disabled and or for of to in on by at as be has have with without from this that it its can cannot could should
    will would may might does did do your my our their his her new old no-one any each all some more less least only
    obrigatória obrigatório inválida inválido ausente expirada expirado incorreta incorreto vazia vazio deve nenhuma
    nenhum mismatch rejected refreshed revoked rotated created updated deleted verified accepted valid denied allowed
    failed success succeeded successful error errors warning found given provided specified configured redacted hidden
    masked filtered removed sanitized omitted protected placeholder default defaults type value name key id self cls
    object dict list tuple any literal field column text varchar char secretstr secret password token n/a na tbd todo
    off auto automatic manual public private internal external basic bearer oauth oauth2 jwt saml ldap kerberos md5
    sha1 sha256 sha512 bcrypt argon2 hs256 rs256 es256 <nil> <none> <null> () [] {} ... … **** *** -- - ??? a) b)
    publickey keyboard-interactive gssapi-with-mic hostbased started stopped closed opened open active inactive pending
    running restored loaded loading updating checking checked used unused using needed optional. required. ready
    """
_PROSE: Final = frozenset(_PROSE_TEXT.split())
_MASKED = re.compile(
    r"[*x•.#_-]{3,}|\[?<?(?:redacted|filtered|hidden|masked|removed|secret|omitted)>?\]?", re.IGNORECASE
)
_TEMPLATE = re.compile(
    r"0x[0-9A-Fa-f]{1,8}|\$\{.*\}?|\$\(.*|\$[A-Z_][A-Z0-9_]*|\$\d{1,3}|\{\{.*|\{[\w.:!\[\]]*\}?|%[sdrq]|%\(\w+\)[sd]?|%[A-Z_]{3,}%"
    r"|<[\w .:/-]*>?"
    r"|:[a-z_]+|@[\w.]+@|\?|\*+|!secret\b.*|!ref\b.*|arn:aws:.*|projects/.*|vault:.*|env:.*|file:.*|ref\+.*|op://.*"
)
_CALL = re.compile(r"(?:await[ \t])?[A-Za-z_][\w.]*[(\[]|[A-Z][a-z]\w+\{")
_PATH = re.compile(r"[a-z_][a-z_0-9]*(?:\.[A-Za-z_]\w*)+")
_ROOTS = frozenset(
    [
        "self",
        "cls",
        "os",
        "settings",
        "config",
        "cfg",
        "conf",
        "request",
        "req",
        "response",
        "process",
        "env",
        "environ",
        "this",
        "args",
        "opts",
        "options",
        "kwargs",
        "params",
        "ctx",
        "context",
        "app",
        "data",
        "secrets",
        "state",
        "form",
        "body",
        "payload",
        "event",
        "session",
        "user",
        "account",
        "credentials",
        "crypto",
        "random",
        "uuid",
        "string",
        "bytes",
        "str",
        "json",
        "np",
        "torch",
        "flask",
        "django",
        "props",
        "item",
        "row",
        "obj",
        "object",
        "model",
        "value",
        "values",
        "input",
    ]
)
_FILE = re.compile(
    r"(?:\.{0,2}|~)/[\w./-]+|[A-Za-z]:\\.*"
    r"|[\w-]+\.(?:json|ya?ml|txt|pem|key|crt|env|toml|ini|conf|py|js)"
)
_SENTENCE = re.compile(r"[ \t]+[a-zà-ú]{2,}")


def _is_call(text: str, start: int, end: int) -> bool:
    """Return True for ``get_token(user)``; a password with brackets goes on behind them, or never closes one."""
    value = text[start:end]
    if not _CALL.match(value):
        return False
    closing = max(map(value.rfind, ")]}"))
    if closing >= 0:
        return not value[closing + 1 : closing + 2].isalnum()
    line = text.find("\n", end, end + 400)
    rest = text[end : line if line >= 0 else end + 400]
    return any(each in rest for each in ")]}")


def value_at(text: str, at: int, kind: int, name: str, colon: bool) -> tuple[int, int] | None:
    """Return where the secret value after a separator begins and ends, or None when there is none to hide.

    Args:
        text: the whole text.
        at: the position after the separator.
        kind: the strength of the name.
        name: the name.
        colon: the separator is a colon, as in a sentence or a header.
    """
    opening = _OPEN.match(text, at)
    assert opening is not None  # every part of it is optional
    start, quote = opening.end(), opening.group(1)
    if quote is not None:
        return _quoted(text, start, quote, kind, name)
    if kind == HEADER and colon:
        end = _LINE.match(text, start).end()  # type: ignore[union-attr] # matches the empty text too
        value = text[start : min(end, start + _JUDGED)]
        if value.strip() and not _only_prose(value):
            return start, end
    if scheme := _SCHEME.match(text, start):
        start = scheme.end()
    return _bare(text, start, kind, name, colon)


def _quoted(text: str, start: int, quote: str, kind: int, name: str) -> tuple[int, int] | None:
    end = _closing(text, start, quote, len(text) if kind > WEAK else start + 8 * _JUDGED)
    if scheme := _SCHEME.match(text, start, end):
        start = scheme.end()
    return (start, end) if hides(text[start : min(end, start + _JUDGED)], kind, name) else None


def _bare(text: str, start: int, kind: int, name: str, colon: bool) -> tuple[int, int] | None:
    found = (_BARE if kind > WEAK else _WEAK_BARE).match(text, start)
    if found is None:
        return None
    end = found.end()
    if kind > WEAK and end - start < 64 and (angle := _ANGLE.match(text, end)):
        end = angle.end()  # a password with a > in it
    end = _balanced(text, start, end)
    if "%" in found.group() and (stop := _ENCODED_END.search(text, start, end)):
        end = stop.start()
    value = text[start:end]
    if (kind != HEADER and _is_call(text, start, end)) or _is_code(value, name):
        return None
    prose = colon and name.isalpha() and value.isalpha() and value.islower() and "pass" not in name.lower()
    if prose and _SENTENCE.match(text, end):
        return None  # "token: please sign in again"
    if not hides(value, kind, name):
        return None
    if found.end() - start in (_JUDGED, _WEAK_JUDGED):
        end = _MORE.match(text, end).end()  # type: ignore[union-attr] # matches the empty text too
    return start, end


def hides(value: str, kind: int, name: str) -> bool:
    """Return True when `value` under a name of strength `kind` is a secret.

    Args:
        value: the text of the value, without quotes.
        kind: WEAK, STRONG or HEADER.
        name: the name, for values that repeat it.
    """
    bare = value.strip()
    plain = bare.lower().rstrip(".!?:;,")
    if not plain or plain in _PROSE or _MASKED.fullmatch(bare):
        return False
    if len(bare) < 200 and _TEMPLATE.fullmatch(bare):
        return False
    if kind == WEAK:
        return looks_random(bare.removesuffix("==").removesuffix("="))
    if _FILE.fullmatch(bare) and ("/" not in bare[1:] or not any(map(str.isdigit, bare))):
        return False
    return not (name.lower() in ("pass", "pat") and bare.isdigit() and len(bare) < 5)


def _only_prose(value: str) -> bool:
    words = value.lower().split()
    return all(word.strip(".,;:!?()") in _PROSE or word.startswith("auth") for word in words[:3])


def _is_code(value: str, name: str) -> bool:
    """An unquoted expression of a program: ``password=password``, ``token=settings.token``."""
    if _PATH.fullmatch(value):
        first, _, rest = value.partition(".")
        last = rest.rpartition(".")[2].lower()
        return first in _ROOTS or last in name.lower().replace("-", "_") or "_" in last
    return value.isidentifier() and (
        value.lower() == name.lower() or value.lower().endswith(("_" + name.lower(),))
    )


def _balanced(text: str, start: int, end: int) -> int:
    """The end of an unquoted value without the brackets that close something around it."""
    least = max(start, end - 8)
    while end > least and text[end - 1] in _CLOSERS:
        closer = text[end - 1]
        if text.count(_CLOSERS[closer], start, end) >= text.count(closer, start, end):
            break
        end -= 1
    while end > start + 1 and text[end - 1] in ".:!?" and not (text[end - 1] == "!" and end - start < 12):
        end -= 1
    return end


def _closing(text: str, start: int, quote: str, limit: int) -> int:
    """The end of the quoted value: the same quote, unless it is escaped; the end of the text without one."""
    at = start
    while (found := text.find(quote, at, limit)) >= 0:
        slashes = 0
        while found - 1 - slashes >= start and text[found - 1 - slashes] == "\\":
            slashes += 1
        if len(quote) > 1 or slashes % 2 == 0:
            return found
        at = found + 1
    return min(len(text), limit)
