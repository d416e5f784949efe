"""The protocol of a session store.

Every write names a session that must still be there, so nothing brings an ended session back, and names the keys it
changes, so two requests that write different keys both keep theirs.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

__all__ = ["SessionInfo", "Store", "Stored", "json_object"]


@dataclass(frozen=True, slots=True)
class Stored:
    """A living session as the store holds it.

    Args:
        user_id: the signed-in user; None for a visitor.
        data: the values by key.
        idle: seconds since the session was last extended.
        left: seconds until its absolute lifetime ends.
        age: seconds since it was created, or since the login.
    """

    user_id: str | None
    data: Mapping[str, Any]
    idle: float
    left: float
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One of a user's sessions, for a list of "where am I signed in".

    Args:
        handle: names the session for :meth:`Sessions.end`, and opens nothing.
        created_at: time of the login.
        seen_at: time of the last request, exact to ``touch_every``.
        device: browser and system, such as ``Firefox on Linux``.
        network: the visitor's network at the login, such as ``203.0.113.0/24``.
    """

    handle: str
    created_at: datetime
    seen_at: datetime
    device: str = ""
    network: str = ""


class Store(Protocol):
    """The operations that :class:`~prodkit.sessions.Sessions` needs of a store.

    Ids arrive as SHA-256 digests, durations in seconds, changed values as JSON texts by key. An expired session
    counts as absent everywhere.
    """

    async def load(self, key: bytes) -> Stored | None:
        """Return the session `key` without changing it."""
        ...

    async def create(
        self,
        key: bytes,
        *,
        user_id: str | None,
        changed: Mapping[str, str],
        idle: float,
        lifetime: float,
        device: str = "",
        network: str = "",
    ) -> None:
        """Create a session.

        Args:
            key: digest of its id.
            user_id: the signed-in user, or None.
            changed: JSON texts by key.
            idle: seconds until it expires unless it is extended.
            lifetime: seconds until it ends in any case.
            device: description of the browser.
            network: the visitor's network.
        """
        ...

    async def merge(
        self, key: bytes, *, changed: Mapping[str, str], removed: Sequence[str], idle: float
    ) -> bool:
        """Write only the named keys and extend the session; return False when it is not there any more.

        Args:
            key: digest of its id.
            changed: JSON texts by key.
            removed: keys to drop.
            idle: seconds until it expires unless it is extended again.
        """
        ...

    async def touch(self, key: bytes, *, idle: float, every: float) -> None:
        """Extend the session `key` by `idle` unless that was done within `every` seconds."""
        ...

    async def rotate(
        self,
        key: bytes,
        new: bytes,
        *,
        user_id: str | None,
        changed: Mapping[str, str],
        removed: Sequence[str],
        idle: float,
        lifetime: float | None,
        device: str = "",
        network: str = "",
    ) -> bool:
        """Move the session from `key` to `new` in one step, with its latest data; return False when it is gone.

        Args:
            key: digest of the old id.
            new: digest of the new id.
            user_id: the signed-in user; None keeps the one it has.
            changed: JSON texts by key.
            removed: keys to drop.
            idle: seconds until it expires unless it is extended.
            lifetime: seconds until it ends in any case; None keeps the end it has.
            device: description of the browser; empty keeps the one it has.
            network: the visitor's network; empty keeps the one it has.
        """
        ...

    async def delete(self, key: bytes) -> bool:
        """End the session `key`; return True when it was there."""
        ...

    async def delete_user(self, user_id: str, *, keep: bytes | None) -> int:
        """End all sessions of `user_id` but `keep`; return how many."""
        ...

    async def list_user(self, user_id: str) -> list[SessionInfo]:
        """Return the living sessions of `user_id`, the latest seen first."""
        ...

    async def delete_expired(self, *, limit: int) -> int:
        """Remove up to `limit` expired sessions; return how many."""
        ...

    async def alive(self, keys: Collection[bytes]) -> Collection[bytes]:
        """Return those of `keys` whose sessions are alive, for the streams that end with them."""
        ...


def json_object(changed: Mapping[str, str]) -> str:
    """Return `changed`, JSON texts by key, as one JSON object. NUL cannot be stored in a jsonb, so it is refused."""
    for name, text in changed.items():
        if "\\u0000" in text.replace("\\\\", "") or "\0" in name:
            raise ValueError(f"session[{name!r}] holds a NUL character, which cannot be stored")
    return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in changed.items()) + "}"
