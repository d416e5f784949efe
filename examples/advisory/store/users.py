"""Accounts."""

from __future__ import annotations

from dataclasses import dataclass

from prodkit import postgres

__all__ = ["EmailTakenError", "User", "Users"]


class EmailTakenError(Exception):
    """The address already has an account."""


@dataclass(frozen=True, slots=True)
class User:
    """The account of a signed-in visitor."""

    id: int
    email: str
    name: str


class Users:
    """Accounts by id and by address. Addresses are kept in small letters."""

    def __init__(self, db: postgres.Pool) -> None:
        self._db = db

    async def add(self, *, email: str, name: str, password_hash: str) -> User:
        """Raises EmailTakenError; the unique constraint decides, so that two at once cannot both win."""
        row = await self._db.fetchrow(
            """insert into users (email, name, password_hash) values ($1, $2, $3)
               on conflict (email) do nothing returning id""",
            email.lower(),
            name,
            password_hash,
        )
        if row is None:
            raise EmailTakenError
        return User(row["id"], email.lower(), name)

    async def get(self, user_id: int) -> User | None:
        row = await self._db.fetchrow("select id, email, name from users where id = $1", user_id)
        return User(row["id"], row["email"], row["name"]) if row else None

    async def with_hash(self, email: str) -> tuple[User, str] | None:
        """The account and its password hash, for signing in."""
        row = await self._db.fetchrow(
            "select id, email, name, password_hash from users where email = $1", email.lower()
        )
        return (User(row["id"], row["email"], row["name"]), row["password_hash"]) if row else None

    async def set_hash(self, user_id: int, password_hash: str) -> None:
        """After a change of the hash's parameters."""
        await self._db.execute("update users set password_hash = $2 where id = $1", user_id, password_hash)
