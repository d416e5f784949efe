"""The scan of one text: cheap questions first, and a rule only where its answer can be yes. Pure.

Each rule has a marker without which it cannot match. Markers are found by substring search and by the *shape* of the
text, one byte a character, in which a long run of key characters is one search::

    text    key sk-ant-api03-Zq8vT1… used
    shape   aaa aaaaaaaaaaaaaaaaaaa… aaaa      13 times "a" in a row: a key may stand here

Every pattern is bounded, or starts where no other match can: the cost grows with the length of the text only.
"""

from __future__ import annotations

import re
from typing import Final

from prodkit.core.redaction.addresses import mask_addresses, mask_oracle
from prodkit.core.redaction.forms import mask_forms, mask_hooks
from prodkit.core.redaction.names import is_suspect
from prodkit.core.redaction.pairs import (
    mask_comparisons,
    mask_flags,
    mask_links,
    mask_pairs,
    mask_phrases,
    mask_schemes,
)
from prodkit.core.redaction.people import mask_emails, mask_numbers, mask_phones
from prodkit.core.secrets import MASK, SecretRegistry

__all__ = ["KINDS", "scrub"]

KINDS: Final = frozenset(("keys", "named", "addresses", "cards", "cpf", "cnpj", "emails", "phones"))
"""The kinds of secrets that can be recognised. Private keys and registered values are always masked."""


def _table(classes: dict[str, str]) -> bytes:
    return bytes(
        next((ord(mark) for mark, chars in classes.items() if chr(code) in chars), code)
        for code in range(256)
    )


_DIGITS = "0123456789"
_CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LETTERS_AND_DIGITS = _DIGITS + _CAPITALS + _CAPITALS.lower()
_RUNS: Final = _table({"a": _LETTERS_AND_DIGITS + "_-+"})
_NUMBERS: Final = _table({"0": _DIGITS + " .-/" + _CAPITALS})
_RUN: Final = b"a" * 13
_NUMBER: Final = b"0" * 11
_HEX: Final = "-0123456789abcdef"
_HASH: Final = 40  # characters; so short no key has the form of a hash or a UUID
_ORDINARY: Final = (
    _CAPITALS + _CAPITALS.lower() + " _"
).encode()  # deleted: digits and signs in their order are left
_SEPARATORS: Final = frozenset(b"=:,>(%")
_DIGIT_BYTES: Final = _DIGITS.encode()
_NONE: Final[frozenset[bytes]] = frozenset()
# Words that name no secret and begin no rule, as they are written. A long one may still be a key.
_plain_words: set[bytes] = set()
_long_words: set[bytes] = set()
_suspect_words: set[bytes] = set()
_REMEMBERED: Final = 8_192
_JUDGED_LENGTH: Final = 2_048  # characters
_PHONE_DIGITS: Final = 8
_CPF_DIGITS: Final = 11
_SEGMENT: Final = re.compile(r"[^\s\"'`<>,;()\[\]{}\\]+")
_LETTERS: Final = bytes(
    code if (chr(code).isalpha() and code < 128) or code > 191 else 32 for code in range(256)
)


def _byte_words(text: str) -> frozenset[bytes]:
    return frozenset(word.encode("latin-1") for word in text.split())


# Words without which a rule need not run; looked up in the set of the text's words.
_SCHEME_WORDS: Final = _byte_words("bearer basic token apikey digest bot aws negotiate splunk genie key")
_PHRASE_WORDS: Final = _byte_words(
    "password passwd passphrase passcode pass pwd senha secret token apikey key pin otp code credential "
    "credentials identified login codigo c\u00f3digo chave segredo totp fa cvv cvc ssn auth"
)
_LINK_WORDS: Final = _byte_words(
    "reset recover verify confirm activate invite invitation magic unsubscribe redefinir recuperar verificar confirmar "
    "ativar convite"
)
_PHONE_WORDS: Final = _byte_words(
    "phone phones telephone telephones telefone telefones tel fone celular celulares cel mobile whats whatsapp zap sms "
    "fax contato contact msisdn call ligue pix number número numero phonenumber mobilephone homephone workphone"
)
_WORDS: Final = _SCHEME_WORDS | _PHRASE_WORDS | _PHONE_WORDS | _LINK_WORDS
_HOOK_HOSTS: Final = ("hook", "ifttt", "telegram.org/bot", "pagerduty", "chat.googleapis")


