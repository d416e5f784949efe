"""Does this key name a secret? Decided on its words, so that ``secretary`` and ``max_tokens`` do not."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

__all__ = ["is_sensitive"]

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_ALONE_WORDS = """
    password passwd passphrase passcode pwd senha secret segredo token jwt bearer authorization credential
    credentials cookie apikey accesstoken authtoken secretkey privatekey clientsecret sessionid sessid csrftoken
    xsrftoken refreshtoken idtoken phpsessid jsessionid userpassword dbpassword pgpassword cvv cvc otp totp cpf
    cnpj ssn csrf xsrf webhooksecret signingkey encryptionkey accesskey secretaccesskey authkey pin cardnumber
"""
_ALONE = frozenset(_ALONE_WORDS.split())
_BEFORE_KEY = """
    api private secret access encryption signing master auth ssh session service fernet hmac
"""
_PAIRS = frozenset((word, "key") for word in _BEFORE_KEY.split()) | {
    ("session", "id"),
    ("card", "number"),
    ("credit", "card"),
    ("auth", "code"),
    ("security", "code"),
    ("pass", "word"),
    ("pass", "phrase"),
}
# The last word says that the value is *about* a secret, not one.
_ABOUT_WORDS = """
    count counts length len size at date time expires expiry expired expiration ttl age policy hint field type
    kind name names banner banners enabled disabled required limit limits url uri path page version strength min
    max attempts changed updated created reset valid invalid ok status used usage budget consent domain samesite
    rotated endpoint prefix cost price prices total index format label placeholder manager provider header column
    alg algorithm missing present verified rule rules error errors failed
"""
_ABOUT = frozenset(_ABOUT_WORDS.split())
_AMOUNTS_WORDS = """
    max min num total has is n count average avg per input output cached remaining use with
"""
_AMOUNTS = frozenset(_AMOUNTS_WORDS.split())


@lru_cache(maxsize=4096)
def is_sensitive(key: str) -> bool:
    """Return True when the value under `key` must not be shown. Camel, snake and kebab case are words."""
    words = [word.lower() for word in _WORDS.findall(key[-120:])]
    if not words or words[-1] in _ABOUT or words[0] in _AMOUNTS:
        return False
    if any(word in _ALONE for word in words):
        return True
    return any(pair in _PAIRS for pair in pairwise(words))
