"""Data about people: e-mail addresses, telephone numbers, cards, CPF and CNPJ. Pure.

Telephone numbers have no check digit, so only those count that begin with ``+``, have a national form with brackets,
or stand beside a word such as "telefone".
"""

from __future__ import annotations

import re
from typing import Final

from prodkit.core.redaction.documents import is_card, is_cnpj, is_cpf

__all__ = ["is_phone", "mask_emails", "mask_numbers", "mask_phones", "names_phone"]

_LOCAL: Final = re.compile(r"(?:(?:\"[^\"\r\n]{1,64}\")|[\w.!#$%&'*+/=?^{|}~-]{1,64})")
_DOMAIN: Final = re.compile(
    r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}([^\W\d_]{2,24}|xn--[a-z0-9-]{2,59})(?![\w-]|\.[A-Za-z])"
)
_LITERAL: Final = re.compile(r"\[(?:\d{1,3}(?:\.\d{1,3}){3}|IPv6:[0-9a-fA-F:.]+)\]")
_SERVICE_USERS: Final = frozenset(("git", "hg", "svn", "ssh", "root", "postgres"))
# Last labels that name files and units, not domains: getty@tty1.service, logo@2x.png.
_NOT_DOMAINS: Final = frozenset(
    [
        "service",
        "timer",
        "socket",
        "mount",
        "scope",
        "slice",
        "target",
        "local",
        "lan",
        "internal",
        "localdomain",
        "js",
        "ts",
        "css",
        "png",
        "jpg",
        "jpeg",
        "gif",
        "svg",
        "webp",
        "py",
        "go",
        "rs",
        "java",
        "rb",
        "php",
        "html",
        "json",
        "yaml",
        "yml",
        "txt",
        "log",
        "md",
        "sh",
        "conf",
        "so",
        "jar",
        "zip",
        "gz",
        "svc",
        "cluster",
    ]
)
_NO_LOCAL: Final = frozenset(("", "@", " ", ":", "/", ".", "(", "[", "<", ">", ",", ";"))
_NO_DOMAIN: Final = frozenset(("", "@", " ", ":", "/", ".", "(", "-", "_", "<", ">", ",", ";", "'"))


_SIGN: Final = re.compile(r"@|%40")
# Separators of paths, queries and tables, plain or percent-encoded, which no usual address has.
_CUT: Final = re.compile(r".*(?:[/?&|{}#*!;,:]|%(?:3[DdAaFfBb]|2[Ff6Cc2]|20|0[AaDd]))")
_KEY: Final = re.compile(r"[A-Za-z][\w-]*=")
# bounces+ana=shop.example@mailer.example: the local part holds another address
_INNER: Final = re.compile(
    r"[\w.+-]+=[\w-]+(?:\.[\w-]+)*\.(?:com|net|org|br|pt|io|dev|app|edu|gov|info|example)"
)


def mask_emails(text: str, mask: str) -> str:
    """Return `text` with e-mail addresses masked, also in paths, queries and ``%40``.

    ``to=ana@shop.example`` keeps its ``to=``; ``git@host``, units and package versions stay.
    """
    parts: list[str] = []
    at = 0
    sign = _SIGN.search(text)
    while sign is not None:
        begin, end = _address(text, sign, at, mask)
        if begin < end:
            parts += (text[at:begin], mask)
            at = end
        sign = _SIGN.search(text, max(at, sign.end()))
    return "".join((*parts, text[at:])) if parts else text


def _address(text: str, sign: re.Match[str], at: int, mask: str) -> tuple[int, int]:
    """Return where the e-mail address around `sign` begins and ends; nowhere when there is none."""
    found, behind = sign.span()
    if text[found - 1 : found] in _NO_LOCAL or text[behind : behind + 1] in _NO_DOMAIN:
        return 0, 0
    local = _LOCAL.match(text[max(at, found - 66) : found][::-1])
    domain = _DOMAIN.match(text, behind, behind + 260) or _LITERAL.match(text, behind)
    if not local or not domain or (domain.lastindex and domain.group(1).lower() in _NOT_DOMAINS):
        return 0, 0
    begin = found - local.end()
    shown = text[begin:found]
    if cut := _CUT.match(shown):
        begin += cut.end()
        shown = shown[cut.end() :]
    if (key := _KEY.match(shown)) and not _INNER.fullmatch(shown):
        begin += key.end()
    begin += len(text[begin:found]) - len(text[begin:found].lstrip(".'="))
    name = text[begin:found].strip("'\"")
    before = text[max(0, begin - 3) : begin]
    if not name or name.lower() in _SERVICE_USERS or before.endswith(("://", ":" + mask)):
        return 0, 0
    return begin, domain.end()


_PLUS: Final = re.compile(r"\+(?<![\w.+)-]\+)[1-9][\d ().\u00a0-]{7,20}\d(?![\w-])")
_BRACKETS: Final = re.compile(
    r"\((?<![\w(]\()0?\d{2,3}\)[ .-]?9?[ .]?\d{3,4}[ .-]\d{4}(?![\w-])|(?<![\w.:/-])\d{2}[ .]9\d{4}-\d{4}(?![\w-])"
    r"|(?<![\w.:/+-])[2-9]\d{2}-[2-9]\d{2}-\d{4}(?![\w-])|(?<![\w.:/+-])0[38]00[ -]\d{3}[ -]\d{4}(?![\w-])"
)
_NAMED: Final = re.compile(
    r"(?i)\b((?:tele)?phones?|telefones?|tel|fone|celular(?:es)?|cel|mobile|whats(?:app)?|zap|sms|fax|contato|msisdn|"
    r"call(?: me at)?|ligue|(?:chave )?pix|"
    r"(?:phone|mobile|contact|us|uk)[ _-]?(?:number|no|nr|n[ºo])|number|n[úu]mero)"
    r"([ _]?(?:number|no|n[ºo])?[\"']?[ \t]{0,2}(?:is|at|é|[:=#])?"
    r"[ \t]{0,2}[\"']?)(\+?\(?\d[\d ().\u00a0/-]{6,20}\d)(?![\w-])"
)


