"""Sessions in the memory of this process."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from prodkit.core.check import CheckResult
from prodkit.core.runtime import SYSTEM, Runtime
from prodkit.core.validate import Arguments
from prodkit.sessions.store import SessionInfo, Stored, json_object

__all__ = ["MemoryStore"]


class _Row:
    __slots__ = (
        "born",
        "created_at",
        "data",
        "device",
        "ends",
        "expires",
        "network",
        "seen",
        "seen_at",
        "user_id",
    )

    created_at: datetime
    seen_at: datetime

    def __init__(self, user_id: str | None, data: dict[str, str], ends: float) -> None:
        self.user_id = user_id
        self.data = data
        self.ends = ends
        self.born = self.seen = self.expires = 0.0
        self.device = self.network = ""


class MemoryStore:
    """Sessions in this process: for tests and for services with one process. A restart logs everybody out.

    The methods are those of :class:`Store`.

    Args:
        max_sessions: sessions held; beyond them the least recently used one ends.
        runtime: clock to use.
    """

    def __init__(self, *, max_sessions: int = 100_000, runtime: Runtime = SYSTEM) -> None:
        check = Arguments("MemoryStore")
        check.integer("max_sessions", max_sessions, minimum=1)
        check.done()
        self.max_sessions: int = max_sessions
        self._runtime = runtime
        self._rows: dict[bytes, _Row] = {}  # the least recently touched first

    async def load(self, key: bytes) -> Stored | None:
        """Return the session `key`."""
        row = self._alive(key)
        if row is None:
            return None
        now = self._runtime.clock.monotonic()
        data = {name: json.loads(text) for name, text in row.data.items()}
        return Stored(row.user_id, data, now - row.seen, row.ends - now, now - row.born)

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
        """Create `key` with `user_id`, `changed`, `device` and `network`, to end by `idle` and `lifetime`."""
        json_object(changed)
        now = self._runtime.clock.monotonic()
        row = _Row(user_id, dict(changed), now + lifetime)
        row.born, row.created_at = now, self._runtime.clock.now()
        row.device, row.network = device, network
        self._put(key, row, idle)

    async def merge(
        self, key: bytes, *, changed: Mapping[str, str], removed: Sequence[str], idle: float
    ) -> bool:
        """Write `changed`, drop `removed` and extend `key` by `idle`; False when it is not there any more."""
        json_object(changed)
        row = self._alive(key)
        if row is None:
            return False
        self._write(row, changed, removed)
        self._put(key, row, idle)
        return True

    async def touch(self, key: bytes, *, idle: float, every: float) -> None:
        """Extend `key` by `idle` unless that was done within `every` seconds."""
        row = self._alive(key)
        if row is not None and self._runtime.clock.monotonic() - row.seen >= every:
            self._put(key, row, idle)

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
        """Move `key` to `new`; False when it is gone.

        `user_id`, `changed`, `removed`, `idle`, `lifetime`, `device` and `network` are as in :meth:`Store.rotate`.
        """
        json_object(changed)
        row = self._alive(key)
        if row is None:
            return False
        del self._rows[key]
        self._write(row, changed, removed)
        row.user_id = user_id if user_id is not None else row.user_id
        if lifetime is not None:
            row.born = self._runtime.clock.monotonic()
            row.ends = row.born + lifetime
            row.created_at = self._runtime.clock.now()
        row.device, row.network = device or row.device, network or row.network
        self._put(new, row, idle)
        return True

    async def delete(self, key: bytes) -> bool:
        """End the session `key`; return True when it was alive."""
        alive = self._alive(key) is not None
        self._rows.pop(key, None)
        return alive

    async def delete_user(self, user_id: str, *, keep: bytes | None) -> int:
        """End all sessions of `user_id` but `keep`; return how many."""
        gone = [key for key, row in self._rows.items() if row.user_id == user_id and key != keep]
        return sum([await self.delete(key) for key in gone])

    async def list_user(self, user_id: str) -> list[SessionInfo]:
        """Return the living sessions of `user_id`, the latest seen first."""
        mine = [key for key, row in self._rows.items() if row.user_id == user_id and self._alive(key)]
        rows = [(key.hex(), self._rows[key]) for key in reversed(mine)]
        return [SessionInfo(name, r.created_at, r.seen_at, r.device, r.network) for name, r in rows]

    async def delete_expired(self, *, limit: int) -> int:
        """Remove up to `limit` expired sessions; return how many."""
        gone = [key for key in self._rows if self._alive(key) is None][:limit]
        for key in gone:
            del self._rows[key]
        return len(gone)

    async def alive(self, keys: Collection[bytes]) -> set[bytes]:
        """Return those of `keys` whose sessions are alive."""
        return {key for key in keys if self._alive(key) is not None}

    async def check(self) -> CheckResult:
        """Report the number of sessions; memory is always there."""
        return CheckResult("up", "in the memory of this process", {"sessions": len(self._rows)})

    def _alive(self, key: bytes) -> _Row | None:
        row = self._rows.get(key)
        return row if row is not None and row.expires > self._runtime.clock.monotonic() else None

    def _put(self, key: bytes, row: _Row, idle: float) -> None:
        row.seen = self._runtime.clock.monotonic()
        row.seen_at = self._runtime.clock.now()
        row.expires = min(row.seen + idle, row.ends)
        self._rows.pop(key, None)
        self._rows[key] = row
        while len(self._rows) > self.max_sessions:
            del self._rows[next(iter(self._rows))]

    @staticmethod
    def _write(row: _Row, changed: Mapping[str, str], removed: Sequence[str]) -> None:
        for name in removed:
            row.data.pop(name, None)
        row.data.update(changed)
