"""Names of logs in Redis that do not reveal the caller."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from typing import Final
from uuid import UUID

from prodkit.ratelimit.limit import Key, Limit

__all__ = ["Sealer", "shorten"]

_KNOWN: Final = 4096


class Sealer:
    """Names of logs in Redis that do not reveal the caller.

    The key is a keyed digest when a `secret` is given. Without one, a reader of Redis could still test guesses. All
    names carry one hash tag, so that several limits fit in one script on a cluster as well.

    Args:
        namespace: the hash tag.
        secret: up to 64 bytes.
    """

    def __init__(self, namespace: str, secret: bytes) -> None:
        self._prefix = f"{{{namespace}}}:"
        self._secret = secret
        self._known: dict[tuple[str, Key], str] = {}
        self.mark: str = f"{{{namespace}}}:mark"

    def name(self, limit: Limit, key: Key) -> str:
        """Return the name of the log.

        Args:
            limit: the limit.
            key: the caller.
        """
        known = self._known.get((limit.series, key))
        if known is not None:
            return known
        digest = hashlib.blake2b(
            _typed(key), digest_size=12, key=self._secret, person=b"prodkit-limit"
        ).digest()
        if len(self._known) >= _KNOWN:
            self._known.clear()
        name = self._known[limit.series, key] = (
            f"{self._prefix}{limit.series}:{urlsafe_b64encode(digest).decode()}"
        )
        return name


def shorten(secret: bytes) -> bytes:
    """Return a secret that is longer than what BLAKE2 takes as a key, made to fit.

    Args:
        secret: any bytes.
    """
    return hashlib.blake2b(secret).digest()


def _typed(key: Key) -> bytes:
    match key:
        case str():
            return b"s" + key.encode("utf-8", "surrogatepass")
        case bytes():
            return b"b" + key
        case int():
            return b"i%d" % key
        case UUID():
            return b"u" + key.bytes
        case _:
            return b"n"