_PHONE_NAMES: Final = frozenset(
    [
        "phone",
        "phones",
        "telephone",
        "telefone",
        "telefones",
        "tel",
        "fone",
        "celular",
        "cel",
        "mobile",
        "whatsapp",
        "zap",
        "sms",
        "fax",
        "msisdn",
        "phonenumber",
    ]
)
_PHONE_KINDS: Final = frozenset(
    [
        "home",
        "work",
        "primary",
        "secondary",
        "contact",
        "contato",
        "fixo",
        "movel",
        "residencial",
        "comercial",
    ]
)
_NAME_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def names_phone(name: str) -> bool:
    """Return True for names of telephone numbers, such as ``phone_number`` and ``telefoneCelular``."""
    words = [word.lower() for word in _NAME_WORDS.findall(name[-60:])]
    if words and words[-1] in ("number", "no", "numero"):
        words.pop()
    return bool(words) and (
        words[-1] in _PHONE_NAMES or (words[0] in _PHONE_NAMES and words[-1] in _PHONE_KINDS)
    )


def is_phone(value: object) -> bool:
    """Return True for a number, or a text of digits and their signs, that is as long as a telephone number."""
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or len(text) > 30 or _PHONE_TEXT.fullmatch(text) is None:
        return False
    return 8 <= sum(map(str.isdigit, text)) <= 15


_PHONE_TEXT: Final = re.compile(r"\+?[\d ().\u00a0/-]+")


def mask_phones(text: str, named: bool, mask: str) -> str:
    """Return `text` with telephone numbers masked; `named` says that a word such as "telefone" occurs."""
    if "+" in text:
        text = _PLUS.sub(lambda found: _phone(found.group(), mask), text)
    if "(" in text or "-" in text:
        text = _BRACKETS.sub(mask, text)
    if named:
        text = _NAMED.sub(_named, text)
    return text


def _phone(shown: str, mask: str) -> str:
    """E.164 has at most 15 digits; a country code and a number have at least nine together."""
    digits = sum(map(str.isdigit, shown))
    return mask if 9 <= digits <= 15 else shown


def _named(found: re.Match[str]) -> str:
    word, between, number = found.groups()
    digits = sum(map(str.isdigit, number))
    plain = number.isdigit()
    generic = word.lower() in ("number", "call", "número", "numero", "contato", "us", "uk")
    if not 8 <= digits <= 15 or (generic and (plain or digits < 9)) or ("/" in number and digits == 8):
        return found.group()
    return f"{word}{between}***"


_CARD: Final = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)")
_CPF: Final = re.compile(r"(?<![\w.-])\d{3}\.?\d{3}\.?\d{3}-?\d{2}(?![\w-]|\.\d)")
_CNPJ: Final = re.compile(
    r"(?<![\w.-])[0-9A-Z]{2}\.?[0-9A-Z]{3}\.?[0-9A-Z]{3}/?[0-9A-Z]{4}-?\d{2}(?![\w-]|\.\d)"
)
_SPACES: Final = re.compile(r"[ ./-]")
# A number after one of these is an identifier or an amount, whatever its digits say.
_COUNTED: Final = re.compile(
    r"(?i)(?:\b|_)(?:ids?|uid|gid|pid|tid|order|pedido|request|req|trace|span|block|blk|ts|timestamp|time|offset|seq|sequence|"
    r"size|bytes|length|nonce|version|build|epoch|ns|job|task|msg|event|txid|tx|snowflake|rev|revision|serial|batch|process|node)"
    r"[\"']?[ \t]{0,2}[:=#]?[ \t]{0,2}[\"']?$"
)


def mask_numbers(text: str, mask: str, *, cards: bool, cpf: bool, cnpj: bool) -> str:
    """Return `text` with numbers masked that prove themselves by check digits."""
    if cards:
        text = _CARD.sub(lambda found: _card(found, mask), text)
    if cpf:
        text = _CPF.sub(lambda found: mask if is_cpf(_SPACES.sub("", found.group())) else found.group(), text)
    if cnpj:
        text = _CNPJ.sub(lambda found: _cnpj(found.group(), mask), text)
    return text


_STAMP: Final = re.compile(
    r"20[0-4]\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-3])[0-5]\d[0-5]\d"
)


def _cnpj(shown: str, mask: str) -> str:
    """One of a hundred time stamps such as 20261124180000 has the check digits of a CNPJ."""
    return mask if is_cnpj(_SPACES.sub("", shown)) and not _STAMP.fullmatch(shown) else shown


def _card(found: re.Match[str], mask: str) -> str:
    shown = found.group()
    if not is_card(_SPACES.sub("", shown)):
        return shown
    if shown.isdigit():
        begin = found.start()
        if _COUNTED.search(found.string, max(0, begin - 24), begin):
            return shown
    elif not _grouped(shown):
        return shown
    return mask


def _grouped(shown: str) -> bool:
    """Cards are printed in groups of four (or 4-6-5); ``2026 11 24 18 00`` is not."""
    groups = [len(group) for group in re.split(r"[ -]", shown)]
    return all(size >= 3 for size in groups) or groups[0] == 4
