"""The session cookie: its name and flags, and a signature that saves lookups.

The signature does not protect the id, 256 random bits do that. It lets a made-up cookie be refused without a
statement to the database, and several secrets let the signing one be replaced without logging anybody out.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from typing import Final

from prodkit.core.secrets import Revealable, reveal

__all__ = ["Keys", "SessionCookie", "cookie_values", "new_id"]

MIN_SECRET: Final = 32
_SIGNED: Final = re.compile(r"([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{22})\Z")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


def new_id() -> str:
    """256 random bits as 43 characters of base64url."""
    return secrets.token_urlsafe(32)


class Keys:
    """HMAC keys derived from one or more secrets for one purpose: the first signs, all verify.

    To replace a secret, put the new one first and keep the old one until everything it signed has expired.

    Args:
        secret: one secret or several, of at least 32 characters each.
        purpose: separates the keys of different uses of one secret.

    Raises:
        ValueError: a secret is shorter; its value is not shown.
    """

    __slots__ = ("_keys",)

    def __init__(self, secret: str | Revealable | Iterable[str | Revealable], *, purpose: str) -> None:
        several = (secret,) if isinstance(secret, (str, Revealable)) else secret
        values = [reveal(each) for each in several]
        if not values:
            raise ValueError("at least one secret is needed")
        for place, value in enumerate(values, 1):
            if len(value.strip()) < MIN_SECRET:
                raise ValueError(
                    f"secret {place} of {len(values)} has {len(value.strip())} characters, "
                    f"{MIN_SECRET} are needed: make one with `openssl rand -base64 32`"
                )
        label = b"prodkit." + purpose.encode()
        self._keys = tuple(hmac.digest(value.encode(), label, hashlib.sha256) for value in values)

    def sign(self, message: bytes) -> bytes:
        """Return the 32-byte code of `message` under the first key."""
        return hmac.digest(self._keys[0], message, hashlib.sha256)

    def verify(self, message: bytes, code: bytes) -> bool:
        """Return True when one of the keys made `code`, a prefix of at least 16 bytes of the code of `message`."""
        return self.position(message, code) is not None

    def position(self, message: bytes, code: bytes) -> int | None:
        """Return the position of the key that made `code` for `message`, in constant time; 0 is the signing key."""
        size = len(code)
        found: int | None = None
        if 16 <= size <= 32:
            for place in range(len(self._keys) - 1, -1, -1):
                if hmac.compare_digest(hmac.digest(self._keys[place], message, hashlib.sha256)[:size], code):
                    found = place
        return found

    def __repr__(self) -> str:
        return f"Keys({len(self._keys)})"


def cookie_values(header: bytes, name: str) -> list[str]:
    """Return all values that a ``Cookie`` header holds under `name`, in order; odd bytes are kept as latin-1."""
    if name.encode("latin-1") not in header:
        return []
    found: list[str] = []
    for part in header.decode("latin-1").split(";"):
        key, separator, value = part.partition("=")
        if separator and key.strip() == name:
            found.append(value.strip())
    return found


class SessionCookie:
    """``__Host-<name>`` with Secure, HttpOnly, SameSite=Lax and Path=/; without prefix and Secure on plain http.

    ``__Host-`` makes browsers refuse the cookie from a subdomain or over http, so that it cannot be planted.

    Args:
        keys: sign and verify the id.
        name: the cookie's name, without the prefix.
        secure: False for development on plain http.
    """

    __slots__ = ("_keys", "name", "secure")

    def __init__(self, keys: Keys, *, name: str = "session", secure: bool = True) -> None:
        if not _NAME.match(name):
            raise ValueError(f"a cookie name has 1 to 64 letters, digits, '_' or '-', got {name!r}")
        self.name: str = f"__Host-{name}" if secure else name
        self.secure: bool = secure
        self._keys = keys

    def read(self, headers: Iterable[bytes]) -> str | None:
        """Return the id that the ``Cookie`` `headers` carry under a signature of ours, or None."""
        found = self.find(headers)
        return None if found is None else found[0]

    def find(self, headers: Iterable[bytes]) -> tuple[str, bool] | None:
        """Return the id in the ``Cookie`` `headers`, and True when an old key signed it; None without an id."""
        for header in headers:
            for value in cookie_values(header, self.name):
                match = _SIGNED.match(value)
                if match is None:
                    continue
                code = urlsafe_b64decode(match[2] + "==")
                place = self._keys.position(match[1].encode(), code)
                if place is not None and _text(code) == match[2]:
                    return match[1], place > 0
        return None

    def write(self, session_id: str, *, max_age: float) -> str:
        """Return the ``Set-Cookie`` value that hands out `session_id` for `max_age` seconds."""
        return self._header(f"{session_id}.{self._code(session_id)}", int(max_age))

    def clear(self) -> str:
        """Return the ``Set-Cookie`` value that removes the cookie."""
        return self._header("", 0)

    def _code(self, session_id: str) -> str:
        return _text(self._keys.sign(session_id.encode())[:16])

    def _header(self, value: str, max_age: int) -> str:
        return f"{self.name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax" + (
            "; Secure" if self.secure else ""
        )

    def __repr__(self) -> str:
        return f"SessionCookie({self.name!r}, secure={self.secure})"


def _text(code: bytes) -> str:
    return urlsafe_b64encode(code).rstrip(b"=").decode()
