"""The records of a council's job, with fake rows and model, in memory."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, Self
from uuid import UUID

from advisory.council.model import Seat
from advisory.worker.council import Council
from prodkit import jobs, llm
from prodkit.errors import LlmError

RUN = UUID(int=1)


class Rows:
    """Keeps one seat in memory."""

    def __init__(self) -> None:
        self.cross_review = self.agreements = self
        self.seat: dict[str, Any] = {"status": "waiting", "text": "", "reason": ""}
        self.end: dict[str, Any] = {}
        self.synthesis = self.synthesis_reason = ""
        self.written = ""

    async def seats(self, tx: Any, run_id: UUID) -> tuple[Seat, ...]:
        return (Seat(position=1, name="Helena", role="papel", **self.seat),)

    async def begin(self, tx: Any, run_id: UUID) -> tuple[str, tuple[Seat, ...]] | None:
        return None if self.end else ("Abro a loja?", await self.seats(tx, run_id))

    async def seat_started(self, tx: Any, run_id: UUID, seat: Seat) -> None:
        self.seat["status"] = "running"

    async def seat_done(self, tx: Any, run_id: UUID, seat: Seat, *, text: str, **_: Any) -> None:
        self.seat |= {"status": "done", "text": text}

    async def seat_failed(self, tx: Any, run_id: UUID, seat: Seat, *, reason: str, **_: Any) -> None:
        self.seat |= {"status": "failed", "reason": reason}

    async def chair_started(self, tx: Any, run_id: UUID) -> str:
        return self.written

    async def chair_wrote(self, tx: Any, run_id: UUID, text: str, *, at: int) -> None:
        assert at == len(self.written)
        self.written += text

    async def reviews(self, tx: Any, run_id: UUID) -> tuple[()]:
        return ()

    async def synthesised(self, tx: Any, run_id: UUID, *, text: str, reason: str, **_: Any) -> None:
        self.synthesis, self.synthesis_reason = text, reason

    async def has_synthesis(self, tx: Any, run_id: UUID) -> bool:
        return bool(self.synthesis)

    async def finish(self, tx: Any, run_id: UUID, status: str, **more: str) -> None:
        self.end = {"status": status, **more}


class Model:
    def __init__(self, *, breaks: bool = False) -> None:
        self.calls = 0
        self.breaks = breaks

    async def create(self, **_: Any) -> Any:
        self.calls += 1
        return SimpleNamespace(text="a\x00b\ud800c", model="m", usage=llm.Usage(), cost=None)

    def stream(self, *, resume: str | None, **_: Any) -> Any:
        self.calls += 1
        return Flow(resume or "", self.breaks)


class Flow:
    """A stream of three pieces."""

    def __init__(self, resume: str, breaks: bool) -> None:
        self.resume, self.breaks = resume, breaks

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    @property
    async def text(self) -> AsyncIterator[str]:
        for piece in ("a\x00b", "\ud800", "c"):
            yield piece
        if self.breaks:
            raise LlmError("cut", code="truncated")

    @property
    def answer(self) -> Any:
        return SimpleNamespace(text=self.resume + "a\x00b\ud800c", model="m", usage=llm.Usage(), cost=None)


async def hold(rows: Rows, model: Model) -> jobs.Run | None:
    engine = jobs.MemoryEngine()
    job = Council(rows, model).job()  # type: ignore[arg-type]
    run = await job.enqueue(engine, RUN)
    async with jobs.Worker(engine, [job]):
        await jobs.Runs(engine).result(run.id, timeout=20)
    return await engine.get(run.id)


async def test_what_postgresql_cannot_hold_is_not_recorded():
    rows, model = Rows(), Model()
    run = await hold(rows, model)
    assert model.calls == 2
    assert rows.seat["text"] == rows.synthesis == "ab?c"
    assert run is not None
    assert run.steps == ("plan", "seat:1", "synthesis")


async def test_a_synthesis_is_stored_as_it_arrives_and_goes_on_behind_what_is_stored():
    rows = Rows()
    rows.written = "o começo "
    await hold(rows, Model())
    assert rows.written == rows.synthesis == "o começo ab?c"
    assert rows.end["status"] == "done"


async def test_a_synthesis_that_breaks_off_keeps_its_beginning():
    rows = Rows()
    await hold(rows, Model(breaks=True))
    assert (rows.end["status"], rows.synthesis) == ("unsynthesised", "ab?c")
    assert rows.synthesis_reason == "a resposta veio incompleta"


async def test_a_council_that_has_ended_asks_nobody():
    rows, model = Rows(), Model()
    rows.end = {"status": "stopped"}
    await hold(rows, model)
    assert model.calls == 0


async def test_a_council_whose_job_is_a_dead_letter_says_so():
    rows, model = Rows(), Model()
    council = Council(rows, model)  # type: ignore[arg-type]

    async def broken(run_id: UUID) -> None:
        raise OSError("a bug")

    job = jobs.Job(broken, name="council", attempts=1, on_dead=council.give_up)
    engine = jobs.MemoryEngine()
    run = await job.enqueue(engine, RUN)
    async with jobs.Worker(engine, [job]):
        with contextlib.suppress(jobs.JobFailedError):
            await jobs.Runs(engine).result(run.id, timeout=20)
    assert model.calls == 0
    assert (rows.seat["status"], rows.end["status"]) == ("failed", "no_quorum")
    assert rows.seat["reason"] == rows.end["reason"] != ""