def scrub(text: str, kinds: frozenset[str] = KINDS, registry: SecretRegistry | None = None) -> str:
    """Return `text` with every secret of `kinds` that can be recognised replaced by ``***``.

    Takes time linear in the length of the text.

    Args:
        text: the text.
        kinds: of :data:`KINDS`.
        registry: registered values, which are replaced first; none by default.
    """
    raw = text.encode("latin-1", "replace")
    # "id=7 at /v1?a=b" leaves "=7/1?=": a short text for most questions
    signs = raw.translate(None, _ORDINARY)
    both, size = len(signs), len(raw)
    listed = raw.translate(_LETTERS).split()
    usual = _plain_words.issuperset(listed)
    searched = registry is not None and size >= registry.shortest
    if usual and not both and b"_" not in raw and (not searched or (registry is not None and registry.solid)):
        return text  # short words that are known to hold nothing
    if searched and registry is not None:
        shown = registry.replace(text)
        if shown != text:
            return scrub(shown, kinds)
    if b" " not in raw and _is_plain(text, size, both):
        return text
    if both:
        signs = signs.translate(None, _DIGIT_BYTES)
        if b"/" in signs or b"--" in signs:
            text = _signed(text, signs, kinds)
    suspects = _NONE if usual else _suspects(listed, size)
    if size >= len(_RUN) and _RUN in raw.translate(_RUNS) and "keys" in kinds:
        text = _keys(text)
    return _scan(text, raw, signs, both - len(signs), suspects, kinds) if both or suspects else text


def _scan(
    text: str, raw: bytes, signs: bytes, digits: int, suspects: frozenset[bytes], kinds: frozenset[str]
) -> str:
    """Ask the rules whose markers occur."""
    words = _WORDS.intersection(suspects) if suspects else _NONE
    if "named" in kinds:
        if words or (suspects and signs):
            text = _named(text, words, signs)
        if b"-" in signs and (" -" in text or "'-" in text or '"-' in text or text.startswith("-")):
            text = mask_flags(text, MASK)
    if (b"@" in signs or (b"%" in signs and "%40" in text)) and "emails" in kinds:
        text = mask_emails(text, MASK)
    if digits >= _PHONE_DIGITS and "phones" in kinds:
        text = mask_phones(text, bool(words and not words.isdisjoint(_PHONE_WORDS)), MASK)
    # The two check digits of a CNPJ are digits always.
    if digits > 1 and len(raw) >= len(_NUMBER) and _NUMBER in raw.translate(_NUMBERS):
        many = digits >= _CPF_DIGITS
        text = mask_numbers(
            text, MASK, cards=many and "cards" in kinds, cpf=many and "cpf" in kinds, cnpj="cnpj" in kinds
        )
    return text


def _is_plain(text: str, size: int, both: int) -> bool:
    """Return True for one short word, and for a hash or UUID: they hold nothing that can be recognised."""
    if size < len(_RUN):
        return not both
    return size <= _HASH and not text.strip(_HEX) and bool(text.strip(_HEX[:11]))


def _suspects(words: list[bytes], size: int) -> frozenset[bytes]:
    """Return the words of a text, in small letters, when one of them may name a secret or begin a rule."""
    if size > _JUDGED_LENGTH:  # a long text of new words costs more to judge than to search
        return frozenset(map(bytes.lower, words))
    for word in words:
        if word in _plain_words or word in _long_words:
            continue
        if word in _suspect_words:
            break
        known = _plain_words if len(word) < len(_RUN) else _long_words
        if word.lower() in _WORDS or is_suspect(word.decode("latin-1")):
            known = _suspect_words
        if len(known) >= _REMEMBERED:
            known.clear()
        known.add(word)
        if known is _suspect_words:
            break
    else:
        return _NONE
    return frozenset(map(bytes.lower, words))


def _signed(text: str, signs: bytes, kinds: frozenset[str]) -> str:
    if b"-----" in signs and "-----BEGIN " in text:
        text = _private_keys(text)
    if b"/" in signs:
        if b"://" in signs and "addresses" in kinds:
            text = mask_addresses(text, MASK)
        if b"@" in signs and "addresses" in kinds and ("racle" in text or "sqlplus" in text):
            text = mask_oracle(text, MASK)
        if b"." in signs and "keys" in kinds and any(host in text for host in _HOOK_HOSTS):
            text = mask_hooks(text, MASK)
    return text


def _named(text: str, words: frozenset[bytes], signs: bytes) -> str:
    if words and not words.isdisjoint(_SCHEME_WORDS):
        text = mask_schemes(text, MASK)
    if not _SEPARATORS.isdisjoint(signs):
        if (b"==" in signs or b"!=" in signs) and ("==" in text or "!=" in text):
            text = mask_comparisons(text, MASK)
        text = mask_pairs(text, MASK)
    if words and not words.isdisjoint(_PHRASE_WORDS):
        text = mask_phrases(text, MASK)
    if words and b"/" in signs and not words.isdisjoint(_LINK_WORDS):
        text = mask_links(text, MASK)
    return text


def _keys(text: str) -> str:
    shape = text.encode("latin-1", "replace").translate(_RUNS)
    run = shape.find(_RUN)
    parts: list[str] = []
    at = 0
    while run >= 0:
        begin = run
        while begin > at and run - begin < 40 and text[begin - 1] not in " \t\r\n\"'`<>,;()[]{}\\":
            begin -= 1
        segment = _SEGMENT.match(text, begin)
        end = segment.end() if segment else run + len(_RUN)
        piece = text[begin:end]
        if len(piece) > _HASH or piece.strip(_HEX):
            piece = mask_forms(piece, MASK)
        parts += (text[at:begin], piece)
        at = end
        run = shape.find(_RUN, end)
    return "".join((*parts, text[at:]))


def _private_keys(text: str) -> str:
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
