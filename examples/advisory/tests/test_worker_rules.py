"""The records of a worker, with a fake store and model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from advisory.council.model import Seat
from advisory.store.fenced import Taken
from advisory.worker.council import MOST_TAKES, Council

ANSWER = "a\x00b\ud800c"


class Store:
    """Keeps one seat in memory."""

    def __init__(self, fence: int) -> None:
        self.seat = {"status": "waiting", "text": "", "reason": ""}
        self.end: dict[str, Any] = {}
        self.fence = fence

    def _seats(self) -> tuple[Seat, ...]:
        return (Seat(position=1, name="Helena", role="papel", **self.seat),)  # type: ignore[arg-type]

    async def take(self, run_id: UUID) -> Taken:
        return Taken(run_id, self.fence, "Abro a loja?", True, self._seats())

    async def holds(self, run: Taken) -> bool:
        return True

    async def seats(self, run: Taken) -> tuple[Seat, ...]:
        return self._seats()

    async def seat_started(self, run: Taken, seat: Seat) -> None:
        self.seat["status"] = "running"

    async def seat_done(self, run: Taken, seat: Seat, *, text: str, model: str) -> None:
        self.seat |= {"status": "done", "text": text}

    async def seat_failed(self, run: Taken, seat: Seat, *, reason: str) -> None:
        self.seat |= {"status": "failed", "reason": reason}

    async def chair_started(self, run: Taken) -> None: ...

    async def finish(self, run: Taken, status: str, **more: str) -> None:
        self.end = {"status": status, **more}


class Model:
    def __init__(self) -> None:
        self.calls = 0

    async def create(self, **_: Any) -> Any:
        self.calls += 1
        return SimpleNamespace(text=ANSWER, model="m")


@pytest.mark.parametrize("fence", [1, MOST_TAKES])
async def test_what_postgresql_cannot_hold_is_not_recorded(fence):
    store, model = Store(fence), Model()
    await Council(store, model).hold(UUID(int=1))  # type: ignore[arg-type]
    assert model.calls == 2
    assert store.seat["text"] == store.end["synthesis"] == "ab?c"


async def test_a_run_that_was_taken_too_often_ends_without_asking_the_model():
    store, model = Store(MOST_TAKES + 1), Model()
    await Council(store, model).hold(UUID(int=1))  # type: ignore[arg-type]
    assert model.calls == 0
    assert (store.seat["status"], store.end["status"]) == ("failed", "no_quorum")
    assert store.seat["reason"] == store.end["reason"] != ""
