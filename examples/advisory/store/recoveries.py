"""Links that let an owner choose a new password: only a hash of each is kept, and one link a person."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Final

from advisory.store.users import User
from prodkit import postgres

__all__ = ["LIFETIME", "Recoveries", "digest_of"]

LIFETIME: Final = timedelta(minutes=45)


def digest_of(token: str) -> str:
    """The form in which a token is kept. It has 256 random bits, so a plain hash cannot be guessed back."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


class Recoveries:
    """Issue, check and redeem."""

    def __init__(self, db: postgres.Pool) -> None:
        self._db = db

    async def issue(self, user_id: int) -> str:
        """A new token; the one before it is worth nothing from now on."""
        token = secrets.token_urlsafe(32)
        await self._db.execute(
            """insert into password_recoveries (user_id, token_hash, expires_at) values ($1, $2, now() + $3::interval)
               on conflict (user_id) do update
               set token_hash = excluded.token_hash, expires_at = excluded.expires_at, created_at = now()""",
            user_id,
            digest_of(token),
            LIFETIME,
        )
        return token

    async def is_valid(self, digest: str) -> bool:
        """Return True while the token can be redeemed; the database's clock decides."""
        return bool(
            await self._db.fetchval(
                "select true from password_recoveries where token_hash = $1 and expires_at > now()", digest
            )
        )

    async def email_of(self, digest: str) -> str | None:
        """The address of the account whose password the token may set; None for one that is not valid."""
        found: str | None = await self._db.fetchval(
            """select email from users join password_recoveries on user_id = users.id
               where token_hash = $1 and expires_at > now()""",
            digest,
        )
        return found

    async def redeem(self, digest: str, password_hash: str) -> User | None:
        """Set the password and use the token up, both or neither; of two at once, one gets None."""
        async with self._db.transaction() as tx:
            user_id = await tx.fetchval(
                "delete from password_recoveries where token_hash = $1 and expires_at > now() returning user_id",
                digest,
            )
            row = await tx.fetchrow(
                "update users set password_hash = $2 where id = $1 returning id, email, name",
                user_id,  # None without such a token: then there is no row
                password_hash,
            )
        return User(row["id"], row["email"], row["name"]) if row else None

    async def forget(self, user_id: int) -> None:
        """After a change of the password: a link that is still in a mailbox is worth nothing."""
        await self._db.execute("delete from password_recoveries where user_id = $1", user_id)
